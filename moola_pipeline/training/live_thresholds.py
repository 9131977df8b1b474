"""When to speak live: calibration, and for each wait a threshold, fitted on validation windows only."""

import numpy as np

from moola_pipeline.labels.spans import LabeledWindows
from moola_pipeline.models.classifier import Classifier
from moola_pipeline.models.expansion_model import sigmoid
from moola_pipeline.models.live import LiveThresholds, OnsetCandidates, raised_alarms, read_live
from moola_pipeline.training.pseudo_labels import claims
from moola_pipeline.training.thresholds import calibration
from moola_pipeline.windows.dense import live_windows_of
from moola_pipeline.windows.market_arrays import MarketArrays
from moola_pipeline.windows.spans import Spans
from moola_pipeline.windows.window_geometry import CORE_FIRST, CORE_LAST, ONSET_COLLAR_BARS, WAITS

TRIED = np.linspace(0.5, 0.9995, 80)
"""Quantiles of what is said of all moves that are tried as thresholds."""


def fit_live_thresholds(
    classifier: Classifier, market: MarketArrays, windows: LabeledWindows, min_net_atr: float
) -> LiveThresholds:
    """Fit what turns live answers into alarms.

    Args:
        classifier: In evaluation mode on the CPU.
        market: The table that the windows lie in.
        windows: The validation windows.
        min_net_atr: Least net move that is asked about.

    Returns:
        Temperature and bias of the probability that an expansion has begun, over claimed onsets in
        bars 30-74; for each wait, the threshold with the best untyped F1 of the alarms.
    """
    bar0, series = live_windows_of(market.segment, windows.bar0)
    candidates = read_live(classifier, market, bar0, min_net_atr)
    window = series[candidates.window]
    right = claims(windows.spans, window, candidates.start - windows.bar0[window], candidates.direction)
    known = right >= 0
    scale, shift = calibration(candidates.onset[known], right[known] == 1)
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
    """For each wait, the threshold on `score` that gives the alarms the best untyped F1.

    Args:
        windows: Labeled windows.
        candidates: What may have begun in their live windows.
        window: (n,) index of each one's labeled window.
        score: (n,) higher is surer.
    """
    thresholds = {}
    for wait in WAITS:
        asked = score[candidates.closed - candidates.start <= wait]
        tried = np.unique(np.quantile(asked, TRIED)) if len(asked) else np.array([1.0])
        reached = [
            alarm_f1(
                windows,
                candidates,
                window,
                raised_alarms(candidates, window, score, float(threshold), wait),
                wait,
            )
            for threshold in tried
        ]
        thresholds[wait] = float(tried[int(np.argmax(reached))])
    return thresholds


def alarm_f1(
    windows: LabeledWindows, candidates: OnsetCandidates, window: np.ndarray, alarms: np.ndarray, wait: int
) -> float:
    """F1 of alarms against the labels; only false onsets in bars 30-74 count.

    Args:
        windows, candidates, window: As in `fit_delay_thresholds`.
        alarms: Indices of what raised an alarm.
        wait: Bars after the true onset by which an alarm must have come.
    """
    spans, bar0 = windows.spans, windows.bar0[window[alarms]]
    onset, closed = candidates.start[alarms] - bar0, candidates.closed[alarms] - bar0
    found = _found(spans, window[alarms], onset, closed, candidates.direction[alarms], wait)
    wrong = ~found & (onset >= CORE_FIRST) & (onset <= CORE_LAST)
    hits = int(found.sum())
    total = hits + len(spans.window) + int(wrong.sum())
    return 2 * hits / total if total else 0.0


def _found(
    labeled: Spans,
    window: np.ndarray,
    onset: np.ndarray,
    closed: np.ndarray,
    direction: np.ndarray,
    wait: int,
) -> np.ndarray:
    """Whether each alarm finds a label, nearer onsets paired first, each label once: (n,) bool."""
    labeled = labeled.pointed()
    apart = np.abs(onset[:, None] - labeled.start)  # (n_alarms, n_labels)
    near = (apart <= ONSET_COLLAR_BARS) & (closed[:, None] <= labeled.start + wait)
    near &= (window[:, None] == labeled.window) & (direction[:, None] == labeled.direction)
    pairs = np.argwhere(near)
    found, used = np.zeros(len(onset), bool), np.zeros(len(labeled.window), bool)
    for alarm, label in pairs[np.argsort(apart[near], kind="stable")]:
        if not found[alarm] and not used[label]:
            found[alarm] = used[label] = True
    return found
