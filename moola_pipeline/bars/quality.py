"""What the owner of clean bars should know of them: spikes that were kept, minutes that are missing."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from moola_pipeline.bars.cleaning import MINUTE_NS
from moola_pipeline.bars.schema import Instrument, nanoseconds
from moola_pipeline.bars.sessions import session_minutes, session_of

SPIKE_RANGES = 10.0
"""Typical ranges by which a bar must stand out from both neighbors: 22 of 1.7 million NQ minutes do."""
_BLOCK = 60
"""Bars over which a range is typical: their median."""


@dataclass(frozen=True)
class Spike:
    """A bar that stands out from both its neighbors, by `points` beyond them."""

    timestamp: pd.Timestamp
    points: float


@dataclass(frozen=True)
class MissingMinutes:
    """Minutes of the calendar's sessions that hold no bar, between a file's first bar and its last.

    Attributes:
        minutes: How many are missing.
        expected: How many the calendar has.
        sessions: Missing minutes by session (date), those with any.
        outside: Bars that open when the calendar has no session.
    """

    minutes: int
    expected: int
    sessions: dict[str, int]
    outside: int


@dataclass(frozen=True)
class BarReview:
    """What was flagged in the bars of one file; nothing of it is dropped."""

    spikes: list[Spike] = field(default_factory=list)
    missing: MissingMinutes = field(default_factory=lambda: MissingMinutes(0, 0, {}, 0))


def review_bars(bars: pd.DataFrame, instrument: Instrument) -> BarReview:
    """Flag spikes, and count missing minutes.

    Args:
        bars: RAW_COLUMNS, strictly increasing in time, at least one bar.
        instrument: Whose tick is the least typical range.
    """
    return BarReview(find_spikes(bars, instrument), missing_minutes(bars))


def find_spikes(bars: pd.DataFrame, instrument: Instrument) -> list[Spike]:
    """Bars whose high or low stands SPIKE_RANGES typical ranges out from both neighbors.

    A bar without a neighbor on both sides within a minute is never one: a gap is no spike.
    """
    high, low = bars["high"].to_numpy(), bars["low"].to_numpy()
    if len(bars) < 3:
        return []
    above = high[1:-1] - np.maximum(high[:-2], high[2:])
    below = np.minimum(low[:-2], low[2:]) - low[1:-1]
    points = np.maximum(above, below)
    steps = np.diff(nanoseconds(bars))
    between = (steps[:-1] == MINUTE_NS) & (steps[1:] == MINUTE_NS)
    typical = np.maximum(_typical_ranges(high - low)[1:-1], instrument.tick_points)
    found = np.flatnonzero(between & (points > SPIKE_RANGES * typical)) + 1
    return [Spike(bars["timestamp"].iloc[row], float(points[row - 1])) for row in found]


def missing_minutes(bars: pd.DataFrame) -> MissingMinutes:
    """The calendar's minutes without a bar, from the first bar to the last.

    Args:
        bars: With `timestamp` (datetime64[ns, UTC]), strictly increasing, at least one.
    """
    have = nanoseconds(bars)
    ends = session_of(pd.DatetimeIndex(have[[0, -1]], tz="UTC"))
    minutes = session_minutes(ends.iloc[0].date(), ends.iloc[-1].date())
    expected = np.asarray(minutes.asi8)
    expected = expected[(expected >= have[0]) & (expected <= have[-1])]
    missing = expected[~in_sorted(expected, have)]
    sessions = session_of(pd.DatetimeIndex(missing, tz="UTC")).value_counts().sort_index()
    return MissingMinutes(
        minutes=len(missing),
        expected=len(expected),
        sessions={str(session)[:10]: int(count) for session, count in sessions.items()},
        outside=int((~in_sorted(have, expected)).sum()),
    )


def _typical_ranges(ranges: np.ndarray) -> np.ndarray:
    """Median range of the block of _BLOCK bars that each bar lies in (n,); the last block is shorter."""
    n_whole = len(ranges) // _BLOCK * _BLOCK
    medians = np.median(ranges[:n_whole].reshape(-1, _BLOCK), axis=1)
    if n_whole < len(ranges):
        medians = np.append(medians, np.median(ranges[max(0, len(ranges) - _BLOCK) :]))
    return np.repeat(medians, _BLOCK)[: len(ranges)]


def in_sorted(moments: np.ndarray, among: np.ndarray) -> np.ndarray:
    """True where a moment is one of `among`, which increase, (n_moments,)."""
    if not len(among):
        return np.zeros(len(moments), bool)
    places = np.minimum(np.searchsorted(among, moments), len(among) - 1)
    return among[places] == moments
