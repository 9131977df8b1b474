"""Live mode: calibration and a threshold for each wait, fitted on validation windows."""

import numpy as np

from moola_pipeline.labels.spans import LabeledWindows
from moola_pipeline.models.classifier import Classifier
from moola_pipeline.models.expansion_model import sigmoid
from moola_pipeline.models.live import LiveThresholds, OnsetCandidates, alarms_by_threshold, read_live
from moola_pipeline.training.proposer_fit import match_onsets
from moola_pipeline.training.pseudo_labels import claim_targets
from moola_pipeline.training.thresholds import calibration
from moola_pipeline.windows.dense import live_windows_of
from moola_pipeline.windows.market_arrays import MarketArrays
from moola_pipeline.windows.spans import Spans
from moola_pipeline.windows.window_geometry import CORE_FIRST, CORE_LAST, ONSET_COLLAR_BARS, WAITS

THRESHOLD_QUANTILES = np.linspace(0.5, 0.9995, 80)
"""Quantiles of the scores of all candidates; the best one becomes the threshold."""


def fit_live_thresholds(
    classifier: Classifier, market: MarketArrays, windows: LabeledWindows, min_net_atr: float
) -> LiveThresholds:
    """Fit the calibration and the alarm thresholds of live mode.

    Args:
        classifier: In evaluation mode on the CPU.
        market: The bars and their features.
        windows: The validation windows; only complete ones count.
        min_net_atr: Least net move of a candidate, ATR.

    Returns:
        Scale and shift of the probability that an expansion has begun, fitted on claimed onsets in
        bars 30-74; for each wait, the threshold with the best untyped F1 of the alarms.
    """
    windows = windows.complete_windows
    bar0, series = live_windows_of(market.segment, windows.bar0)
    candidates = read_live(classifier, market, bar0, min_net_atr)
    window = series[candidates.window]
    onset = candidates.start - windows.bar0[window]
    target = claim_targets(windows.spans, window, onset, candidates.direction)
    known = target >= 0
    scale, shift = calibration(candidates.onset[known], target[known] == 1)
    probability = sigmoid(scale * candidates.onset + shift)
    return LiveThresholds(
        min_net_atr=min_net_atr,
        scale=scale,
        shift=shift,
        thresholds=fit_delay_thresholds(windows, candidates, window, probability),
    )


def fit_delay_thresholds(
    windows: LabeledWindows, candidates: OnsetCandidates, window: np.ndarray, score: np.ndarray
) -> dict[int, float]:
    """For each wait, the threshold on `score` with the best untyped F1 of the alarms.

    Args:
        windows: Labeled windows.
        candidates: Onset candidates in their live windows.
        window: (n,) index of each candidate's labeled window.
        score: (n,) higher means more likely an onset.
    """
    thresholds = {}
    for wait in WAITS:
        in_time = score[candidates.closed - candidates.start <= wait]
        values = np.unique(np.quantile(in_time, THRESHOLD_QUANTILES)) if len(in_time) else np.array([1.0])
        raised = alarms_by_threshold(candidates, window, score, values, wait)
        f1 = [alarm_f1(windows, candidates, window, alarms, wait) for alarms in raised]
        thresholds[wait] = float(values[int(np.argmax(f1))])
    return thresholds


def alarm_f1(
    windows: LabeledWindows, candidates: OnsetCandidates, window: np.ndarray, alarms: np.ndarray, wait: int
) -> float:
    """F1 of alarms against the labels; only false onsets in bars 30-74 count.

    Args:
        windows, candidates, window: As in `fit_delay_thresholds`.
        alarms: Indices of the candidates that raise an alarm.
        wait: Latest bar of a correct alarm, counted from the true onset.
    """
    spans, bar0 = windows.spans, windows.bar0[window[alarms]]
    onset, closed = candidates.start[alarms] - bar0, candidates.closed[alarms] - bar0
    matched = _match_labels(spans, window[alarms], onset, closed, candidates.direction[alarms], wait)
    false_alarms = ~matched & (onset >= CORE_FIRST) & (onset <= CORE_LAST)
    hits = int(matched.sum())
    total = hits + len(spans.window) + int(false_alarms.sum())
    return 2 * hits / total if total else 0.0


def _match_labels(
    labeled: Spans,
    window: np.ndarray,
    onset: np.ndarray,
    closed: np.ndarray,
    direction: np.ndarray,
    wait: int,
) -> np.ndarray:
    """Whether each alarm matches a label: nearest onsets first, each label once; (n,) bool."""
    labeled = labeled.pointed()
    group = _by_direction(labeled.window, labeled.direction)
    order = np.argsort(group, kind="stable")
    start = labeled.start[order]
    labels = group[order], start, start - ONSET_COLLAR_BARS, start + wait  # none closes before its onset
    return match_onsets((_by_direction(window, direction), onset, closed), labels) >= 0


def _by_direction(window: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """A number for each window and direction."""
    return 2 * window.astype(np.int64) + (direction < 0)
