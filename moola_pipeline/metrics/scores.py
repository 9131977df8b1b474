"""Every score of a set of answers, on the same windows and the same resamples of their sessions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from moola_pipeline.labels.schema import TYPES
from moola_pipeline.labels.spans import LabeledWindows
from moola_pipeline.metrics.bootstrap import Resampled, mean_over_seeds, resample, session_weights
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
from moola_pipeline.metrics.overlap import pair_overlapping, ranked_hits, segment_counts

Scored = dict[str, Resampled]
CLASSES = tuple(range(len(TYPES)))
MIN_IOU = (0.3, 0.5, 0.7)
EVENT_COLUMNS = ("window_id", "start", "end", "type")


@dataclass(frozen=True)
class ResampledWindows:
    """Labeled windows and how often each counts in every resample.

    Attributes:
        windows: The windows and their labeled expansions.
        event_weights: (n_resamples, n_expansions) counts.
        window_weights: (n_resamples, n_windows) the same draws, for windows.
    """

    windows: LabeledWindows
    event_weights: np.ndarray
    window_weights: np.ndarray

    @property
    def truth(self) -> pd.DataFrame:
        """Labeled expansions as events."""
        return events_of(self.windows)

    @property
    def window_ids(self) -> pd.Series:
        """window_id of every window."""
        return pd.Series(self.windows.window_id)


def resample_windows(windows: LabeledWindows, resamples: int, rng: np.random.Generator) -> ResampledWindows:
    """Draw sessions once, so that every score is paired with every other."""
    weights = session_weights(pd.Series(windows.session), resamples, rng)
    return ResampledWindows(windows, weights[:, windows.spans.window], weights)


def events_of(windows: LabeledWindows) -> pd.DataFrame:
    """Labeled expansions in the form of predicted ones, EVENT_COLUMNS, in their own order."""
    spans = windows.spans
    columns = (windows.window_id[spans.window], spans.start, spans.end, spans.type)
    return pd.DataFrame(dict(zip(EVENT_COLUMNS, columns, strict=True)))


def score_types(resampled: ResampledWindows, p_retracement: np.ndarray) -> Scored:
    """Scores of P(retracement) for the labeled expansions, both types weighing the same at 0.5."""
    metrics = {"type_f1_macro": type_f1_macro, "aucpr_retracement": aucpr_retracement, "mcc": mcc}
    return _each(metrics, resampled, p_retracement)


def score_probabilities(resampled: ResampledWindows, p_retracement: np.ndarray) -> Scored:
    """Scores of P(retracement) as a probability, calibrated, and the share that is to be expected."""
    y = resampled.windows.spans.type
    share = resample(lambda weights: prevalence(y, weights), resampled.event_weights)
    return {**_each({"brier": brier, "ece": ece}, resampled, p_retracement), "prevalence": share}


def score_events(resampled: ResampledWindows, events: pd.DataFrame) -> Scored:
    """Scores of expansions found: EVENT_COLUMNS, others are ignored."""
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
    """How far off the ends of those expansions found are that overlap a labeled one."""
    paired = pair_overlapping(resampled.truth, events)
    met = paired >= 0
    said = events[["start", "end"]].to_numpy(float)[paired[met]]
    return score_residuals(resampled, said, met)


def score_mean_pointer(resampled: ResampledWindows, events: pd.DataFrame) -> Scored:
    """How far off one constant would be on the expansions that `score_ends` meets: their own mean ends.

    No other constant has a smaller squared error there, so a pointer that says one thing
    everywhere is never ahead of it, wherever it points and however rarely it meets a label.
    """
    met = pair_overlapping(resampled.truth, events) >= 0
    ends = np.column_stack([resampled.windows.spans.start, resampled.windows.spans.end])[met]
    mean = ends.mean(axis=0) if len(ends) else np.zeros(2)
    return score_residuals(resampled, np.tile(mean, (len(ends), 1)), met)


def score_residuals(resampled: ResampledWindows, said: np.ndarray, met: np.ndarray) -> Scored:
    """How far off the ends are, over the labeled expansions that were met; n counts these.

    Args:
        ground: The labeled expansions.
        said: (n_met, 2) onset and offset for each expansion met, in the order of the labels.
        met: (n_expansions,) bool.
    """
    spans, weights = resampled.windows.spans, resampled.event_weights[:, met]
    off = {"onset": said[:, 0] - spans.start[met], "offset": said[:, 1] - spans.end[met]}
    return {
        name: resample(lambda drawn, metric=metric, bars=bars: metric(bars, drawn), weights)
        for end, bars in off.items()
        for name, metric in residual_metrics(end).items()
    }


def score_ranking(resampled: ResampledWindows, events: pd.DataFrame) -> Scored:
    """Mean average precision at each temporal IoU of expansions with a `score`, accepted or not."""
    truth, ids = resampled.truth, resampled.window_ids
    window = pd.Index(ids).get_indexer(events["window_id"].to_numpy())
    labeled = np.zeros((len(ids), len(TYPES)), np.int64)
    np.add.at(labeled, (resampled.windows.spans.window, resampled.windows.spans.type), 1)
    kind, sure = events["type"].to_numpy(np.int64), events["score"].to_numpy(float)
    rankings = {
        iou: RankedPredictions(window, kind, sure, ranked_hits(truth, events, iou), in_core(events))
        for iou in MIN_IOU
    }
    return {
        f"map_iou{iou * 100:.0f}": resample(
            lambda drawn, ranked=ranked: mean_average_precision(ranked, labeled, drawn),
            resampled.window_weights,
        )
        for iou, ranked in rankings.items()
    }


def mean_scores(runs: Sequence[Mapping[str, Resampled]]) -> Scored:
    """Each score's mean over runs that all have it: one model's training seeds."""
    return {name: mean_over_seeds([run[name] for run in runs]) for name in runs[0]}


def _each(
    metrics: Mapping[str, Callable[..., np.ndarray]], resampled: ResampledWindows, p: np.ndarray
) -> Scored:
    y = resampled.windows.spans.type
    return {
        name: resample(lambda weights, metric=metric: metric(y, p, weights), resampled.event_weights)
        for name, metric in metrics.items()
    }
