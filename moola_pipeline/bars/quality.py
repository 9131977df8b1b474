"""Quality report on clean bars: price spikes and missing minutes. No bar is dropped."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from moola_pipeline.bars.cleaning import MINUTE_NS
from moola_pipeline.bars.instruments import Instrument
from moola_pipeline.bars.schema import nanoseconds
from moola_pipeline.bars.sessions import session_minutes, session_of

SPIKE_RANGES = 10.0
"""Least height of a spike over both neighbors, in typical ranges: 22 of 1.7 million NQ minutes."""
_BLOCK = 60
"""Bars in a block; their median range is the typical range."""


@dataclass(frozen=True)
class Spike:
    """A bar whose high or low lies `points` beyond both neighbors."""

    timestamp: pd.Timestamp
    points: float


@dataclass(frozen=True)
class MissingMinutes:
    """Session minutes without a bar, between the first and the last bar of a file.

    Attributes:
        minutes: Number of missing minutes.
        expected: Number of session minutes in the calendar.
        sessions: Missing minutes by session (date), where there are any.
        outside: Number of bars outside the calendar's sessions.
    """

    minutes: int
    expected: int
    sessions: dict[str, int]
    outside: int


@dataclass(frozen=True)
class BarReview:
    """Flags for the bars of one file; no bar is dropped."""

    spikes: list[Spike] = field(default_factory=list)
    missing: MissingMinutes = field(default_factory=lambda: MissingMinutes(0, 0, {}, 0))


def review_bars(bars: pd.DataFrame, instrument: Instrument) -> BarReview:
    """Flag spikes, and count missing minutes.

    Args:
        bars: RAW_COLUMNS, strictly increasing in time, at least one bar.
        instrument: Its tick is the smallest typical range.
    """
    return BarReview(find_spikes(bars, instrument), missing_minutes(bars))


def find_spikes(bars: pd.DataFrame, instrument: Instrument) -> list[Spike]:
    """Bars whose high or low lies more than SPIKE_RANGES typical ranges beyond both neighbors.

    Both neighbors must be one minute away: a gap is not a spike.
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
    rows = np.flatnonzero(between & (points > SPIKE_RANGES * typical)) + 1
    return [Spike(bars["timestamp"].iloc[row], float(points[row - 1])) for row in rows]


def missing_minutes(bars: pd.DataFrame) -> MissingMinutes:
    """The calendar's minutes without a bar, from the first bar to the last.

    Args:
        bars: With `timestamp` (datetime64[ns, UTC]), strictly increasing, at least one.
    """
    present = nanoseconds(bars)
    ends = session_of(pd.DatetimeIndex(present[[0, -1]], tz="UTC"))
    minutes = session_minutes(ends.iloc[0].date(), ends.iloc[-1].date())
    expected = np.asarray(minutes.asi8)
    expected = expected[(expected >= present[0]) & (expected <= present[-1])]
    missing = expected[~in_sorted(expected, present)]
    sessions = session_of(pd.DatetimeIndex(missing, tz="UTC")).value_counts().sort_index()
    return MissingMinutes(
        minutes=len(missing),
        expected=len(expected),
        sessions={str(session)[:10]: int(count) for session, count in sessions.items()},
        outside=int((~in_sorted(present, expected)).sum()),
    )


def _typical_ranges(ranges: np.ndarray) -> np.ndarray:
    """Median range of the block of _BLOCK bars that each bar lies in (n,); the last block is shorter."""
    n_whole = len(ranges) // _BLOCK * _BLOCK
    medians = np.median(ranges[:n_whole].reshape(-1, _BLOCK), axis=1)
    if n_whole < len(ranges):
        medians = np.append(medians, np.median(ranges[max(0, len(ranges) - _BLOCK) :]))
    return np.repeat(medians, _BLOCK)[: len(ranges)]


def in_sorted(moments: np.ndarray, among: np.ndarray) -> np.ndarray:
    """True where a moment is in `among` (sorted), (n_moments,)."""
    if not len(among):
        return np.zeros(len(moments), bool)
    places = np.minimum(np.searchsorted(among, moments), len(among) - 1)
    return among[places] == moments
