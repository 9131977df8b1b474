"""Surges that are visible in the bars alone, and the setup before each."""

from typing import NamedTuple

import numpy as np

from moola_pipeline.features.averages import mean_true_range, segment_bounds
from moola_pipeline.features.zigzag import ATR_BARS
from moola_pipeline.windows.context import BARS_BEFORE_START, paths_before

SHORTEST, LONGEST = 2, 14
"""Bars of a surge, least and most."""
LENGTH_POWER = 1 / 3
"""A surge must move farther the longer it takes: by the cube root of its bars."""
RANGE_BARS = 15
PEAK_BARS, LEG_BARS = 30, 26
"""Bars before a surge to search for the start of a retracement, and the most bars of its leg."""


class Surges(NamedTuple):
    """Surges in time order, none overlapping another; every array is (n_surges,).

    Attributes:
        onset, offset: Rows of the first and last bar, both included.
        direction: Sign of close[offset] - open[onset], int8.
        clarity: Net move over the ATR before it, times its share of the path walked, over the
            cube root of the bars it took.
    """

    onset: np.ndarray
    offset: np.ndarray
    direction: np.ndarray
    clarity: np.ndarray


class Setups(NamedTuple):
    """The bars before each surge, mirrored so that the surge points up; (n_surges,) each.

    Attributes:
        range_atr: Highest less lowest of the last 15 closes, ATR.
        leg_atr: Rise to the highest of the last 30 closes within the 26 bars before it, ATR.
        retraced_share: Share of that rise lost since.
        bars_since: Bars since that highest close.
    """

    range_atr: np.ndarray
    leg_atr: np.ndarray
    retraced_share: np.ndarray
    bars_since: np.ndarray


def visible_surges(prices: np.ndarray, segment: np.ndarray, least_clarity: float) -> Surges:
    """The clearest surges in a table of bars; of two that overlap, the clearer one counts.

    For each first bar the clearest length counts. A surge has 45 bars of its own segment before it.

    Args:
        prices: (n_bars, 4) open, high, low, close, index points.
        segment: (n_bars,) int, non-decreasing.
        least_clarity: Surges less clear than this are left out.
    """
    clarity, bars = _clearest_lengths(prices, segment)
    onset = apart(clarity, bars, least_clarity)
    offset = onset + bars[onset] - 1
    direction = np.sign(prices[offset, 3] - prices[onset, 0]).astype(np.int8)
    return Surges(onset, offset, direction, clarity[onset])


def apart(clarity: np.ndarray, bars: np.ndarray, least_clarity: float) -> np.ndarray:
    """First bars, increasing, of the clearest spans of which none overlaps another: (n_surges,) int64.

    Args:
        clarity: (n_bars,) of the span that begins at each bar.
        bars: (n_bars,) its number of bars.
        least_clarity: Spans less clear than this are left out.
    """
    candidates = np.flatnonzero(clarity >= least_clarity)
    taken = np.zeros(len(clarity), bool)
    onsets = []
    for onset in candidates[np.argsort(-clarity[candidates], kind="stable")].tolist():
        span = slice(onset, onset + bars[onset])
        if not taken[span].any():
            taken[span] = True
            onsets.append(onset)
    return np.sort(np.array(onsets, np.int64))


def _clearest_lengths(prices: np.ndarray, segment: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Clarity of the clearest surge that begins at each bar, 0 where none may, and its bars."""
    n_bars = len(prices)
    opened, high, low, close = (np.ascontiguousarray(column) for column in prices.T)
    starts, ends = segment_bounds(segment)
    atr = mean_true_range(high, low, close, starts, ends, ATR_BARS)
    walked = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(close)))])
    age = np.arange(n_bars) - np.repeat(starts, ends - starts)
    left = np.repeat(ends, ends - starts) - np.arange(n_bars)
    unit = np.full(n_bars, np.nan)
    unit[1:] = atr[:-1]
    unit[(age < BARS_BEFORE_START) | ~(unit > 0)] = np.nan
    best, bars = np.zeros(n_bars), np.full(n_bars, SHORTEST)
    for length in range(SHORTEST, min(LONGEST, n_bars) + 1):
        first, last = slice(0, n_bars - length + 1), slice(length - 1, n_bars)
        move = np.abs(close[last] - opened[first])
        path = np.abs(close[first] - opened[first]) + walked[last] - walked[first]
        straight = np.divide(move, path, out=np.zeros_like(move), where=path > 0)
        clarity = move / unit[first] * straight / length**LENGTH_POWER
        clearer = (clarity > best[first]) & (left[first] >= length)
        best[first][clearer] = clarity[clearer]
        bars[first][clearer] = length
    return best, bars


def setups_before(prices: np.ndarray, segment: np.ndarray, surges: Surges) -> Setups:
    """Measure the closes that led to each surge; bars of the surge itself are not read."""
    starts, ends = segment_bounds(segment)
    _, high, low, close = (np.ascontiguousarray(column) for column in prices.T)
    atr = mean_true_range(high, low, close, starts, ends, ATR_BARS)
    paths = paths_before(close, atr, surges.onset, surges.direction)  # (n_surges, 45)
    recent = paths[:, -PEAK_BARS:]
    peak = BARS_BEFORE_START - PEAK_BARS + recent.argmax(axis=1)
    places = np.arange(BARS_BEFORE_START)
    in_leg = (places <= peak[:, None]) & (places >= peak[:, None] - LEG_BARS)
    highest = recent.max(axis=1)
    leg = highest - np.where(in_leg, paths, np.inf).min(axis=1)
    retraced_share = np.divide(highest, leg, out=np.ones_like(leg), where=leg > 0)
    range_atr = np.ptp(paths[:, -RANGE_BARS:], axis=1)
    return Setups(range_atr, leg, retraced_share, BARS_BEFORE_START - 1 - peak)
