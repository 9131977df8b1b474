"""Scores on the test windows: the model, baselines, trivial baselines and the second pass."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from moola_pipeline.evaluation.baselines import (
    TYPE_BASELINES,
    TypeBaseline,
    fit_type_baseline,
)
from moola_pipeline.evaluation.live import score_live, score_proposer_live
from moola_pipeline.evaluation.shuffled_labels import shuffled_predictions
from moola_pipeline.evaluation.test_set import (
    LabeledTestSet,
    baseline_inputs,
    baseline_inputs_before,
    oracle_span_probabilities,
)
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
from moola_pipeline.models.expansion_model import ExpansionModel
from moola_pipeline.models.span_proposer import propose
from moola_pipeline.report.checks import MEAN_POINTER, ONE_SPAN
from moola_pipeline.training.expansion_models import standalone_proposer
from moola_pipeline.windows.spans import Spans

PROPOSER_TYPERS = ("extra_trees_21_summaries", "logistic_21_summaries")
"""Baselines that also type the spans of the rule."""


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
    resampled = test_set.resampled
    scored, answers, probabilities, bands = {}, {}, {}, {}
    for seed, model in models.items():
        model.classifier.to(device)
        calibrated, answers[seed], ranked = _predict(test_set, model, device)
        live = score_live(test_set, model, device)
        model.classifier.to("cpu")
        scored[seed] = {
            **score_types(resampled, answers[seed].p_retracement),
            **score_probabilities(resampled, calibrated),
            **score_events(resampled, answers[seed].events),
            **score_ends(resampled, answers[seed].events),
            **score_ranking(resampled, ranked),
            **live,
        }
        typed = resampled.windows.spans.is_typed
        probabilities[seed], bands[seed] = calibrated, perfect_band(calibrated[typed], rng)
    return EvaluatedModel(mean_scores(list(scored.values())), scored, answers, probabilities, bands)


def _predict(
    test_set: LabeledTestSet, model: ExpansionModel, device: str
) -> tuple[np.ndarray, ScoredPredictions, pd.DataFrame]:
    """Calibrated P(retracement) of labeled spans, the predictions, and all proposals with scores."""
    windows = test_set.resampled.windows
    calibrated, balanced = oracle_span_probabilities(model, test_set.market, windows, device)
    # F1 uses the reported expansions, average precision the ranking of all proposals.
    accepting_all = replace(
        model, thresholds=model.thresholds.model_copy(update={"expansion_threshold": 0.0})
    )
    events, ranked = (
        _placed(windows, find_events(it, test_set.market, windows.bar0, device))
        for it in (model, accepting_all)
    )
    return calibrated, ScoredPredictions(balanced, events), ranked.assign(score=ranked["probability"])


def _placed(windows: LabeledWindows, found: pd.DataFrame) -> pd.DataFrame:
    window = found["window"].to_numpy(np.int64)
    row = windows.bar0[window] + found["start"].to_numpy(np.int64)
    return found.assign(window_id=windows.window_id[window], row=row)


def score_trivial_baselines(
    test_set: LabeledTestSet,
    train: LabeledWindows,
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
    train = train.complete_windows
    resampled, typed = test_set.resampled, train.typed.spans
    y = typed.type
    spans = resampled.windows.spans
    trivial_baselines = {}
    onsets = np.concatenate([spans.start, found.start])
    for name, p in trivial_type_baselines(y, typed.start, onsets).items():
        labeled, proposed = np.split(p, [len(spans.start)])
        events = _events(resampled, found, (proposed > 0.5).astype(np.int64))
        trivial_baselines[name] = {**score_types(resampled, labeled), **score_events(resampled, events)}
    share = np.full(len(spans.start), np.mean(y))
    trivial_baselines["training_share"] = score_probabilities(resampled, share)
    start, end = constant_span(train)
    everywhere = pd.DataFrame({"window_id": resampled.windows.window_id, "start": start, "end": end})
    trivial_baselines[ONE_SPAN] = score_events(resampled, everywhere.assign(type=int(np.mean(y) > 0.5)))
    trivial_baselines[MEAN_POINTER] = mean_scores(
        [score_mean_pointer(resampled, it.events) for it in evaluated.answers.values()]
    )
    trivial_baselines["shuffled_answers"] = mean_scores(
        [shuffled_predictions(resampled, it.p_retracement, rng) for it in evaluated.answers.values()]
    )
    return trivial_baselines


def find_by_proposer(test_set: LabeledTestSet, train: LabeledWindows) -> Spans:
    """Spans in the test windows by the rule that alone finds training expansions best."""
    proposer = standalone_proposer(test_set.market, train)
    return propose(test_set.market.measure_spans(test_set.resampled.windows.bar0), proposer)


def score_baselines(
    test_set: LabeledTestSet,
    train: LabeledWindows,
    found: Spans,
    rng: np.random.Generator,
    on_baseline: Callable[[str], None] = lambda name: None,
) -> dict[str, Scored]:
    """Scores of baselines fitted on training expansions, for types and, with the rule's spans, for events."""
    resampled, typed = test_set.resampled, train.typed
    train_inputs, test_inputs = (baseline_inputs(test_set, windows) for windows in (typed, resampled.windows))
    fitted: dict[str, TypeBaseline] = {}
    for name in TYPE_BASELINES:
        on_baseline(name)
        fitted[name] = fit_type_baseline(name, train_inputs, typed.spans.type, rng)
    baselines = {
        name: score_types(resampled, baseline.predict_proba(test_inputs)) for name, baseline in fitted.items()
    }
    proposed_inputs = baseline_inputs_before(
        test_set, resampled.windows.bar0[found.window] + found.start, found.direction
    )
    live = score_proposer_live(test_set, train, {typer: fitted[typer] for typer in PROPOSER_TYPERS})
    net = np.abs(test_set.market.measure_spans(resampled.windows.bar0).net_of(found))
    for typer in PROPOSER_TYPERS:
        types = (fitted[typer].predict_proba(proposed_inputs) > 0.5).astype(np.int64)
        events = _events(resampled, found, types)
        baselines[f"rule_{typer}"] = {
            **score_events(resampled, events),
            **score_ends(resampled, events),
            **score_ranking(resampled, events.assign(score=net)),
            **live[typer],
        }
    return baselines


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


def _events(resampled: ResampledWindows, found: Spans, types: np.ndarray) -> pd.DataFrame:
    ids = resampled.windows.window_id[found.window]
    return pd.DataFrame({"window_id": ids, "start": found.start, "end": found.end, "type": types})
