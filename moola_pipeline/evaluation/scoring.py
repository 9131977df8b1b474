"""Scores on the test windows: the model, trivial baselines and the second pass."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import NamedTuple

import numpy as np
import pandas as pd

from moola_pipeline.evaluation.folds import EvaluationFold, by_fold
from moola_pipeline.evaluation.live import score_live
from moola_pipeline.evaluation.shuffled_labels import shuffled_predictions
from moola_pipeline.evaluation.test_set import LabeledTestSet, oracle_span_probabilities
from moola_pipeline.evaluation.trivial_baselines import constant_span, trivial_type_baselines
from moola_pipeline.inference.hindsight import find_events
from moola_pipeline.labels.second_pass import TwiceLabeled
from moola_pipeline.labels.spans import LabeledWindows
from moola_pipeline.metrics.breakdowns import ScoredPredictions
from moola_pipeline.metrics.calibration import perfect_band
from moola_pipeline.metrics.scores import (
    ResampledWindows,
    Scored,
    events_of,
    mean_scores,
    score_ends,
    score_events,
    score_mean_pointer,
    score_probabilities,
    score_ranking,
    score_types,
)
from moola_pipeline.models.expansion_model import ExpansionModel, SpanModel
from moola_pipeline.models.span_proposer import propose
from moola_pipeline.report.checks import MEAN_POINTER, ONE_SPAN, TRIVIAL_TYPE_BASELINES
from moola_pipeline.training.expansion_models import standalone_proposer
from moola_pipeline.windows.spans import Spans


@dataclass(frozen=True)
class EvaluatedModel:
    """Scores and predictions of the model on the test windows.

    Attributes:
        scores: Means over training seeds.
        by_seed: Scores of each seed.
        answers: Predictions of each seed.
        probabilities: Calibrated P(retracement) of the labeled expansions, by seed.
        perfect_bands: Range of the calibration error of a perfectly calibrated model, by seed.
    """

    scores: Scored
    by_seed: dict[int, Scored]
    answers: dict[int, ScoredPredictions]
    probabilities: dict[int, np.ndarray]
    perfect_bands: dict[int, tuple[float, float]]


def score_models(
    test_set: LabeledTestSet, models: Mapping[int, ExpansionModel], device: str, rng: np.random.Generator
) -> EvaluatedModel:
    """Scores, predictions and perfect calibration bands of all training seeds."""
    predicted, live = {}, {}
    for seed, model in models.items():
        with model.on(device):
            predicted[seed] = _predict(test_set, model, device)
            live[seed] = score_live(test_set, model, device)
    return _evaluated(test_set.resampled, predicted, live, rng)


def score_fold_models(
    test_set: LabeledTestSet,
    folds: Sequence[EvaluationFold],
    models: Sequence[SpanModel],
    seed: int,
    device: str,
    rng: np.random.Generator,
) -> EvaluatedModel:
    """The same for one model of each fold, which reads its windows; live mode is not scored.

    Args:
        test_set: The scored windows of all folds.
        folds, models: Pairs of a fold and the model that learned from it.
        seed: Of the trainings.
        device: Device of the networks.
        rng: Source of the calibration bands.
    """
    window = test_set.resampled.windows.spans.window
    calibrated, balanced = np.empty(len(window)), np.empty(len(window))
    events, ranked = [], []
    for fold, model in zip(folds, models, strict=True):
        with model.on(device):
            found = _predict(test_set.select(fold.scored), model, device)
        mine = np.isin(window, fold.scored)
        calibrated[mine], balanced[mine] = found.calibrated, found.answers.p_retracement
        events.append(found.answers.events)
        ranked.append(found.ranked)
    joined = ScoredPredictions(balanced, pd.concat(events, ignore_index=True))
    predicted = _Predicted(calibrated, joined, pd.concat(ranked, ignore_index=True))
    return _evaluated(test_set.resampled, {seed: predicted}, {seed: {}}, rng)


class _Predicted(NamedTuple):
    """Calibrated P(retracement) of labeled spans, the predictions, and all proposals with scores."""

    calibrated: np.ndarray
    answers: ScoredPredictions
    ranked: pd.DataFrame


def _evaluated(
    resampled: ResampledWindows,
    predicted: Mapping[int, _Predicted],
    live: Mapping[int, Scored],
    rng: np.random.Generator,
) -> EvaluatedModel:
    scored = {
        seed: {
            **score_types(resampled, one.answers.p_retracement),
            **score_probabilities(resampled, one.calibrated),
            **score_events(resampled, one.answers.events),
            **score_ends(resampled, one.answers.events),
            **score_ranking(resampled, one.ranked),
            **live[seed],
        }
        for seed, one in predicted.items()
    }
    typed = resampled.windows.spans.is_typed
    return EvaluatedModel(
        mean_scores(list(scored.values())),
        scored,
        {seed: one.answers for seed, one in predicted.items()},
        {seed: one.calibrated for seed, one in predicted.items()},
        {seed: perfect_band(one.calibrated[typed], rng) for seed, one in predicted.items()},
    )


def _predict(test_set: LabeledTestSet, model: SpanModel, device: str) -> _Predicted:
    windows = test_set.resampled.windows
    calibrated, balanced = oracle_span_probabilities(model, test_set.market, windows, device)
    # F1 uses the reported expansions, average precision the ranking of all proposals.
    limit = model.thresholds.expansion_threshold
    found = find_events(model, test_set.market, windows.bar0, device, least_probability=0.0)
    ranked = _placed(windows, found).assign(score=found["probability"])
    events = ranked.loc[ranked["probability"] >= limit].reset_index(drop=True)
    return _Predicted(calibrated, ScoredPredictions(balanced, events), ranked)


def _placed(windows: LabeledWindows, found: pd.DataFrame) -> pd.DataFrame:
    window = found["window"].to_numpy(np.int64)
    row = windows.bar0[window] + found["start"].to_numpy(np.int64)
    return found.assign(window_id=windows.window_id[window], row=row)


def score_trivial_baselines(
    test_set: LabeledTestSet,
    folds: Sequence[EvaluationFold],
    found: Spans,
    evaluated: EvaluatedModel,
    rng: np.random.Generator,
) -> dict[str, Scored]:
    """Scores of constants and of predictions that use no price.

    They learn from complete training windows: they are rates and places. For events, the trivial type
    baselines type the spans that the rule finds alone. one_constant_span
    predicts one span of the majority class in every window. mean_pointer predicts the mean ends of
    the expansions that the model finds, so that the two errors are paired. shuffled_answers are the
    model's predictions in random order.
    """
    resampled = test_set.resampled
    spans = resampled.windows.spans
    onsets, window = np.concatenate([spans.start, found.start]), np.concatenate([spans.window, found.window])
    trivial_baselines = {}
    for name in TRIVIAL_TYPE_BASELINES:

        def predict(fold: int, mine: np.ndarray, name: str = name) -> np.ndarray:
            typed = folds[fold].train.complete_windows.typed.spans
            return trivial_type_baselines(typed.type, typed.start, onsets[mine])[name]

        labeled, proposed = np.split(by_fold(folds, window, predict), [len(spans.start)])
        events = typed_events(resampled, found, (proposed > 0.5).astype(np.int64))
        trivial_baselines[name] = {**score_types(resampled, labeled), **score_events(resampled, events)}
    shares = [np.mean(fold.train.complete_windows.typed.spans.type) for fold in folds]
    share = by_fold(folds, spans.window, lambda fold, mine: np.full(mine.sum(), shares[fold]))
    trivial_baselines["training_share"] = score_probabilities(resampled, share)
    everywhere = pd.concat([_one_span(resampled, fold) for fold in folds], ignore_index=True)
    trivial_baselines[ONE_SPAN] = score_events(resampled, everywhere)
    trivial_baselines[MEAN_POINTER] = mean_scores(
        [score_mean_pointer(resampled, it.events) for it in evaluated.answers.values()]
    )
    trivial_baselines["shuffled_answers"] = mean_scores(
        [shuffled_predictions(resampled, it.p_retracement, rng) for it in evaluated.answers.values()]
    )
    return trivial_baselines


def _one_span(resampled: ResampledWindows, fold: EvaluationFold) -> pd.DataFrame:
    """One span of the majority class in every window of a fold: EVENT_COLUMNS."""
    train = fold.train.complete_windows
    start, end = constant_span(train)
    ids = resampled.windows.window_id[fold.scored]
    majority = int(np.mean(train.typed.spans.type) > 0.5)
    return pd.DataFrame({"window_id": ids, "start": start, "end": end, "type": majority})


def find_by_proposer(test_set: LabeledTestSet, folds: Sequence[EvaluationFold]) -> Spans:
    """Spans in the scored windows by the rule that alone finds training expansions best."""
    found = []
    for fold in folds:
        proposer = standalone_proposer(test_set.market, fold.train)
        bar0 = test_set.resampled.windows.bar0[fold.scored]
        spans = propose(test_set.market.measure_spans(bar0), proposer)
        found.append(replace(spans, window=fold.scored[spans.window]))
    return reduce(Spans.joined, found)


def score_second_pass(resampled: ResampledWindows, twice: TwiceLabeled) -> Scored:
    """The annotator's second pass, scored as a prediction on the test windows that have one.

    No average precision, as the second pass has no probabilities; no type F1, as the annotator types
    expansions without a given span. Where either pass leaves the type unknown, they agree about finding
    and say nothing about types. Empty if no window has a second pass.
    """
    if not len(twice.first.bar0):
        return {}
    columns = pd.Index(resampled.window_ids).get_indexer(pd.Index(twice.first.window_id))
    weights = resampled.window_weights[:, columns]
    first = ResampledWindows(twice.first, weights[:, twice.first.spans.window], weights)
    second = events_of(twice.second)
    return {**score_events(first, second), **score_ends(first, second)}


def typed_events(resampled: ResampledWindows, found: Spans, types: np.ndarray) -> pd.DataFrame:
    """Spans in the scored windows with a type each: EVENT_COLUMNS."""
    ids = resampled.windows.window_id[found.window]
    return pd.DataFrame({"window_id": ids, "start": found.start, "end": found.end, "type": types})
