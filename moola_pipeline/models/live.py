"""Live mode: moves that may have begun, read at the bar that has just closed, and the alarms they raise."""

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
    """What turns live logits into alarms; fitted on validation windows, never on test."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_net_atr: float = Field(gt=0, description="least net move, ATR, of a move that is asked about")
    scale: float = Field(gt=0, description="probability = sigmoid(scale * logit + shift)")
    shift: float
    thresholds: dict[int, float] = Field(
        description="by bars that may be waited after the claimed onset, the least probability of an alarm"
    )

    @field_validator("thresholds")
    @classmethod
    def _one_a_wait(cls, thresholds: dict[int, float]) -> dict[int, float]:
        if tuple(sorted(thresholds)) != WAITS:
            raise ValueError(f"there must be a threshold for waits of {WAITS} bars, got {tuple(thresholds)}")
        return thresholds

    @property
    def n_numbers(self) -> int:
        """How many numbers were fitted."""
        return len(LiveThresholds.model_fields) - 1 + len(self.thresholds)


class OnsetCandidates(NamedTuple):
    """Moves that may have begun, each as a closed bar sees it; every array is (n,).

    Attributes:
        closed: Row of the bar that has just closed: no later bar was read.
        start: Row of the bar at which the move would have begun, 0 to 10 bars before.
        direction: +1 or -1, the sign of close[closed] - open[start].
        window: Index of the live window that ends with this bar.
        onset: Logit that an expansion in this direction began there.
        retracement: Logit that a retracement came before it.
    """

    closed: np.ndarray
    start: np.ndarray
    direction: np.ndarray
    window: np.ndarray
    onset: np.ndarray
    retracement: np.ndarray


def onset_candidates(market: MarketArrays, bar0: np.ndarray, min_net_atr: float) -> Spans:
    """The spans that end with the last bar of live windows, where price has moved.

    Args:
        market: The bars and their features.
        bar0: (n_windows,) rows of bar 0 of live windows.
        min_net_atr: Least net move of a span, ATR at the bar before it.

    Returns:
        Spans of 1 to 11 bars in the direction of their net move.
    """
    last, n_windows = LIVE_BARS - 1, len(bar0)
    start = np.tile(np.arange(last - MAX_WAIT, last + 1), n_windows)
    window = np.repeat(np.arange(n_windows), MAX_WAIT + 1)
    every = Spans.untyped(window, start, np.full(len(start), last), np.zeros(len(start), np.int8))
    net = market.net_moves(bar0, every)
    moved = np.abs(net) >= min_net_atr
    return replace(every, direction=np.where(net < 0, -1, 1).astype(np.int8)).select(moved)


def read_live(
    classifier: Classifier,
    market: MarketArrays,
    bar0: np.ndarray,
    min_net_atr: float,
    device: torch.device | str = "cpu",
) -> OnsetCandidates:
    """Ask of each live window which expansion has begun, if any.

    Args:
        classifier: In evaluation mode on `device`.
        market: The bars and their features.
        bar0: (n_windows,) rows of bar 0 of live windows.
        min_net_atr: Least net move that is asked about.
        device: Where the classifier is.
    """
    spans = onset_candidates(market, bar0, min_net_atr)
    said = read_spans(classifier, market, bar0, spans, device, LIVE_BARS)
    row = bar0[spans.window]
    return OnsetCandidates(
        row + spans.end, row + spans.start, spans.direction, spans.window, said.onset, said.retracement
    )


def raised_alarms(
    candidates: OnsetCandidates, series: np.ndarray, probability: np.ndarray, threshold: float, max_wait: int
) -> np.ndarray:
    """Which moves raise an alarm, bar by bar.

    At a closed bar the surest move comes first. It raises an alarm if it is sure enough and no alarm
    of its direction was raised whose claimed onset lies within 10 bars of its own.

    Args:
        candidates: Moves of one or several series of bars.
        series: (n,) int, which series each belongs to; none knows of another's alarms.
        probability: (n,) that each has begun.
        threshold: Least probability of an alarm.
        max_wait: Bars after the claimed onset at which an alarm may still be raised.

    Returns:
        Indices of the moves that raise one, in order of series and time.
    """
    sure = np.flatnonzero((probability >= threshold) & (candidates.closed - candidates.start <= max_wait))
    order = np.lexsort((-candidates.start[sure], -probability[sure], candidates.closed[sure], series[sure]))
    asked = sure[order]
    kept = np.zeros(len(asked), np.bool_)
    moves = series[asked], candidates.closed[asked], candidates.start[asked], candidates.direction[asked]
    _raise(*moves, SAME_MOVE_BARS, kept)
    return asked[kept]


# constants of other modules come as arguments: numba's cache would not see them change
@numba.njit(cache=True)
def _raise(series, closed, onset, direction, same_move_bars, kept):
    for i in range(len(onset)):
        kept[i] = True
        for j in range(i - 1, -1, -1):
            # no earlier move can claim an onset nearer than the bar that it was seen at
            if series[j] != series[i] or closed[j] < onset[i] - same_move_bars:
                break
            if kept[j] and direction[j] == direction[i] and abs(onset[i] - onset[j]) <= same_move_bars:
                kept[i] = False
                break
