"""Controls without a signal: training on shuffled labels, and shuffled predictions."""

import numpy as np

from moola_pipeline.evaluation.baselines import DEFAULT_STRENGTH, BaselineInputs, scaled_logistic, summaries
from moola_pipeline.metrics.bootstrap import Interval, interval, resample
from moola_pipeline.metrics.definitions import aucpr_retracement, prevalence
from moola_pipeline.metrics.scores import ResampledWindows, Scored, mean_scores, score_types

N_PERMUTATIONS = 20


def permuted_training(
    resampled: ResampledWindows,
    inputs: BaselineInputs,
    y: np.ndarray,
    test_inputs: BaselineInputs,
    rng: np.random.Generator,
) -> Interval:
    """AUCPR minus prevalence of a baseline fitted on permuted training labels, 20 times.

    The baseline is logistic regression on the 21 summaries with a fixed penalty, scored on the true
    test labels. The estimate is the mean over permutations. The interval contains 95 % of the scores
    of one fit on one resample of sessions; it contains 0 unless labels leak into the inputs.

    Args:
        resampled: The test windows.
        inputs, y: The training expansions of known type and their class numbers.
        test_inputs: The test expansions, in the order of `resampled`.
        rng: Source of the permutations.
    """
    known, resampled = resampled.windows.spans.is_typed, resampled.typed
    train_matrix, test_matrix = summaries(inputs.paths), summaries(test_inputs.paths[known])
    labeled = resampled.windows.spans.type
    share = resample(lambda weights: prevalence(labeled, weights), resampled.event_weights)
    gains = []
    for _ in range(N_PERMUTATIONS):
        model = scaled_logistic(DEFAULT_STRENGTH).fit(train_matrix, rng.permutation(y))
        p = np.asarray(model.predict_proba(test_matrix))[:, 1]
        precision = resample(
            lambda weights, p=p: aucpr_retracement(labeled, p, weights), resampled.event_weights
        )
        gains.append(precision.minus(share))
    estimate = float(np.mean([gain.estimate for gain in gains]))
    return interval(np.concatenate([gain.values for gain in gains]), estimate, len(labeled))


def shuffled_predictions(
    resampled: ResampledWindows, p_retracement: np.ndarray, rng: np.random.Generator
) -> Scored:
    """Mean scores of the model's predictions in 20 random orders of the test expansions.

    The model is not refitted: this is chance level for its distribution of predictions. Only those of
    expansions of known type change places.
    """
    resampled, p_retracement = resampled.typed, p_retracement[resampled.windows.spans.is_typed]
    shuffled = [score_types(resampled, rng.permutation(p_retracement)) for _ in range(N_PERMUTATIONS)]
    return mean_scores(shuffled)
