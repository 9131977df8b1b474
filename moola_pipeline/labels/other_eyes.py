"""Two made annotators with other habits: one goes by speed and volume, one by breaks of ranges.

They show whether a choice that suits one eye costs another. Neither knows which expansions were planted.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from moola_pipeline.features.averages import mean_true_range, segment_bounds
from moola_pipeline.features.zigzag import ATR_BARS
from moola_pipeline.labels.surges import LENGTH_POWER, Surges, apart
from moola_pipeline.windows.context import BARS_BEFORE_START, paths_before

CONSOLIDATION, RETRACEMENT, NEITHER = 0, 1, -1
SHORTEST, LONGEST = 2, 10
"""Bars of a span, least and most."""
FAST, FAST_POWER = 2.8, 0.4
"""The eye for speed marks a net move of so many ATR over the bars to this power, times the root of the
volume over that of the bars before."""
VOLUME_BARS, MAX_VOLUME = 30, 4.0
DRIFT_BARS, DRIFT_ATR = 12, 1.4
"""A drift of so many ATR against the move, over so many closes, is a retracement to the eye for speed."""
QUIET_BARS, QUIET = 10, 1.0
"""Volume of so many bars over that of the 45, at most this, is a consolidation to it."""
BEYOND, RANGE_BARS = 1.1, 20
"""The eye for breaks marks a close so many ATR beyond the extreme of so many bars."""
NARROW_ATR = 2.3
"""A range of at most so many ATR is a consolidation to it."""
GIVEN_BACK, BARS_SINCE_PEAK = 0.25, 3
"""Else a share of the range at least this, given back over at least so many bars, is a retracement."""


class _Bars(NamedTuple):
    """Columns of a table of bars, (n_bars,) each; `unit` is ATR before the bar, NaN where none may begin."""

    opened: np.ndarray
    high: np.ndarray
    low: np.ndarray
    close: np.ndarray
    volume: np.ndarray
    atr: np.ndarray
    unit: np.ndarray
    left: np.ndarray


def surges_seen(
    eye: str, prices: np.ndarray, volume: np.ndarray, segment: np.ndarray
) -> tuple[Surges, np.ndarray]:
    """The spans that an eye marks or nearly marks, and the type it gives each: (n_surges,) class numbers.

    Args:
        eye: "speed" or "breaks".
        prices: (n_bars, 4) open, high, low, close, index points.
        volume: (n_bars,) contracts.
        segment: (n_bars,) int, non-decreasing.

    Returns:
        Surges with a clarity of at least one half; the eye marks those of at least 1. Spans before which
        it sees neither a consolidation nor a retracement are left out.
    """
    bars = _bars(prices, volume, segment)
    score, type_of = _EYES[eye]
    best, n_bars = np.zeros(len(prices)), np.full(len(prices), SHORTEST)
    for length in range(SHORTEST, min(LONGEST, len(prices)) + 1):
        first, last = slice(0, len(prices) - length + 1), slice(length - 1, len(prices))
        clarity = np.nan_to_num(score(bars, first, last, length))
        clearer = (clarity > best[first]) & (bars.left[first] >= length)
        best[first][clearer] = clarity[clearer]
        n_bars[first][clearer] = length
    onset = apart(best, n_bars, 0.5)
    offset = onset + n_bars[onset] - 1
    direction = np.sign(bars.close[offset] - bars.opened[onset]).astype(np.int8)
    types = type_of(bars, onset, direction)
    seen = types != NEITHER
    return Surges(*(array[seen] for array in (onset, offset, direction, best[onset]))), types[seen]


def _bars(prices: np.ndarray, volume: np.ndarray, segment: np.ndarray) -> _Bars:
    opened, high, low, close = (np.ascontiguousarray(column) for column in prices.T)
    starts, ends = segment_bounds(segment)
    atr = mean_true_range(high, low, close, starts, ends, ATR_BARS)
    rows = np.arange(len(prices))
    unit = np.full(len(prices), np.nan)
    unit[1:] = atr[:-1]
    unit[(rows - np.repeat(starts, ends - starts) < BARS_BEFORE_START) | ~(unit > 0)] = np.nan
    left = np.repeat(ends, ends - starts) - rows
    return _Bars(opened, high, low, close, np.asarray(volume, float), atr, unit, left)


def _before(values: np.ndarray, n_bars: int, reduce: Callable[..., np.ndarray]) -> np.ndarray:
    """`reduce` over the `n_bars` before each bar: (n_bars,), NaN where there are fewer."""
    result = np.full(len(values), np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(values, n_bars)[:-1]
    result[n_bars:] = reduce(windows, axis=1)
    return result


def _fast(bars: _Bars, first: slice, last: slice, length: int) -> np.ndarray:
    """Net move over the bars it took, times the root of its volume over that before."""
    total = np.concatenate([[0.0], np.cumsum(bars.volume)])
    inside = (total[length:] - total[:-length]) / length
    before = _before(bars.volume, VOLUME_BARS, np.mean)[first]
    busier = np.clip(inside / np.maximum(before, 1.0), 0, MAX_VOLUME)
    move = np.abs(bars.close[last] - bars.opened[first]) / bars.unit[first]
    return move / length**FAST_POWER * np.sqrt(busier) / FAST


def _busy_type(bars: _Bars, onset: np.ndarray, direction: np.ndarray) -> np.ndarray:
    paths = paths_before(bars.close, bars.atr, onset, direction)
    against = paths[:, -1 - DRIFT_BARS] - paths[:, -1] >= DRIFT_ATR
    volume = bars.volume[onset[:, None] + np.arange(-BARS_BEFORE_START, 0)]
    quiet = volume[:, -QUIET_BARS:].mean(axis=1) <= QUIET * volume.mean(axis=1)
    return np.where(against, RETRACEMENT, np.where(quiet, CONSOLIDATION, NEITHER))


def _beyond(bars: _Bars, first: slice, last: slice, length: int) -> np.ndarray:
    """How far the last close lies beyond the extreme of the bars before, over the root of the bars."""
    top, bottom = _before(bars.high, RANGE_BARS, np.max)[first], _before(bars.low, RANGE_BARS, np.min)[first]
    opened, close = bars.opened[first], bars.close[last]
    up = np.where(opened <= top, close - top, 0.0)
    down = np.where(opened >= bottom, bottom - close, 0.0)
    return np.maximum(up, down) / bars.unit[first] / length**LENGTH_POWER / BEYOND


def _range_type(bars: _Bars, onset: np.ndarray, direction: np.ndarray) -> np.ndarray:
    paths = paths_before(bars.close, bars.atr, onset, direction)[:, -RANGE_BARS:]
    size, peak = np.ptp(paths, axis=1), paths.argmax(axis=1)
    given_back = (paths.max(axis=1) - paths[:, -1]) / np.maximum(size, 1e-9)
    retraced = (given_back >= GIVEN_BACK) & (RANGE_BARS - 1 - peak >= BARS_SINCE_PEAK)
    return np.where(size <= NARROW_ATR, CONSOLIDATION, np.where(retraced, RETRACEMENT, NEITHER))


_EYES = {"speed": (_fast, _busy_type), "breaks": (_beyond, _range_type)}
"""How each eye scores spans of one length, and how it types the bars before them."""
