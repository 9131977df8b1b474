"""Open sessions: which predictions at the end of a table later bars may still change."""

import numpy as np
import pandas as pd

from moola_pipeline.bars.sessions import session_of, session_schedule
from moola_pipeline.windows.window_geometry import BARS_BEFORE, CORE_FIRST

MINUTE = pd.Timedelta(minutes=1)


def last_grows(times: pd.DatetimeIndex) -> bool:
    """Whether the last session is open: the table lacks its last minute.

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
    """Count the bars at the end of an open segment that no window covers yet.

    Args:
        segment: (n_bars,) int, non-decreasing; the last one is open.
        missed: (n_bars,) bool, bars that no window covers; the first 70 of a segment are never covered.
    """
    last = np.flatnonzero(segment == segment[-1:])
    return int(missed[last[BARS_BEFORE + CORE_FIRST :]].sum())


def is_settled(start: np.ndarray, end: np.ndarray, segment: np.ndarray, missed: np.ndarray) -> np.ndarray:
    """True for spans that no future window can replace: (n_spans,) bool.

    A later expansion replaces a span only if its onset lies inside the span. In the open segment,
    onsets have been searched up to the last covered bar; in the others everywhere.

    Args:
        start, end: (n_spans,) rows of the first and the last bar.
        segment: (n_bars,) int, non-decreasing; the last one is open.
        missed: (n_bars,) bool, bars that no window covers.
    """
    covered = np.flatnonzero(~missed & (segment == segment[-1:]))
    if not len(covered):
        return np.ones(len(start), bool)
    return ~((start <= covered[-1]) & (end > covered[-1]))
