"""The feature table: twelve relativity features and the structural set, computed segment by segment."""

from dataclasses import dataclass

import numba
import numpy as np
import talib

from moola_pipeline.features.schema import NEUTRAL, RANGE_HIGH, RANGE_LOW
from moola_pipeline.features.zigzag import causal_zigzag, compiled_input

ATR_BARS = 10
RANGE_EMA_BARS = 20
VALID_FROM = 20
"""First bar of a segment whose relativity features are warm."""
STRUCTURE_VALID_FROM = 40


@dataclass(frozen=True)
class FeatureTable:
    """Features of every bar of a table.

    Attributes:
        values: (n_bars, F) float32, columns as `FEATURE_NAMES`; `NEUTRAL` where not warm.
        valid: (n_bars,) bool, True where the relativity features are warm.
        structure_valid: (n_bars,) bool, True where the structural set is warm too.
        atr: (n_bars,) float32, ATR(10), index points, at least one tick; 0 while it warms up.
    """

    values: np.ndarray
    valid: np.ndarray
    structure_valid: np.ndarray
    atr: np.ndarray


def compute_features(prices: np.ndarray, segment: np.ndarray, tick_points: float) -> FeatureTable:
    """Compute the features of every bar from the bars of its own segment up to itself.

    Args:
        prices: (n_bars, 4) float64 open, high, low, close in index points.
        segment: (n_bars,) int, non-decreasing; state starts afresh where it changes.
        tick_points: Smallest price step, index points, > 0.

    Returns:
        The table; a segment shorter than the warm-up has no valid row.

    Raises:
        ValueError: If shapes differ, a price is not finite, high lies below low, or tick <= 0.

    Source:
        ATR (Wilder) and EMA from TA-Lib; zigzag as in `zigzag.causal_zigzag`.
    """
    _check(prices, segment, tick_points)
    opens, high, low, close = (compiled_input(prices[:, i]) for i in range(4))
    starts = np.flatnonzero(np.diff(segment, prepend=segment[:1] - 1))
    ends = np.append(starts[1:], len(segment))
    atr = np.full(len(close), np.nan)
    range_ema = np.full(len(close), np.nan)
    ranges = high - low
    for first, last in zip(starts.tolist(), ends.tolist(), strict=True):
        if last - first > ATR_BARS:
            atr[first:last] = talib.ATR(high[first:last], low[first:last], close[first:last], ATR_BARS)
        if last - first >= RANGE_EMA_BARS:
            range_ema[first:last] = talib.EMA(ranges[first:last], RANGE_EMA_BARS)
    np.maximum(atr, tick_points, out=atr)
    values = np.tile(NEUTRAL, (len(close), 1))
    swings = causal_zigzag(high, low, close, atr, starts=starts)
    averages = compiled_input(atr), compiled_input(range_ema)
    tick = float(tick_points)
    _fill(opens, high, low, close, *averages, swings, starts, ends, tick, RANGE_LOW, RANGE_HIGH, values)
    bars_in = np.arange(len(close)) - np.repeat(starts, ends - starts)
    return FeatureTable(
        values,
        bars_in >= VALID_FROM,
        bars_in >= STRUCTURE_VALID_FROM,
        np.nan_to_num(atr).astype(np.float32),
    )


def _check(prices: np.ndarray, segment: np.ndarray, tick_points: float) -> None:
    if prices.ndim != 2 or prices.shape[1] != 4 or len(segment) != len(prices):
        raise ValueError(
            f"prices must be (n_bars, 4) and segment (n_bars,), got {prices.shape}, {segment.shape}"
        )
    if not tick_points > 0:
        raise ValueError(f"tick_points must be > 0 index points, got {tick_points:g}")
    if len(prices) == 0:
        raise ValueError("prices must hold at least one bar, got none")
    finite = np.isfinite(prices).all(axis=1)
    if not finite.all():
        raise ValueError(f"prices must be finite, bar {int(np.argmin(finite))} is not")
    legal = prices[:, 1] >= prices[:, 2]
    if not legal.all():
        raise ValueError(f"high must be >= low, bar {int(np.argmin(legal))} is not")
    if (np.diff(segment) < 0).any():
        raise ValueError("segment must not decrease")


# numba's cache of a function knows when its own file has changed, and no other: what is compiled
# here calls nothing compiled elsewhere and takes the constants of other modules as arguments.
@numba.njit(cache=True)
def _fill(opens, high, low, close, atr, range_ema, swings, starts, ends, tick, range_low, range_high, values):
    longest = 0
    for i in range(len(starts)):
        longest = max(longest, ends[i] - starts[i])
    extremes = np.empty((longest, 6))
    steps = np.empty(longest)
    for i in range(len(starts)):
        first, last = starts[i], ends[i]
        c = close[first:last]
        _rolling(high[first:last], low[first:last], c, extremes, steps)
        for t in range(VALID_FROM, last - first):
            bar = first + t
            row = values[bar]
            _relativity_row(
                row, opens[bar], high[bar], low[bar], close[bar], atr[bar], range_ema[bar], tick,
                swings.direction[bar], swings.high[bar], swings.low[bar],
                bar - swings.high_bar[bar], bar - swings.low_bar[bar],
            )  # fmt: skip
            if t >= STRUCTURE_VALID_FROM:
                _structure_row(row, t, c, atr[bar], tick, extremes, steps)
            for f in range(len(row)):
                row[f] = min(max(row[f], range_low[f]), range_high[f])
            # The proxy of consolidation is built from clipped features, so it comes last.
            age = min((row[8] + row[9]) / 2, 1.0)
            row[11] = (1 - row[5] / 3) * (1 - abs(row[2])) * age


@numba.njit(cache=True)
def _relativity_row(
    row, o, h, lo, c, atr, range_ema, tick, leg, swing_high, swing_low, since_high, since_low
):
    size = max(h - lo, tick)
    flat = h == lo
    row[0] = 0.5 if flat else (o - lo) / size
    row[1] = 0.5 if flat else (c - lo) / size
    row[2] = (c - o) / size
    row[3] = (h - max(o, c)) / size
    row[4] = (min(o, c) - lo) / size
    row[5] = min((h - lo) / range_ema, 3.0) if range_ema > 0 else 0.0
    row[6] = (swing_high - c) / atr
    row[7] = (c - swing_low) / atr
    row[8] = since_high / 30
    row[9] = since_low / 30
    row[10] = row[5] * leg * row[2]


@numba.njit(cache=True)
def _rolling(high, low, close, extremes, steps):
    """Highest high and lowest low of the last 10, 20, 40 bars; path walked since the first bar."""
    steps[0] = 0.0
    for t in range(len(close)):
        if t > 0:
            steps[t] = steps[t - 1] + abs(close[t] - close[t - 1])
        top, bottom = high[t], low[t]
        for j in range(max(t - 9, 0), t):
            top, bottom = max(top, high[j]), min(bottom, low[j])
        extremes[t, 0], extremes[t, 1] = top, bottom
        # Two windows of n bars, n bars apart, cover 2n bars.
        back = max(t - 10, 0)
        extremes[t, 2] = max(top, extremes[back, 0])
        extremes[t, 3] = min(bottom, extremes[back, 1])
        back = max(t - 20, 0)
        extremes[t, 4] = max(extremes[t, 2], extremes[back, 2])
        extremes[t, 5] = min(extremes[t, 3], extremes[back, 3])


@numba.njit(cache=True)
def _structure_row(row, t, close, atr, tick, extremes, steps):
    column = 12
    for i in range(3):
        n_bars = 10 << i
        top, bottom = extremes[t, 2 * i], extremes[t, 2 * i + 1]
        move = close[t] - close[t - n_bars]
        path = steps[t] - steps[t - n_bars]
        row[column] = (top - bottom) / atr
        row[column + 1] = move / atr
        row[column + 2] = abs(move) / path if path > tick / 2 else 0.0
        row[column + 3] = (close[t] - bottom) / (top - bottom) if top > bottom else 0.5
        column += 4
