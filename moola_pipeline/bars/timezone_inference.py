"""Checks of zone, stamp and dates: trading hours, the 09:30 New York burst, holidays, the future."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from moola_pipeline.bars.cleaning import IN_TRADING_HOURS, MAX_REJECTED
from moola_pipeline.bars.sessions import NEW_YORK, session_of, session_schedule
from moola_pipeline.errors import BadInput

LIKELY_ZONES = (
    NEW_YORK,
    "UTC",
    "America/Chicago",
    "Etc/GMT+5",
    "Etc/GMT+6",
    "America/Los_Angeles",
    "Europe/London",
    "Europe/Berlin",
    "Europe/Athens",
    "Asia/Tokyo",
)
"""Zones of vendors and brokers, tried when bars contradict the stated zone."""
MAX_SHUT = MAX_REJECTED
"""Largest share of bars outside trading hours."""
MIN_BREAKS = 2
"""Exact daily breaks that a file needs to prove its zone and stamp."""
TRIED_BARS = 30_000
"""Number of bars tried in other zones: about a month of sessions."""
MIN_MORNINGS = 5
BURST, NO_BURST = 1.8, 1.15
"""Bar range after 09:30 New York over that before, median: 3.2 on NQ, about 1 at other minutes."""
_DAY, _OPEN, _CLOSE, _BELL = 24 * 60, 18 * 60, 17 * 60, 9 * 60 + 30
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
        source: Name of the file, for errors.
    """

    zone: str
    stamp: str
    zone_is_stated: bool
    source: str


@dataclass(frozen=True)
class NewYorkClock:
    """Positions of bars in the New York week.

    Attributes:
        minute: (n,) minute of the day.
        day: (n,) days since 1970.
        shut: (n,) bool, True where no bar can open: 17:00 (once 17:30) to 18:00 and the weekend.
    """

    minute: np.ndarray
    day: np.ndarray
    shut: np.ndarray

    def count(self, minute: int) -> int:
        """Number of bars that open at this minute of the day."""
        return int((self.minute == minute).sum())


def new_york_clock(bars: pd.DataFrame) -> NewYorkClock:
    """Positions of bar opens in the New York week."""
    local = pd.DatetimeIndex(bars["timestamp"]).tz_convert(NEW_YORK).tz_localize(None)
    minutes = local.to_numpy().astype("M8[m]").astype(np.int64)
    day, minute = np.divmod(minutes, _DAY)
    weekday = (day + _THURSDAY_1970) % 7
    closed = minute >= np.where(day >= _CLOSE_SINCE, _CLOSE, _OLD_CLOSE)
    shut = closed & (minute < _OPEN)
    shut |= (weekday == _SATURDAY) | ((weekday == _SUNDAY) & (minute < _OPEN))
    shut |= (weekday == _FRIDAY) & closed
    return NewYorkClock(minute, day, shut)


def daily_breaks(bars: pd.DataFrame) -> int:
    """Count daily breaks from a bar at 16:59 to one at 18:00 New York, exact to the minute.

    0 if a bar lies outside trading hours, or if most breaks are at other times.

    Args:
        bars: With `timestamp`: UTC bar opens, increasing.
    """
    clock = new_york_clock(bars)
    if clock.shut.any():
        return 0
    steps = np.diff(clock.day * _DAY + clock.minute)
    after = np.flatnonzero(steps > 60) + 1
    exact = (clock.minute[after] == _OPEN) & (clock.minute[after - 1] == _CLOSE - 1)
    return int(exact.sum()) if 2 * exact.sum() >= len(after) else 0


def refuse_contradictions(bars: pd.DataFrame, rows: np.ndarray, reading: TimeConvention) -> None:
    """Refuse bars that contradict the zone or the stamp they were read with.

    Args:
        bars: RAW_COLUMNS, as read: UTC bar opens, increasing.
        rows: (n,) the row of each in the file, from 1.
        reading: How the times were read.

    Raises:
        BadInput: If bars lie outside trading hours, or the 09:30 burst is at another time; the
            text names the likely zone or stamp.
    """
    clock, source = new_york_clock(bars), reading.source
    _refuse_stamp(clock, reading.stamp, source)
    n_shut = int(clock.shut.sum())
    if n_shut > MAX_SHUT * len(bars):
        shut = np.flatnonzero(clock.shut)
        first = shut[rows[shut].argmin()]
        raise BadInput(
            f"{source}: a bar must {IN_TRADING_HOURS}, but {n_shut:,} of {len(bars):,} do not, "
            f"read as {reading.zone}, first in row {rows[first]:,} "
            f"({bars['timestamp'].iloc[first]:%Y-%m-%d %H:%M} UTC). {_advice(bars, clock, reading)}"
        )
    _refuse_stamp_of_bell(clock, bars, reading.stamp, source)
    ratio = _burst(clock, bars)
    if ratio is not None and ratio < NO_BURST and (likely := _zone_with_burst(bars, reading.zone)):
        raise BadInput(
            f"{source}: bar ranges must rise at 09:30 New York, but read as {reading.zone} they do not "
            f"({ratio:.1f} times the ranges before). {_try_zone(likely, reading)}"
        )


def _refuse_stamp(clock: NewYorkClock, stamp: str, source: str) -> None:
    opens, closes = clock.count(_OPEN), clock.count(_CLOSE)
    late, early = clock.count(_OPEN + 1), clock.count(_OPEN - 1)
    n_shut = int(clock.shut.sum())
    if stamp == "open" and closes and late > 10 * opens and n_shut == closes:
        likely, times = "close", "17:00 and 18:01"
    elif (
        stamp == "close"
        and early
        and 10 * clock.count(_CLOSE - 1) < clock.count(_CLOSE - 2)
        and n_shut <= early
    ):
        likely, times = "open", "16:58 and 17:59"
    else:
        return
    raise BadInput(
        f"{source}: a session's bars must open from 18:00 to 16:59 New York, but read as bar {stamp}s they "
        f"open at {times}. They look like bar {likely}s: give --stamp {likely}."
    )


def _refuse_stamp_of_bell(clock: NewYorkClock, bars: pd.DataFrame, stamp: str, source: str) -> None:
    """Refuse a wrong stamp by the minute of the 09:30 burst, for files without daily breaks."""
    shift = 1 if stamp == "open" else -1
    at_bell, shifted = (_jump(clock, bars, _BELL + minutes) for minutes in (0, shift))
    if at_bell is not None and shifted is not None and at_bell < NO_BURST and shifted >= BURST:
        likely = "close" if stamp == "open" else "open"
        raise BadInput(
            f"{source}: bar ranges must rise at 09:30 New York, but read as bar {stamp}s they rise a minute "
            f"{'later' if shift > 0 else 'earlier'}. They look like bar {likely}s: give --stamp {likely}."
        )


def _jump(clock: NewYorkClock, bars: pd.DataFrame, minute: int) -> float | None:
    """Median over mornings of the range of one minute's bar over the one before it."""
    ranges = (bars["high"] - bars["low"]).to_numpy()
    at, before = (np.flatnonzero(clock.minute == opened) for opened in (minute, minute - 1))
    _, i, j = np.intersect1d(clock.day[at], clock.day[before], return_indices=True)
    if len(i) < MIN_MORNINGS:
        return None
    return float(np.median(ranges[at[i]] / np.maximum(ranges[before[j]], np.finfo(float).tiny)))


def _burst(clock: NewYorkClock, bars: pd.DataFrame) -> float | None:
    """Median over mornings of the mean bar range at 09:30-09:34 over that at 09:25-09:29.

    None where fewer than MIN_MORNINGS hold all ten bars.
    """
    offset = clock.minute - (_BELL - 5)
    near = (offset >= 0) & (offset < 10)
    ranges = (bars["high"] - bars["low"]).to_numpy()[near]
    days, counts = np.unique(clock.day[near], return_counts=True)
    whole = np.isin(clock.day[near], days[counts == 10])
    if (counts == 10).sum() < MIN_MORNINGS:
        return None
    mornings = ranges[whole].reshape(-1, 10)  # (n_mornings, 10)
    before, after = mornings[:, :5].mean(axis=1), mornings[:, 5:].mean(axis=1)
    return float(np.median(after / np.maximum(before, np.finfo(float).tiny)))


def _advice(bars: pd.DataFrame, clock: NewYorkClock, reading: TimeConvention) -> str:
    if reading.stamp == "open" and clock.shut.sum() == clock.count(_CLOSE):
        return "They look like bar closes: give --stamp close."
    zone = reading.zone
    shares = {likely: _share_shut(bars, zone, likely) for likely in LIKELY_ZONES if likely != zone}
    fitting = [likely for likely, share in shares.items() if share <= MAX_SHUT / 20]
    if not fitting:
        other_zone = "" if reading.zone_is_stated else ", or give the right --timezone"
        return f"No likely zone corrects this: correct the dates (order of day and month, year){other_zone}."
    bursts = [likely for likely in fitting if (_burst_in(bars, zone, likely) or 0) >= BURST]
    return _try_zone((bursts or fitting)[0], reading)


def _zone_with_burst(bars: pd.DataFrame, zone: str) -> str | None:
    for likely in LIKELY_ZONES:
        if likely != zone and _share_shut(bars, zone, likely) <= MAX_SHUT / 20:
            ratio = _burst_in(bars, zone, likely)
            if ratio is not None and ratio >= BURST:
                return likely
    return None


def _try_zone(likely: str, reading: TimeConvention) -> str:
    if reading.zone_is_stated:
        return f"The zone in the file is wrong: the times look like {likely}. Export the file again."
    return f"The times look like {likely}: give --timezone {likely}."


def _reread(bars: pd.DataFrame, zone: str, other: str) -> pd.DataFrame:
    """The first bars with their wall clock read in zone `other`, without those at a clock change."""
    bars = bars.iloc[:TRIED_BARS]
    wall = bars["timestamp"].dt.tz_convert(zone).dt.tz_localize(None)
    moments = wall.dt.tz_localize(other, ambiguous="NaT", nonexistent="NaT").dt.tz_convert("UTC")
    return bars.assign(timestamp=moments).loc[moments.notna().to_numpy()]


def _share_shut(bars: pd.DataFrame, zone: str, other: str) -> float:
    moved = _reread(bars, zone, other)
    return float(new_york_clock(moved).shut.mean()) if len(moved) else 1.0


def _burst_in(bars: pd.DataFrame, zone: str, other: str) -> float | None:
    moved = _reread(bars, zone, other)
    return _burst(new_york_clock(moved), moved)


CLOCK_ERROR = timedelta(minutes=10)
"""Largest lag of this machine's clock behind that of the exchange."""
MAX_ZONES = timedelta(hours=26)
"""Largest difference of two zones: a wrong zone moves bars by at most this much."""
MAX_ON_HOLIDAYS = 0.5
MIN_SESSIONS = 10
"""Only files with at most this many sessions are compared: in longer ones few bars lie on holidays."""


def refuse_future(bars: pd.DataFrame, rows: np.ndarray, reading: TimeConvention, now: datetime) -> None:
    """Refuse bars that open after `now`.

    The whole file is refused: if such rows were set aside, its bars would depend on the time of
    reading.

    Args:
        bars: RAW_COLUMNS, UTC bar opens, increasing.
        rows: (n,) the row of each in the file, from 1.
        reading: How the times were read.
        now: Aware; bars up to CLOCK_ERROR later pass.

    Raises:
        BadInput: If there is one; the text names the first row and the likely cause.
    """
    late = np.flatnonzero(bars["timestamp"] > now + CLOCK_ERROR)
    if not len(late):
        return
    first = late[rows[late].argmin()]
    if bars["timestamp"].iloc[-1] > now + MAX_ZONES:
        remedy = "Correct the dates (year, order of day and month), or remove those rows."
    elif reading.zone_is_stated:
        remedy = "The zone in the file is wrong: export it again."
    else:
        remedy = "Give the right --timezone."
    raise BadInput(
        f"{reading.source}: a bar must open before now ({now:%Y-%m-%d %H:%M} UTC by this machine's clock), "
        f"but {len(late):,} of {len(bars):,} do not, read as {reading.zone}, first in row {rows[first]:,} "
        f"({bars['timestamp'].iloc[first]:%Y-%m-%d %H:%M} UTC). {remedy}"
    )


def refuse_holidays(bars: pd.DataFrame, reading: TimeConvention) -> None:
    """Refuse a short file with most of its bars on days without a session.

    Args:
        bars: With `timestamp`: UTC bar opens, increasing.
        reading: How the times were read.

    Raises:
        BadInput: If most bars lie on such days.
    """
    sessions = pd.DatetimeIndex(session_of(pd.DatetimeIndex(bars["timestamp"])))
    if sessions.nunique() > MIN_SESSIONS:
        return
    first, last = sessions.to_numpy()[[0, -1]].astype("M8[D]").tolist()
    shut = ~sessions.isin(pd.DatetimeIndex(session_schedule(first, last)["session"]))
    if shut.mean() > MAX_ON_HOLIDAYS:
        raise BadInput(
            f"{reading.source}: bars must lie on trading days, but {shut.sum():,} of {len(bars):,} do not, "
            f"first on {sessions[shut].min():%Y-%m-%d}. Correct the dates, or add the bars in one file "
            "with the days around them."
        )
