"""What scores look like when there is nothing to learn: labels dealt out at random."""

import numpy as np

from moola_pipeline.evaluation.baselines import DEFAULT_STRENGTH, BaselineInputs, scaled_logistic, summaries
from moola_pipeline.metrics.bootstrap import Interval, interval, resample
from moola_pipeline.metrics.definitions import aucpr_retracement, prevalence
from moola_pipeline.metrics.scores import ResampledWindows, Scored, mean_scores, score_types

N_PERMUTATIONS = 20


def permuted_training(
    resampled: ResampledWindows,
    seen: BaselineInputs,
    y: np.ndarray,
    asked: BaselineInputs,
    rng: np.random.Generator,
) -> Interval:
    """Average precision minus prevalence of a peer refitted on permuted training labels, 20 times.

    Refitted is logistic regression on the 21 summaries (penalty fixed), scored on the test labels
    as they are. The estimate is the mean over permutations; the interval holds 95 % of what one
    such fit scores on one resample of sessions: where a model that learned nothing lies. It holds
    0 unless the answers leak into what is seen.

    Args:
        ground: The test windows.
        seen, y: The training expansions and their class numbers.
        asked: The test expansions, in the order of the ground's.
        rng: Source of the permutations.
    """
    inputs, questions = summaries(seen.paths), summaries(asked.paths)
    labeled = resampled.windows.spans.type
    share = resample(lambda weights: prevalence(labeled, weights), resampled.event_weights)
    gains = []
    for _ in range(N_PERMUTATIONS):
        model = scaled_logistic(DEFAULT_STRENGTH).fit(inputs, rng.permutation(y))
        p = np.asarray(model.predict_proba(questions))[:, 1]
        precision = resample(
            lambda weights, p=p: aucpr_retracement(labeled, p, weights), resampled.event_weights
        )
        gains.append(precision.minus(share))
    estimate = float(np.mean([gain.estimate for gain in gains]))
    return interval(np.concatenate([gain.values for gain in gains]), estimate, len(labeled))


def shuffled_answers(
    resampled: ResampledWindows, p_retracement: np.ndarray, rng: np.random.Generator
) -> Scored:
    """A trained model's own answers, dealt out at random among the test expansions, 20 times; the mean.

    The model is not refitted: this is chance with the model's own mix of answers.
    """
    dealt = [score_types(resampled, rng.permutation(p_retracement)) for _ in range(N_PERMUTATIONS)]
    return mean_scores(dealt)
