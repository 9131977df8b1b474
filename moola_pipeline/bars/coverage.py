"""Coverage of the trading calendar by bars: missing minutes, halts, early closes and holidays."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from moola_pipeline.bars.quality import in_sorted
from moola_pipeline.bars.schema import MAX_GAP, nanoseconds
from moola_pipeline.bars.sessions import afternoon_halts, closes_early, session_minutes, session_schedule

COVERAGE_COLUMNS = (
    "session",
    "held",
    "bars",
    "expected",
    "missing",
    "outside",
    "has_halt",
    "halt_kept",
    "closes_early",
    "close_kept",
)
FLAGS = ("held", "has_halt", "halt_kept", "closes_early", "close_kept")
"""The boolean columns of COVERAGE_COLUMNS."""
_MAX_GAP_NS, _AN_HOUR_NS = pd.Timedelta(MAX_GAP).value, pd.Timedelta(hours=1).value


class SegmentStarts(NamedTuple):
    """Number of segments that begin with a session, at a roll, after a halt, after another gap."""

    session: int
    roll: int
    halt: int
    other_gap: int


def session_coverage(bars: pd.DataFrame) -> pd.DataFrame:
    """Coverage of each session, from the session of the first bar to that of the last.

    Args:
        bars: BAR_COLUMNS, at least one bar.

    Returns:
        COVERAGE_COLUMNS, one row per weekday, and per other day that has bars: `session`
        (datetime64[ns]); `held` (the calendar has the session; a weekday without one is a holiday);
        `bars`; `expected` (trading minutes between the first bar and the last); `missing` (expected
        minutes without a bar); `outside` (bars at other minutes); `has_halt` and `halt_kept` (no bar
        in the afternoon halt, and bars within MAX_GAP on both sides); `closes_early` (before 17:00
        New York) and `close_kept` (no bar after the close, and a bar within MAX_GAP before it).
    """
    opened_at = nanoseconds(bars)
    schedule = _schedule_of(bars)
    first, last = bars["session"].iloc[0], bars["session"].iloc[-1]
    minutes = np.asarray(session_minutes(first.date(), last.date()).asi8)
    minutes = minutes[(minutes >= opened_at[0]) & (minutes <= opened_at[-1])]
    edges = _moments(schedule, "opened_at"), _moments(schedule, "closed_at")
    expected = _n_between(minutes, *edges)
    inside = _n_between(opened_at[in_sorted(opened_at, minutes)], *edges)
    held = pd.DataFrame(
        {
            "held": np.ones(len(schedule), bool),
            "expected": expected,
            "missing": expected - inside,
            "inside": inside,
            **_halts_kept(schedule, opened_at),
            **_early_closes_kept(schedule, opened_at),
        },
        index=pd.DatetimeIndex(schedule["session"]),
    )
    n_bars = bars["session"].value_counts()
    days = pd.bdate_range(first, last).as_unit("ns").union(pd.DatetimeIndex(n_bars.index))
    table = held.astype(np.int64).reindex(days, fill_value=0).assign(bars=n_bars.reindex(days, fill_value=0))
    table = table.assign(outside=table["bars"] - table["inside"], session=days)
    return table.astype(dict.fromkeys(FLAGS, bool)).loc[:, list(COVERAGE_COLUMNS)].reset_index(drop=True)


def segment_starts(bars: pd.DataFrame) -> SegmentStarts:
    """Count the segments of a bar table by the event that begins them.

    Args:
        bars: BAR_COLUMNS, at least one bar.
    """
    opened_at = nanoseconds(bars)
    session, contract = (pd.factorize(bars[name])[0] for name in ("session", "contract"))
    rows = np.flatnonzero(np.diff(bars["segment"].to_numpy(), prepend=-1))
    before = np.maximum(rows - 1, 0)
    with_session = (rows == 0) | (session[rows] != session[before])
    with_roll = ~with_session & (contract[rows] != contract[before])
    halts = afternoon_halts(_schedule_of(bars)).dropna()
    # A halt lies in the gap before a segment if it begins after the last bar and ends by the first.
    n_ended = np.searchsorted(_moments(halts, "resumed_at"), opened_at[rows], side="right")
    n_begun = np.searchsorted(_moments(halts, "halted_at"), opened_at[before], side="right")
    after_halt = ~with_session & ~with_roll & (n_ended > n_begun)
    counts = [int(reason.sum()) for reason in (with_session, with_roll, after_halt)]
    return SegmentStarts(*counts, other_gap=len(rows) - sum(counts))


def _schedule_of(bars: pd.DataFrame) -> pd.DataFrame:
    return session_schedule(bars["session"].iloc[0].date(), bars["session"].iloc[-1].date())


def _halts_kept(schedule: pd.DataFrame, opened_at: np.ndarray) -> dict[str, np.ndarray]:
    halts = afternoon_halts(schedule)
    has_halt = halts["halted_at"].notna().to_numpy()
    # NaT becomes the smallest integer: no bar lies there, and has_halt is False.
    halted_at, resumed_at = _moments(halts, "halted_at"), _moments(halts, "resumed_at")
    kept = has_halt & (_n_between(opened_at, halted_at, resumed_at) == 0)
    kept &= _n_between(opened_at, halted_at - _MAX_GAP_NS, halted_at) > 0
    kept &= _n_between(opened_at, resumed_at, resumed_at + _MAX_GAP_NS) > 0
    return {"has_halt": has_halt, "halt_kept": kept}


def _early_closes_kept(schedule: pd.DataFrame, opened_at: np.ndarray) -> dict[str, np.ndarray]:
    early, closed_at = closes_early(schedule), _moments(schedule, "closed_at")
    # The next session opens five hours after an early close at the earliest.
    kept = early & (_n_between(opened_at, closed_at, closed_at + _AN_HOUR_NS) == 0)
    kept &= _n_between(opened_at, closed_at - _MAX_GAP_NS, closed_at) > 0
    return {"closes_early": early, "close_kept": kept}


def _moments(schedule: pd.DataFrame, column: str) -> np.ndarray:
    """A column of UTC times, NaT allowed, as (n_sessions,) int64 since 1970."""
    return np.asarray(pd.DatetimeIndex(schedule[column]).asi8)


def _n_between(moments: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Number of moments (sorted) from each start (included) to its end (excluded)."""
    return np.searchsorted(moments, ends) - np.searchsorted(moments, starts)
