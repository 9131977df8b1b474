"""Bars on a wall clock in New York: sessions, hours without trading, daily breaks."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from moola_pipeline.bars.schema import PRICE_COLUMNS
from moola_pipeline.bars.sessions import NEW_YORK, session_schedule

DAY, HOUR = 24 * 60, 60
"""Minutes."""
SESSION_OPEN, SESSION_CLOSE = 18 * 60, 17 * 60
"""Minutes of the New York day."""
LISTED_DAYS = 3
MIN_BREAKS = 2
"""Exact daily breaks that a file needs to prove its zone and stamp."""
MIN_MORNINGS = 5
"""Mornings from which the opening is known."""
_OLD_CLOSE, _CLOSE_SINCE = 17 * 60 + 30, np.datetime64("2015-09-21").astype(int)
"""CME traded until 17:30 New York to November 2012, and until 17:15 to September 18, 2015."""
_SATURDAY, _SUNDAY, _FRIDAY, _THURSDAY_1970 = 5, 6, 4, 3


@dataclass(frozen=True)
class TimeConvention:
    """How the times of a file were read.

    Attributes:
        zone: Time zone.
        stamp: open or close.
        zone_is_stated: True if the file states the zone, so that --timezone cannot change it.
        stamp_is_stated: True if the user states the stamp.
        source: Name of the file, for errors.
    """

    zone: str
    stamp: str
    zone_is_stated: bool
    stamp_is_stated: bool
    source: str


@dataclass(frozen=True)
class SessionClock:
    """Bars in New York time, and where their sessions begin and end.

    Attributes:
        minutes: (n,) int64, minutes since 1970 of the bars on a wall clock in New York, increasing.
        ranges: (n,) high less low, index points.
    """

    minutes: np.ndarray
    ranges: np.ndarray = field(default_factory=lambda: np.empty(0))

    @cached_property
    def day(self) -> np.ndarray:
        """(n,) days since 1970."""
        return self.minutes // DAY

    @cached_property
    def minute(self) -> np.ndarray:
        """(n,) minute of the day."""
        return self.minutes - self.day * DAY

    @cached_property
    def shut(self) -> np.ndarray:
        """(n,) bool, True where no bar can open: 17:00 (once 17:30) to 18:00 and the weekend."""
        weekday = (self.day + _THURSDAY_1970) % 7
        closed = self.minute >= np.where(self.day >= _CLOSE_SINCE, SESSION_CLOSE, _OLD_CLOSE)
        shut = closed & (self.minute < SESSION_OPEN)
        shut |= (weekday == _SATURDAY) | ((weekday == _SUNDAY) & (self.minute < SESSION_OPEN))
        return shut | ((weekday == _FRIDAY) & closed)

    @cached_property
    def session(self) -> np.ndarray:
        """(n,) trading day of each bar, days since 1970."""
        return (self.minutes + DAY - SESSION_OPEN) // DAY

    @cached_property
    def first(self) -> np.ndarray:
        """(n_sessions,) row of the first bar of each session."""
        return np.flatnonzero(np.diff(self.session, prepend=self.session[:1] - 1))

    @cached_property
    def last(self) -> np.ndarray:
        """(n_sessions,) row of the last bar of each session."""
        return np.append(self.first[1:], len(self.minutes)) - 1

    @property
    def runs(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows of the first and the last bar of each run without a gap of over an hour, (n_runs,) each."""
        after = np.flatnonzero(np.diff(self.minutes) > HOUR)
        return np.append(0, after + 1), np.append(after, len(self.minutes) - 1)

    @property
    def dates(self) -> np.ndarray:
        """(n_sessions,) datetime64[D]."""
        return self.session[self.first].astype("M8[D]")

    def since_open(self, rows: np.ndarray) -> np.ndarray:
        """Minutes from 18:00 New York to the bars at these rows."""
        return self.minutes[rows] - self.session[rows] * DAY + DAY - SESSION_OPEN


def session_clock(bars: pd.DataFrame) -> SessionClock:
    """Bars in New York time."""
    return SessionClock(wall_minutes(bars["timestamp"], NEW_YORK), (bars["high"] - bars["low"]).to_numpy())


def daily_breaks(clock: SessionClock) -> int:
    """Count daily breaks from a bar at 16:59 to one at 18:00 New York, exact to the minute.

    0 if a bar lies outside trading hours, or if most breaks are at other times.
    """
    if clock.shut.any():
        return 0
    after = np.flatnonzero(np.diff(clock.minutes) > HOUR) + 1
    exact = (clock.minute[after] == SESSION_OPEN) & (clock.minute[after - 1] == SESSION_CLOSE - 1)
    return int(exact.sum()) if 2 * exact.sum() >= len(after) else 0


def is_empty_filler(rows: pd.DataFrame) -> np.ndarray:
    """True (n,) for rows without any price, empty or 0, in hours without trading; times may be missing."""
    prices = rows[list(PRICE_COLUMNS)].fillna(0.0).to_numpy()
    empty = np.flatnonzero((prices == 0).all(axis=1) & rows["timestamp"].notna().to_numpy())
    filler = np.zeros(len(rows), bool)
    if len(empty):
        filler[empty] = session_clock(rows.iloc[empty]).shut
    return filler


def is_filler(bars: pd.DataFrame, calendar: str) -> np.ndarray:
    """True (n,) for bars without trading: the last close repeated, no volume, in hours without trading.

    `calendar` also gives the holidays.
    """
    prices = [bars[name].to_numpy() for name in PRICE_COLUMNS]
    last = np.concatenate([[np.nan], prices[-1][:-1]])
    flat = np.logical_and.reduce([price == last for price in prices])
    rows = np.flatnonzero(flat)
    if not len(rows):
        return flat
    still = bars.iloc[rows]
    clock = session_clock(still)
    closed = clock.since_open(np.arange(len(rows))) >= closing_minutes(clock.session, calendar, missing=0)
    unsold = still["volume"].fillna(0).to_numpy() == 0
    flat[rows] = unsold & (clock.shut | closed)
    return flat


def closing_minutes(sessions: np.ndarray, calendar: str, missing: int) -> np.ndarray:
    """Minutes from 18:00 New York to the close of each session (n,), days since 1970.

    `missing` stands for the sessions that the calendar lacks.
    """
    first, last = sessions[[0, -1]].astype("M8[D]").tolist()
    hours = session_schedule(first, last, calendar)
    closed = pd.DatetimeIndex(hours["closed_at"]).tz_convert(NEW_YORK).tz_localize(None)
    days = hours["session"].to_numpy().astype("M8[D]").astype(np.int64)
    since = closed.to_numpy().astype("M8[m]").astype(np.int64) - days * DAY + DAY - SESSION_OPEN
    return np.array(pd.Series(since, days).reindex(sessions).fillna(missing), np.int64)


def wall_minutes(timestamps: Any, zone: str) -> np.ndarray:
    """Minutes since 1970 of aware times (n,) on a wall clock in a zone."""
    local = pd.DatetimeIndex(timestamps).tz_convert(zone).tz_localize(None)
    return local.to_numpy().astype("M8[m]").astype(np.int64)


def listed_days(days: np.ndarray) -> str:
    """Some days, the first ones by name."""
    shown = ", ".join(map(str, days[:LISTED_DAYS].astype("M8[D]")))
    return f"{shown} and {len(days) - LISTED_DAYS:,} more days" if len(days) > LISTED_DAYS else shown


def clock_text(minute: int) -> str:
    """A minute of the day as HH:MM."""
    return f"{minute // HOUR:02d}:{minute % HOUR:02d}"
