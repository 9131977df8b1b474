"""All scores of a set of predictions, on the same windows and the same resamples of sessions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from moola_pipeline.labels.schema import TYPES
from moola_pipeline.labels.spans import LabeledWindows
from moola_pipeline.metrics.bootstrap import (
    MIN_SESSIONS,
    Resampled,
    mean_over_seeds,
    resample,
    session_weights,
)
from moola_pipeline.metrics.calibration import ece
from moola_pipeline.metrics.definitions import (
    RankedPredictions,
    aucpr_retracement,
    brier,
    event_f1_macro,
    event_f1_untyped,
    mcc,
    mean_average_precision,
    prevalence,
    residual_metrics,
    segment_f1_macro,
    segment_f1_micro,
    type_f1_macro,
)
from moola_pipeline.metrics.matching import ANY_TYPE, event_counts, in_core, match_events
from moola_pipeline.metrics.overlap import near_unknown, pair_overlapping, ranked_hits, segment_counts

Scored = dict[str, Resampled]
CLASSES = tuple(range(len(TYPES)))
MIN_IOU = (0.3, 0.5, 0.7)
EVENT_COLUMNS = ("window_id", "start", "end", "type")


@dataclass(frozen=True)
class ResampledWindows:
    """Labeled windows and their counts in every resample.

    Attributes:
        windows: The windows and their labeled expansions.
        event_weights: (n_resamples, n_expansions) counts.
        window_weights: (n_resamples, n_windows) the same draws, for windows.
    """

    windows: LabeledWindows
    event_weights: np.ndarray
    window_weights: np.ndarray

    @property
    def typed(self) -> "ResampledWindows":
        """The same windows and draws with the expansions of known type only, for scores of the type."""
        known = self.windows.spans.is_typed
        if known.all():
            return self
        return ResampledWindows(self.windows.typed, self.event_weights[:, known], self.window_weights)

    @property
    def truth(self) -> pd.DataFrame:
        """Labeled expansions as events."""
        return events_of(self.windows)

    @property
    def window_ids(self) -> pd.Series:
        """window_id of every window."""
        return pd.Series(self.windows.window_id)


def resample_windows(windows: LabeledWindows, resamples: int, rng: np.random.Generator) -> ResampledWindows:
    """Draw sessions once, so that all scores are paired; nothing is drawn from fewer than MIN_SESSIONS.

    Intervals and p-values are then undefined.
    """
    enough = len(np.unique(windows.session)) >= MIN_SESSIONS
    weights = session_weights(pd.Series(windows.session), resamples if enough else 0, rng)
    return ResampledWindows(windows, weights[:, windows.spans.window], weights)


def events_of(windows: LabeledWindows) -> pd.DataFrame:
    """Labeled expansions as events with EVENT_COLUMNS, in label order."""
    spans = windows.spans
    columns = (windows.window_id[spans.window], spans.start, spans.end, spans.type)
    return pd.DataFrame(dict(zip(EVENT_COLUMNS, columns, strict=True)))


def score_types(resampled: ResampledWindows, p_retracement: np.ndarray) -> Scored:
    """Scores of P(retracement) with balanced types, threshold 0.5, over the expansions of known type.

    Args:
        resampled: The labeled expansions.
        p_retracement: (n_expansions,) of all of them; those of unknown type are not read.
    """
    metrics = {"type_f1_macro": type_f1_macro, "aucpr_retracement": aucpr_retracement, "mcc": mcc}
    return _each(metrics, resampled, p_retracement)


def score_probabilities(resampled: ResampledWindows, p_retracement: np.ndarray) -> Scored:
    """Scores of calibrated P(retracement), and the prevalence; arguments as in `score_types`."""
    typed = resampled.typed
    y = typed.windows.spans.type
    share = resample(lambda weights: prevalence(y, weights), typed.event_weights)
    return {**_each({"brier": brier, "ece": ece}, resampled, p_retracement), "prevalence": share}


def score_events(resampled: ResampledWindows, events: pd.DataFrame) -> Scored:
    """Scores of predicted expansions: EVENT_COLUMNS, others are ignored.

    An expansion of unknown type counts in event_f1_untyped like any other. In the scores by type it is
    neither found nor missed, and a prediction that it alone explains is not false (`pair_events`,
    `segment_counts`).
    """
    truth, ids, weights = resampled.truth, resampled.window_ids, resampled.window_weights
    typed = event_counts(match_events(truth, events), ids, CLASSES)
    untyped = event_counts(match_events(truth, events, typed=False), ids, (ANY_TYPE,))
    bars = segment_counts(truth, events, ids, CLASSES)
    by_name: dict[str, tuple[Callable[..., np.ndarray], np.ndarray]] = {
        "event_f1_macro": (event_f1_macro, typed),
        "event_f1_untyped": (event_f1_untyped, untyped),
        "segment_f1_micro": (segment_f1_micro, bars),
        "segment_f1_macro": (segment_f1_macro, bars),
    }
    return {
        name: resample(lambda drawn, metric=metric, counts=counts: metric(counts, drawn), weights)
        for name, (metric, counts) in by_name.items()
    }


def score_ends(resampled: ResampledWindows, events: pd.DataFrame) -> Scored:
    """Errors of the ends of predicted expansions that overlap a label."""
    paired = pair_overlapping(resampled.truth, events)
    found = paired >= 0
    ends = events[["start", "end"]].to_numpy(float)[paired[found]]
    return score_residuals(resampled, ends, found)


def score_mean_pointer(resampled: ResampledWindows, events: pd.DataFrame) -> Scored:
    """Errors of one constant span, the mean ends, on the expansions of `score_ends`.

    No constant has a smaller squared error on these expansions, so a model that predicts the same span
    everywhere is never better, whatever the span and however rarely it overlaps a label.
    """
    found = pair_overlapping(resampled.truth, events) >= 0
    ends = np.column_stack([resampled.windows.spans.start, resampled.windows.spans.end])[found]
    mean = ends.mean(axis=0) if len(ends) else np.zeros(2)
    return score_residuals(resampled, np.tile(mean, (len(ends), 1)), found)


def score_residuals(resampled: ResampledWindows, predicted: np.ndarray, found: np.ndarray) -> Scored:
    """Errors of the ends over the labeled expansions that were found; n counts these.

    Args:
        resampled: The labeled expansions.
        predicted: (n_found, 2) predicted onset and offset, in label order.
        found: (n_expansions,) bool.
    """
    spans, weights = resampled.windows.spans, resampled.event_weights[:, found]
    residuals = {"onset": predicted[:, 0] - spans.start[found], "offset": predicted[:, 1] - spans.end[found]}
    return {
        name: resample(lambda drawn, metric=metric, bars=bars: metric(bars, drawn), weights)
        for end, bars in residuals.items()
        for name, metric in residual_metrics(end).items()
    }


def score_ranking(resampled: ResampledWindows, events: pd.DataFrame) -> Scored:
    """Mean average precision at each temporal IoU, for all proposals with a `score`.

    A proposal that only an expansion of unknown type explains is neither right nor wrong.
    """
    truth, ids = resampled.truth, resampled.window_ids
    window = pd.Index(ids).get_indexer(events["window_id"].to_numpy())
    labeled, spans = np.zeros((len(ids), len(TYPES)), np.int64), resampled.typed.windows.spans
    np.add.at(labeled, (spans.window, spans.type), 1)
    kind, score = events["type"].to_numpy(np.int64), events["score"].to_numpy(float)
    rankings = {}
    for iou in MIN_IOU:
        hit = ranked_hits(truth, events, iou)
        judged = in_core(events) & ~near_unknown(truth, events, hit, iou)
        rankings[iou] = RankedPredictions(window, kind, score, hit, judged)
    return {
        f"map_iou{iou * 100:.0f}": resample(
            lambda drawn, ranked=ranked: mean_average_precision(ranked, labeled, drawn),
            resampled.window_weights,
        )
        for iou, ranked in rankings.items()
    }


def mean_scores(runs: Sequence[Mapping[str, Resampled]]) -> Scored:
    """Mean of each score over training seeds."""
    return {name: mean_over_seeds([run[name] for run in runs]) for name in runs[0]}


def _each(
    metrics: Mapping[str, Callable[..., np.ndarray]], resampled: ResampledWindows, p: np.ndarray
) -> Scored:
    """Metrics of the type over the expansions of known type; `p` is (n_expansions,) of all."""
    typed, p = resampled.typed, p[resampled.windows.spans.is_typed]
    y = typed.windows.spans.type
    return {
        name: resample(lambda weights, metric=metric: metric(y, p, weights), typed.event_weights)
        for name, metric in metrics.items()
    }
