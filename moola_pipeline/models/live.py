"""Live mode: onset candidates at the bar that has just closed, and their alarms."""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numba
import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, field_validator

from moola_pipeline.models.classifier import Classifier
from moola_pipeline.models.span_inference import read_spans
from moola_pipeline.windows.market_arrays import MarketArrays
from moola_pipeline.windows.spans import Spans
from moola_pipeline.windows.window_geometry import LIVE_BARS, MAX_WAIT, SAME_MOVE_BARS, WAITS


class LiveThresholds(BaseModel):
    """Calibration and alarm thresholds of live mode, fitted on validation windows, never on test."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_net_atr: float = Field(gt=0, description="least net move of a candidate, ATR")
    scale: float = Field(gt=0, description="probability = sigmoid(scale * logit + shift)")
    shift: float
    thresholds: dict[int, float] = Field(
        description="least probability of an alarm, by the longest wait after the claimed onset, bars"
    )

    @field_validator("thresholds")
    @classmethod
    def _require_each_wait(cls, thresholds: dict[int, float]) -> dict[int, float]:
        if tuple(sorted(thresholds)) != WAITS:
            raise ValueError(f"thresholds must have the waits {WAITS} bars, got {tuple(thresholds)}")
        return thresholds

    @property
    def n_numbers(self) -> int:
        """Number of fitted values."""
        return len(LiveThresholds.model_fields) - 1 + len(self.thresholds)


class OnsetCandidates(NamedTuple):
    """Moves that may be expansions in progress, each at a closed bar; every array is (n,).

    Attributes:
        closed: Row of the bar that has just closed; no later bar was read.
        start: Row of the claimed onset, 0 to 10 bars before `closed`.
        direction: +1 or -1, the sign of close[closed] - open[start].
        window: Index of the live window that ends with this bar.
        onset: Logit that an expansion in this direction began at `start`.
        retracement: Logit that a retracement came before it.
    """

    closed: np.ndarray
    start: np.ndarray
    direction: np.ndarray
    window: np.ndarray
    onset: np.ndarray
    retracement: np.ndarray


def onset_candidates(market: MarketArrays, bar0: np.ndarray, min_net_atr: float) -> Spans:
    """Spans that end with the last bar of live windows and have a large enough net move.

    Args:
        market: The bars and their features.
        bar0: (n_windows,) rows of bar 0 of live windows.
        min_net_atr: Least net move of a span, in ATR of the bar before it.

    Returns:
        Spans of 1 to 11 bars in the direction of their net move.
    """
    last, n_windows = LIVE_BARS - 1, len(bar0)
    start = np.tile(np.arange(last - MAX_WAIT, last + 1), n_windows)
    window = np.repeat(np.arange(n_windows), MAX_WAIT + 1)
    spans = Spans.untyped(window, start, np.full(len(start), last), np.zeros(len(start), np.int8))
    net = market.net_moves(bar0, spans)
    has_moved = np.abs(net) >= min_net_atr
    return replace(spans, direction=np.where(net < 0, -1, 1).astype(np.int8)).select(has_moved)


def read_live(
    classifier: Classifier,
    market: MarketArrays,
    bar0: np.ndarray,
    min_net_atr: float,
    device: torch.device | str = "cpu",
) -> OnsetCandidates:
    """Compute the logits of all onset candidates of live windows.

    Args:
        classifier: In evaluation mode on `device`.
        market: The bars and their features.
        bar0: (n_windows,) rows of bar 0 of live windows.
        min_net_atr: Least net move of a candidate, in ATR of the bar before it.
        device: Device of the classifier.
    """
    spans = onset_candidates(market, bar0, min_net_atr)
    logits = read_spans(classifier, market, bar0, spans, device, LIVE_BARS)
    row = bar0[spans.window]
    return OnsetCandidates(
        row + spans.end, row + spans.start, spans.direction, spans.window, logits.onset, logits.retracement
    )


def raised_alarms(
    candidates: OnsetCandidates, series: np.ndarray, probability: np.ndarray, threshold: float, max_wait: int
) -> np.ndarray:
    """Candidates that raise an alarm, bar by bar.

    At a closed bar the most probable candidate comes first. It raises an alarm if its probability
    reaches the threshold and no earlier alarm of its direction has an onset within 10 bars of its own.

    Args:
        candidates: Candidates of one or several series of bars.
        series: (n,) int, the series of each; series do not influence each other.
        probability: (n,) of an onset.
        threshold: Least probability of an alarm.
        max_wait: Most bars between the claimed onset and its alarm.

    Returns:
        Indices of the candidates that raise an alarm, sorted by series and time.
    """
    return next(alarms_by_threshold(candidates, series, probability, np.array([threshold]), max_wait))


def alarms_by_threshold(
    candidates: OnsetCandidates,
    series: np.ndarray,
    probability: np.ndarray,
    thresholds: np.ndarray,
    max_wait: int,
) -> Iterator[np.ndarray]:
    """What `raised_alarms` gives for each of many thresholds; candidates are sorted once."""
    in_time = np.flatnonzero(candidates.closed - candidates.start <= max_wait)
    ranked = -probability[in_time], candidates.closed[in_time], series[in_time]
    order = in_time[np.lexsort((-candidates.start[in_time], *ranked))]
    sorted_probability = probability[order]
    for threshold in thresholds:
        index = order[sorted_probability >= threshold]
        raised = np.zeros(len(index), np.bool_)
        moves = series[index], candidates.closed[index], candidates.start[index], candidates.direction[index]
        _raise(*moves, SAME_MOVE_BARS, raised)
        yield index[raised]


# Constants of other modules are arguments: numba's cache does not notice when they change.
@numba.njit(cache=True, nogil=True)
def _raise(series, closed, onset, direction, same_move_bars, raised):
    for i in range(len(onset)):
        raised[i] = True
        for j in range(i - 1, -1, -1):
            # Earlier candidates claim onsets no later than their closed bar.
            if series[j] != series[i] or closed[j] < onset[i] - same_move_bars:
                break
            if raised[j] and direction[j] == direction[i] and abs(onset[i] - onset[j]) <= same_move_bars:
                raised[i] = False
                break
