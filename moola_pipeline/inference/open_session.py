"""What later bars may still change: nothing, but at the end of a table whose last session is not over."""

import numpy as np
import pandas as pd

from moola_pipeline.bars.sessions import session_of, session_schedule
from moola_pipeline.windows.window_geometry import BARS_BEFORE, CORE_FIRST

MINUTE = pd.Timedelta(minutes=1)


def last_grows(times: pd.DatetimeIndex) -> bool:
    """Whether bars of a table's last segment may still come: it does not hold its session's last minute.

    Args:
        times: (n_bars,) UTC bar opens.
    """
    if not len(times):
        return False
    last = times[-1]
    session = session_of(pd.DatetimeIndex([last])).iloc[0].date()
    hours = session_schedule(session, session)
    return hours.empty or last + MINUTE < hours["closed_at"].iloc[0]


def waiting_bars(segment: np.ndarray, missed: np.ndarray) -> int:
    """How many bars at the end of a segment that grows are covered by no window yet.

    Args:
        segment: (n_bars,) int, non-decreasing; the last one grows.
        missed: (n_bars,) bool, bars that no window covers; the first 70 of a segment never are.
    """
    last = np.flatnonzero(segment == segment[-1:])
    return int(missed[last[BARS_BEFORE + CORE_FIRST :]].sum())


def is_settled(start: np.ndarray, end: np.ndarray, segment: np.ndarray, missed: np.ndarray) -> np.ndarray:
    """True for spans that no window still to come can displace: (n_spans,) bool.

    A later find displaces a span only by an onset inside it. Of the segment that grows, onsets have
    been looked for up to the end of what is covered, and of the others everywhere.

    Args:
        start, end: (n_spans,) rows of the first and the last bar.
        segment: (n_bars,) int, non-decreasing; the last one grows.
        missed: (n_bars,) bool, bars that no window covers.
    """
    covered = np.flatnonzero(~missed & (segment == segment[-1:]))
    if not len(covered):
        return np.ones(len(start), bool)
    return ~((start <= covered[-1]) & (end > covered[-1]))
