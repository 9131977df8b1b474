"""CME trading sessions: the trading day of a moment, opening hours and halts."""

from datetime import date
from functools import lru_cache

import numpy as np
import pandas as pd

from moola_pipeline.bars.instruments import NQ

NEW_YORK = "America/New_York"

_CLOSE_TO_MIDNIGHT = pd.Timedelta(hours=6)
"""A session opens at 18:00 New York, six hours before its date begins."""

NOT_SESSIONS = [date(2024, 3, 29), date(2025, 4, 18)]
"""Good Fridays on which the exchange was closed although the calendar lists them."""
CLOSED_EARLY = {date(2025, 1, 9): "09:30"}
"""New York closing times that the calendar lacks (2025-01-09: a day of mourning)."""

LAST_SESSION_WITH_HALT = date(2021, 6, 25)
"""Until then trading paused each afternoon, 16:15 to 16:30 New York."""
_HALT_FIRST_MINUTE, _HALT_END_MINUTE = 16 * 60 + 15, 16 * 60 + 30
_USUAL_CLOSE_MINUTE = 17 * 60


def session_of(timestamps: pd.Series | pd.DatetimeIndex) -> pd.Series:
    """The CME trading day of each moment: the date in New York six hours later.

    It is computed on the wall clock: a session begins at 18:00 New York in summer and winter.

    Args:
        timestamps: Time zone aware moments, in any order.

    Returns:
        datetime64[ns] without time zone, at midnight, with the index of the input if it is a Series.

    Raises:
        ValueError: If the timestamps carry no time zone.
    """
    moments = pd.DatetimeIndex(timestamps)
    if moments.tz is None:
        raise ValueError("timestamps must carry a time zone (UTC), got none")
    local = moments.as_unit("ns").tz_convert(NEW_YORK).tz_localize(None)
    sessions = (local + _CLOSE_TO_MIDNIGHT).normalize()
    index = timestamps.index if isinstance(timestamps, pd.Series) else None
    return pd.Series(sessions.to_numpy(), index=index, name="session")


def session_schedule(first: date, last: date, calendar: str = NQ.calendar) -> pd.DataFrame:
    """Opening hours of every session from `first` to `last`, both included.

    Args:
        first, last: Trading days.
        calendar: Name in pandas_market_calendars: that of the instrument.

    Returns:
        One row per session: `session` (datetime64[ns], no time zone), `opened_at` and
        `closed_at` (datetime64[ns, UTC]); the last bar opens a minute before `closed_at`.

    Raises:
        ValueError: If `last` lies before `first`.

    Source:
        pandas_market_calendars, corrected where bars show otherwise.
    """
    if last < first:
        raise ValueError(f"last session must not lie before the first ({first}), got {last}")
    return _schedule(first, last, calendar).copy()


@lru_cache(maxsize=64)
def _schedule(first: date, last: date, calendar: str) -> pd.DataFrame:
    """Cached `session_schedule`: computing it takes longer than reading a day of bars."""
    import pandas_market_calendars as calendars  # the import takes 0.2 s

    listed = calendars.get_calendar(calendar).schedule(first, last)
    schedule = pd.DataFrame(
        {
            "session": pd.DatetimeIndex(listed.index).as_unit("ns"),
            "opened_at": pd.DatetimeIndex(pd.to_datetime(listed["market_open"], utc=True)).as_unit("ns"),
            "closed_at": pd.DatetimeIndex(pd.to_datetime(listed["market_close"], utc=True)).as_unit("ns"),
        }
    )
    closed = schedule["session"].dt.date.isin(NOT_SESSIONS)
    schedule = schedule.loc[~closed].reset_index(drop=True)
    for day, close in CLOSED_EARLY.items():
        closed_at = pd.Timestamp(f"{day} {close}", tz=NEW_YORK).tz_convert("UTC").as_unit("ns")
        schedule.loc[schedule["session"] == pd.Timestamp(day), "closed_at"] = closed_at
    return schedule


def session_minutes(first: date, last: date) -> pd.DatetimeIndex:
    """The open of every trading minute in the sessions from `first` to `last`.

    Returns:
        datetime64[ns, UTC], strictly increasing, without the daily halts until June 2021.

    Raises:
        ValueError: If `last` lies before `first`.
    """
    schedule = session_schedule(first, last)
    opened = schedule["opened_at"].dt.tz_localize(None).to_numpy("datetime64[m]")
    closed = schedule["closed_at"].dt.tz_localize(None).to_numpy("datetime64[m]")
    lengths = (closed - opened).astype(np.int64)
    since_open = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    minutes = pd.DatetimeIndex(np.repeat(opened, lengths) + since_open, tz="UTC").as_unit("ns")
    return minutes[~_in_halt(minutes)]


def closes_early(schedule: pd.DataFrame) -> np.ndarray:
    """True for the sessions of a `session_schedule` that end before 17:00 New York, (n_sessions,)."""
    return (schedule["closed_at"] < _at_wall_clock(schedule, _USUAL_CLOSE_MINUTE)).to_numpy()


def afternoon_halts(schedule: pd.DataFrame) -> pd.DataFrame:
    """The afternoon halt of each session of a `session_schedule`.

    Returns:
        `halted_at` and `resumed_at` (datetime64[ns, UTC]) on the index of the schedule; NaT if
        the session has no halt or closed before it.
    """
    halted_at, resumed_at = (
        _at_wall_clock(schedule, minute) for minute in (_HALT_FIRST_MINUTE, _HALT_END_MINUTE)
    )
    paused = schedule["session"] <= pd.Timestamp(LAST_SESSION_WITH_HALT)
    paused &= schedule["closed_at"] > resumed_at
    return pd.DataFrame({"halted_at": halted_at.where(paused), "resumed_at": resumed_at.where(paused)})


def _at_wall_clock(schedule: pd.DataFrame, minute_of_day: int) -> pd.Series:
    """UTC moments of a minute of the day in New York, on the date that names each session."""
    local = pd.DatetimeIndex(schedule["session"]) + np.timedelta64(minute_of_day, "m")
    moments = local.tz_localize(NEW_YORK).tz_convert("UTC").as_unit("ns")
    return pd.Series(moments, index=schedule.index)


def _in_halt(minutes: pd.DatetimeIndex) -> np.ndarray:
    local = minutes.tz_convert(NEW_YORK).tz_localize(None).to_numpy("datetime64[m]")
    days = local.astype("datetime64[D]")
    minute_of_day = (local - days).astype(np.int64)
    in_pause = (minute_of_day >= _HALT_FIRST_MINUTE) & (minute_of_day < _HALT_END_MINUTE)
    return in_pause & (days <= np.datetime64(LAST_SESSION_WITH_HALT))
