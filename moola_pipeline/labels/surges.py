"""Surges that are visible in the bars alone, and the setup before each."""

from collections.abc import Callable
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


class SurgeBars(NamedTuple):
    """Bars in which surges are looked for; every array is (n_bars,).

    Attributes:
        opened, high, low, close: Index points.
        atr: ATR(10), index points.
        unit: ATR before the bar; NaN where no surge may begin: with fewer than 45 bars before it.
        left: Bars from this one to the end of its segment.
    """

    opened: np.ndarray
    high: np.ndarray
    low: np.ndarray
    close: np.ndarray
    atr: np.ndarray
    unit: np.ndarray
    left: np.ndarray

    @classmethod
    def of(cls, prices: np.ndarray, segment: np.ndarray) -> "SurgeBars":
        """From (n_bars, 4) prices and (n_bars,) segments, as in `visible_surges`."""
        rows = np.arange(len(prices))
        opened, high, low, close = (np.ascontiguousarray(column) for column in prices.T)
        starts, ends = segment_bounds(segment)
        atr = mean_true_range(high, low, close, starts, ends, ATR_BARS)
        age, left = rows - np.repeat(starts, ends - starts), np.repeat(ends, ends - starts) - rows
        unit = np.full(len(rows), np.nan)
        unit[1:] = atr[:-1]
        unit[(age < BARS_BEFORE_START) | ~(unit > 0)] = np.nan
        return cls(opened, high, low, close, atr, unit, left)


ClarityOf = Callable[[slice, slice, int], np.ndarray]
"""From the first and the last bars of all spans of one length, as slices, and the length to their clarity."""


def visible_surges(prices: np.ndarray, segment: np.ndarray, least_clarity: float) -> Surges:
    """The clearest surges in a table of bars; of two that overlap, the clearer one counts.

    Args:
        prices: (n_bars, 4) open, high, low, close, index points.
        segment: (n_bars,) int, non-decreasing.
        least_clarity: Surges less clear than this are left out.
    """
    bars = SurgeBars.of(prices, segment)
    walked = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(bars.close)))])

    def clarity(first: slice, last: slice, length: int) -> np.ndarray:
        move = np.abs(bars.close[last] - bars.opened[first])
        path = np.abs(bars.close[first] - bars.opened[first]) + walked[last] - walked[first]
        straight = np.divide(move, path, out=np.zeros_like(move), where=path > 0)
        return move / bars.unit[first] * straight / length**LENGTH_POWER

    return clearest_surges(bars, clarity, LONGEST, least_clarity)


def clearest_surges(bars: SurgeBars, clarity_of: ClarityOf, longest: int, least_clarity: float) -> Surges:
    """The surges that are clearest by some measure, none overlapping another.

    For each first bar the clearest length counts, and of two spans that overlap the clearer one.

    Args:
        bars: The bars.
        clarity_of: The measure.
        longest: Most bars of a surge.
        least_clarity: Surges less clear than this are left out.
    """
    n_bars = len(bars.close)
    best, lengths = np.zeros(n_bars), np.full(n_bars, SHORTEST)
    for length in range(SHORTEST, min(longest, n_bars) + 1):
        first, last = slice(0, n_bars - length + 1), slice(length - 1, n_bars)
        clarity = clarity_of(first, last, length)
        clearer = (clarity > best[first]) & (bars.left[first] >= length)
        best[first][clearer] = clarity[clearer]
        lengths[first][clearer] = length
    candidates = np.flatnonzero(best >= least_clarity)
    clearest_first = candidates[np.argsort(-best[candidates], kind="stable")]
    taken, onsets = bytearray(n_bars), []  # faster than an array, one short slice at a time
    for onset, length in zip(clearest_first.tolist(), lengths[clearest_first].tolist(), strict=True):
        if taken.find(1, onset, onset + length) < 0:
            taken[onset : onset + length] = b"\1" * length
            onsets.append(onset)
    onset = np.sort(np.array(onsets, np.int64))
    offset = onset + lengths[onset] - 1
    direction = np.sign(bars.close[offset] - bars.opened[onset]).astype(np.int8)
    return Surges(onset, offset, direction, best[onset])


def setups_before(prices: np.ndarray, segment: np.ndarray, surges: Surges) -> Setups:
    """Measure the closes that led to each surge; bars of the surge itself are not read."""
    bars = SurgeBars.of(prices, segment)
    paths = paths_before(bars.close, bars.atr, surges.onset, surges.direction)  # (n_surges, 45)
    recent = paths[:, -PEAK_BARS:]
    peak = BARS_BEFORE_START - PEAK_BARS + recent.argmax(axis=1)
    places = np.arange(BARS_BEFORE_START)
    in_leg = (places <= peak[:, None]) & (places >= peak[:, None] - LEG_BARS)
    highest = recent.max(axis=1)
    leg = highest - np.where(in_leg, paths, np.inf).min(axis=1)
    retraced_share = np.divide(highest, leg, out=np.ones_like(leg), where=leg > 0)
    range_atr = np.ptp(paths[:, -RANGE_BARS:], axis=1)
    return Setups(range_atr, leg, retraced_share, BARS_BEFORE_START - 1 - peak)
