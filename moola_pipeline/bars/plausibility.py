"""Whether bars are what they were read as: interval, unit, instrument, dates, stamp and zone by session."""

import math
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from moola_pipeline.bars.cleaning import CALENDAR_DATES, IN_TRADING_HOURS, MAX_REJECTED, SiftedBars
from moola_pipeline.bars.instruments import Instrument
from moola_pipeline.bars.schema import PRICE_COLUMNS
from moola_pipeline.bars.sessions import NEW_YORK, session_schedule
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
MIN_BREAKS = 2
"""Exact daily breaks that a file needs to prove its zone and stamp."""
CLOCK_ERROR = timedelta(minutes=10)
"""Largest lag of this machine's clock behind that of the exchange."""
MAX_ZONES = timedelta(hours=26)
"""Largest difference of two zones: a wrong zone moves bars by at most this much."""
MAX_STRAYS = 3
"""Bars that one hour without trading may hold; or a quarter of those of a usual hour, if these are more."""
MIN_MORNINGS = 5
RISE, NO_RISE, CLEAR_RISE = 1.8, 1.5, 2.5
"""Mean bar range of the 15 minutes after the opening over that of the 15 before, median of mornings. On NQ
it is 3.0 after 09:30, at least 1.8 in any five mornings; after 03:00, the next highest, 1.7."""
ONE_RISE = 1.3
"""The same on a single morning: above it on 99 of 100 days."""
CHANCE = 1e-4
"""Largest probability that a thin contract looks like coarser bars in one file."""
COARSE_MINUTES = (60, 30, 15, 10, 5, 3, 2)
MAX_REPEATED = 0.3
"""Largest share of an hour's bars that repeat the bar before; on NQ it is below 0.04."""
MAX_SESSION_RATIO = 1.5
"""Largest ratio of two sessions' median closes within a week: CME halts trading at 20 % in a day."""
MAX_ON_HOLIDAYS = 0.5
MIN_SESSIONS = 10
"""Only files with at most this many sessions are compared: in longer ones few bars lie on holidays."""
MAX_DAYS_APART = 20
MAX_GAP_RANGES = 8.0
"""Largest gap over midnight, in median bar ranges: the market trades through it."""
TRIED_BARS = 30_000
"""Number of bars tried in other zones: about a month of sessions."""
DENSE = 0.95
"""Share of minutes with a bar from which a session's first and last minute are known."""
_DAY_SESSION = range(385, 421)
"""Minutes of a day session: the stock market's 390, or 405 with the quarter hour after."""
_THIN_WAIT = 10
_SCALE_BARS = 50_000
"""Bars whose moves are tried, evenly spread over a file."""
_TINY = float(np.finfo(float).tiny)
_DAY, _HOUR, _SLOT = 24 * 60, 60, 15
_OPEN, _CLOSE = 18 * 60, 17 * 60
_OLD_CLOSE, _CLOSE_SINCE = 17 * 60 + 30, np.datetime64("2015-09-21").astype(int)
"""CME traded until 17:30 New York to November 2012, and until 17:15 to September 18, 2015."""
_SATURDAY, _SUNDAY, _FRIDAY, _THURSDAY_1970 = 5, 6, 4, 3
_LISTED = 3


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
        return self.minutes // _DAY

    @cached_property
    def minute(self) -> np.ndarray:
        """(n,) minute of the day."""
        return self.minutes - self.day * _DAY

    @cached_property
    def shut(self) -> np.ndarray:
        """(n,) bool, True where no bar can open: 17:00 (once 17:30) to 18:00 and the weekend."""
        weekday = (self.day + _THURSDAY_1970) % 7
        closed = self.minute >= np.where(self.day >= _CLOSE_SINCE, _CLOSE, _OLD_CLOSE)
        shut = closed & (self.minute < _OPEN)
        shut |= (weekday == _SATURDAY) | ((weekday == _SUNDAY) & (self.minute < _OPEN))
        return shut | ((weekday == _FRIDAY) & closed)

    @cached_property
    def session(self) -> np.ndarray:
        """(n,) trading day of each bar, days since 1970."""
        return (self.minutes + _DAY - _OPEN) // _DAY

    @cached_property
    def first(self) -> np.ndarray:
        """(n_sessions,) row of the first bar of each session."""
        return np.flatnonzero(np.diff(self.session, prepend=self.session[:1] - 1))

    @cached_property
    def last(self) -> np.ndarray:
        """(n_sessions,) row of the last bar of each session."""
        return np.append(self.first[1:], len(self.minutes)) - 1

    @property
    def dates(self) -> np.ndarray:
        """(n_sessions,) datetime64[D]."""
        return self.session[self.first].astype("M8[D]")

    def since_open(self, rows: np.ndarray) -> np.ndarray:
        """Minutes from 18:00 New York to the bars at these rows."""
        return self.minutes[rows] - self.session[rows] * _DAY + _DAY - _OPEN


def session_clock(bars: pd.DataFrame) -> SessionClock:
    """Bars in New York time."""
    return SessionClock(wall_minutes(bars["timestamp"], NEW_YORK), (bars["high"] - bars["low"]).to_numpy())


def daily_breaks(clock: SessionClock) -> int:
    """Count daily breaks from a bar at 16:59 to one at 18:00 New York, exact to the minute.

    0 if a bar lies outside trading hours, or if most breaks are at other times.
    """
    if clock.shut.any():
        return 0
    after = np.flatnonzero(np.diff(clock.minutes) > _HOUR) + 1
    exact = (clock.minute[after] == _OPEN) & (clock.minute[after - 1] == _CLOSE - 1)
    return int(exact.sum()) if 2 * exact.sum() >= len(after) else 0


def is_filler(bars: pd.DataFrame) -> np.ndarray:
    """True (n,) for bars without trading: the last close repeated, no volume, in hours without trading."""
    prices = [bars[name].to_numpy() for name in PRICE_COLUMNS]
    last = np.concatenate([[np.nan], prices[-1][:-1]])
    flat = np.logical_and.reduce([price == last for price in prices])
    rows = np.flatnonzero(flat)
    still = bars.iloc[rows]
    unsold = still["volume"].fillna(0).to_numpy() == 0
    flat[rows] = unsold & session_clock(still).shut
    return flat


def refuse_implausible(
    sifted: SiftedBars,
    clock: SessionClock,
    reading: TimeConvention,
    instrument: Instrument,
    now: datetime,
) -> None:
    """Refuse bars that contradict how they were read, in any session.

    Args:
        sifted: The bars as they were read, also those outside trading hours.
        clock: The kept bars in New York time.
        reading: How the times were read.
        instrument: Instrument of the bars.
        now: Aware; bars up to CLOCK_ERROR later pass.

    Raises:
        BadInput: If they do; the text names the sessions and the option that corrects it.
    """
    bars, rows = sifted.bars, sifted.rows
    refuse_future(bars, rows, reading, now)
    refuse_coarse(bars, reading.source)
    refuse_other_scale(bars, clock, instrument, reading.source)
    refuse_wrong_dates(bars, clock, reading, instrument)
    left_out = wall_minutes(sifted.rejected["timestamp"].dropna(), NEW_YORK)
    _refuse_stamp(np.union1d(clock.minutes, left_out), clock, reading, instrument)
    _refuse_full_breaks(bars, clock, rows, reading)
    _refuse_moved_sessions(bars, clock, reading)
    _refuse_missing_opening(bars, clock, reading, instrument)


def refuse_future(bars: pd.DataFrame, rows: np.ndarray, reading: TimeConvention, now: datetime) -> None:
    """Refuse bars that open after `now`.

    The whole file is refused: if such rows were set aside, its bars would depend on the time of reading.

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


def refuse_coarse(bars: pd.DataFrame, source: str) -> None:
    """Refuse bars of another interval, in any stretch: stamps on a coarser grid, or coarser bars repeated.

    Raises:
        BadInput: If there is such a stretch, or there are fewer than two bars.
    """
    steps = np.diff(wall_minutes(bars["timestamp"], "UTC"))
    if not len(steps):
        raise BadInput(f"{source}: bars of at least 2 minutes are needed, got fewer. Export more bars.")
    minute = np.flatnonzero(steps == 1)
    longest = int(np.diff(minute, prepend=-1, append=len(steps)).max()) - 1
    for interval in COARSE_MINUTES:
        # So many steps on a coarser grid happen by chance in one file of 1 / CHANCE.
        by_chance = math.ceil(math.log(len(bars) / CHANCE) / math.log(interval))
        if longest < by_chance:
            continue
        others = np.flatnonzero(np.append(np.append(True, steps % interval != 0), True))
        run = int(np.diff(others).argmax())
        length = int(others[run + 1] - others[run]) - 1
        if length >= by_chance:
            raise _coarse(bars, int(others[run]), length + 1, interval, source)
    if not len(minute):
        raise _coarse(bars, 0, len(bars), int(np.median(steps)), source)
    _refuse_repeated(bars, steps, source)


def _coarse(bars: pd.DataFrame, first: int, n_bars: int, interval: int, source: str) -> BadInput:
    times = bars["timestamp"].iloc[[first, first + n_bars - 1]]
    return BadInput(
        f"{source}: bars must be of one minute, got one every {timedelta(minutes=interval)} "
        f"from {times.iloc[0]:%Y-%m-%d %H:%M} to {times.iloc[1]:%Y-%m-%d %H:%M} UTC ({n_bars:,} of "
        f"{len(bars):,} bars). Export one-minute bars."
    )


def _refuse_repeated(bars: pd.DataFrame, steps: np.ndarray, source: str) -> None:
    """Refuse coarser bars that were written once a minute."""
    prices = [bars[name].to_numpy() for name in PRICE_COLUMNS]
    traded = prices[1] > prices[2]
    same = np.append(False, steps == 1) & traded
    for price in prices:
        same[1:] &= price[1:] == price[:-1]
    hours = np.arange(len(bars)) // _HOUR
    n_same, n_traded = np.bincount(hours, same), np.bincount(hours, traded)
    repeated = np.flatnonzero((n_traded >= _HOUR // 3) & (n_same > MAX_REPEATED * n_traded))
    if len(repeated):
        at = bars["timestamp"].iloc[repeated[0] * _HOUR]
        raise BadInput(
            f"{source}: bars must be of one minute, but from {at:%Y-%m-%d %H:%M} UTC on most bars repeat the "
            "bar before, as coarser bars written once a minute do. Export one-minute bars."
        )


def refuse_other_scale(bars: pd.DataFrame, clock: SessionClock, instrument: Instrument, source: str) -> None:
    """Refuse prices in another unit or of another instrument: a coarser grid, or a jump between sessions.

    Raises:
        BadInput: If there are any.
    """
    closes = bars["close"].to_numpy()
    every = max(1, len(bars) // _SCALE_BARS)
    points = np.concatenate([np.diff(closes)[::every], clock.ranges[::every]])
    moves = np.rint(points / instrument.tick_points).astype(np.int64)
    moves = moves[moves != 0]
    for factor in (100, 10, 5, 4):
        if len(moves) >= 30 and np.mean(moves % factor == 0) > 0.95:
            raise BadInput(
                f"{source}: prices of {instrument.name} must move in ticks of {instrument.tick_points:g} "
                f"points, but they move in steps of {factor * instrument.tick_points:g}: they are in another "
                "unit (hundredths, whole ticks) or of another instrument. Export index points, or name the "
                "instrument with --instrument."
            )
    bars_of = np.minimum(clock.first[:, None] + np.arange(_SLOT), clock.last[:, None])
    level = np.median(closes[bars_of], axis=1)
    jump = level_jump(level, clock.session[clock.first])
    if jump is not None:
        raise BadInput(
            f"{source}: prices must be of one instrument in one unit, but closes are about "
            f"{level[jump]:,.2f} on {clock.dates[jump]}, {level[jump + 1]:,.2f} on {clock.dates[jump + 1]}. "
            "Export one instrument in index points, and name it with --instrument."
        )


def level_jump(levels: np.ndarray, days: np.ndarray) -> int | None:
    """The first of the levels (n,) from which the next is further than a market moves in the days between."""
    ratio = np.abs(np.diff(np.log(levels)))
    allowed = math.log(MAX_SESSION_RATIO) + np.maximum(np.diff(days) - 7, 0) * math.log(2) / 180
    far = np.flatnonzero(ratio > allowed)
    return int(far[0]) if len(far) else None


def refuse_wrong_dates(
    bars: pd.DataFrame, clock: SessionClock, reading: TimeConvention, instrument: Instrument
) -> None:
    """Refuse bars on holidays, sessions that lie weeks apart, and evenings dated by their trading day.

    Raises:
        BadInput: If there are any.
    """
    dates = clock.dates.astype("M8[D]")
    if len(dates) <= MIN_SESSIONS:
        first, last = dates[[0, -1]].tolist()
        held = session_schedule(first, last, instrument.calendar)["session"].to_numpy().astype("M8[D]")
        shut = ~np.isin(clock.session.astype("M8[D]"), held)
        if shut.mean() > MAX_ON_HOLIDAYS and not clock.shut.mean() > MAX_REJECTED:
            raise BadInput(
                f"{reading.source}: bars must lie on trading days, but {shut.sum():,} of {len(bars):,} do "
                f"not, first on {clock.session[shut].min().astype('M8[D]')}. Correct the dates, or add the "
                "bars in one file with the days around them."
            )
    if len(dates) >= 3 and np.median(np.diff(dates).astype(int)) > MAX_DAYS_APART:
        raise BadInput(
            f"{reading.source}: sessions must follow each other, but most lie over {MAX_DAYS_APART} days "
            f"apart ({', '.join(map(str, dates[:_LISTED]))}, ...): the order of day, month and year may be "
            "wrong. Write dates as 2024-01-31."
        )
    _refuse_trading_days(bars, reading)


def _refuse_trading_days(bars: pd.DataFrame, reading: TimeConvention) -> None:
    """Refuse dates that are trading days: prices then jump over midnight, where the market trades on."""
    wall = wall_minutes(bars["timestamp"], reading.zone)
    crossing = np.flatnonzero((np.diff(wall // _DAY) == 1) & (np.diff(wall) == 1))
    if len(crossing) < 2:
        return
    opens, closes = bars["open"].to_numpy(), bars["close"].to_numpy()
    gap = np.median(np.abs(opens[crossing + 1] - closes[crossing]))
    midnight = np.searchsorted(wall, wall[crossing] // _DAY * _DAY)
    moved = np.median(np.abs(opens[midnight] - closes[crossing]))
    usual = np.median((bars["high"] - bars["low"]).to_numpy())
    if gap > MAX_GAP_RANGES * usual and moved < gap / 4:
        raise BadInput(f"{reading.source}: {CALENDAR_DATES} Export calendar dates.")


def wall_minutes(timestamps: Any, zone: str) -> np.ndarray:
    """Minutes since 1970 of aware times (n,) on a wall clock in a zone."""
    local = pd.DatetimeIndex(timestamps).tz_convert(zone).tz_localize(None)
    return local.to_numpy().astype("M8[m]").astype(np.int64)


def _refuse_stamp(
    minutes: np.ndarray, clock: SessionClock, reading: TimeConvention, instrument: Instrument
) -> None:
    """Refuse a stamp that sessions contradict: closes begin at 18:01 and end at 17:00, opens earlier.

    `minutes` are the New York opens of all rows, also of those set aside.
    """
    written = SessionClock(minutes + (reading.stamp == "close"))
    votes = {stamp: _stamp_votes(written, stamp, instrument) for stamp in ("open", "close")}
    likely = "close" if reading.stamp == "open" else "open"
    right, wrong = votes[reading.stamp], votes[likely]
    if wrong.any.any() and (wrong.whole.any() or wrong.any.sum() > right.any.sum()):
        begin, end = written.first[wrong.any][0], written.last[wrong.any][0]
        raise BadInput(
            f"{reading.source}: read as bar {reading.stamp}s, a session's stamps must run from "
            f"{'18:00 to 16:59' if reading.stamp == 'open' else '18:01 to 17:00'} New York, but those of "
            f"{_listed(written.dates[wrong.any])} run from {_clock_text(int(written.minute[begin]))} to "
            f"{_clock_text(int(written.minute[end]))}. They look like bar {likely}s: give --stamp {likely}."
        )
    shift = 1 if reading.stamp == "open" else -1
    at_bell, shifted = (_jump(clock, instrument.opening + minutes) for minutes in (0, shift))
    if (at_bell is None or at_bell < 1.15) and shifted is not None and shifted >= RISE:
        raise BadInput(
            f"{reading.source}: bar ranges must rise at {_clock_text(instrument.opening)} New York, but read "
            f"as bar {reading.stamp}s they rise a minute {'later' if shift > 0 else 'earlier'}. "
            f"They look like bar {likely}s: give --stamp {likely}."
        )


class _Votes(NamedTuple):
    """Sessions (n_sessions,) bool that look stamped in one way: at one end at least; at both ends."""

    any: np.ndarray
    whole: np.ndarray


def _stamp_votes(written: SessionClock, stamp: str, instrument: Instrument) -> _Votes:
    """The sessions whose stamps, taken as they are written, look like bar opens or like bar closes.

    No close is ever stamped 18:00, and no open 17:00; 09:30 and 16:00 may also be where a file was cut.
    """
    late, bell = int(stamp == "close"), instrument.opening + _DAY - _OPEN
    begins, ends = written.since_open(written.first), written.since_open(written.last)
    shut = _closing_minutes(written, instrument)
    day_ends = np.array([16 * _HOUR, 16 * _HOUR + 15]) + _DAY - _OPEN
    begin, other_begin = (np.isin(begins, (minute, bell + minute)) for minute in (late, 1 - late))
    end, other_end = (
        (ends == shut - 1 + minute) | np.isin(ends, day_ends - 1 + minute) for minute in (late, 1 - late)
    )
    density, whole = _density(written), begin & end
    dense = (density >= DENSE) & (ends - begins >= _HOUR)
    if late:
        looks = (begin & ~other_end) | ((ends == shut) & ~other_begin)
    else:
        looks = whole | ((begins == 0) & ~other_end) | ((ends == shut - 1) & ~other_begin)
    looks &= dense
    thin = ~dense & (begins <= _THIN_WAIT)
    if late and not (other_begin & thin).any():
        by_chance = np.prod(1 - density[thin]) < CHANCE or ((ends == shut) & thin).sum() >= 2
        looks |= thin & by_chance
    elif not late and ((begins == 0) & thin).sum() >= 2:
        looks |= thin & (begins == 0)
    return _Votes(looks, dense & whole)


def _closing_minutes(clock: SessionClock, instrument: Instrument) -> np.ndarray:
    """Minutes from 18:00 New York to the close of each session (n_sessions,)."""
    first, last = clock.dates[[0, -1]].tolist()
    hours = session_schedule(first, last, instrument.calendar)
    closed = pd.DatetimeIndex(hours["closed_at"]).tz_convert(NEW_YORK).tz_localize(None)
    days = hours["session"].to_numpy().astype("M8[D]").astype(np.int64)
    since = closed.to_numpy().astype("M8[m]").astype(np.int64) - days * _DAY + _DAY - _OPEN
    usual = _CLOSE + _DAY - _OPEN
    return np.array(pd.Series(since, days).reindex(clock.session[clock.first]).fillna(usual), np.int64)


def _density(clock: SessionClock) -> np.ndarray:
    """Share of minutes with a bar in the first hour of each session (n_sessions,)."""
    begins = clock.minutes[clock.first]
    until = np.minimum(begins + _HOUR - 1, clock.minutes[clock.last])
    n_bars = np.searchsorted(clock.minutes, until, side="right") - clock.first
    return n_bars / (until - begins + 1)


def _jump(clock: SessionClock, minute: int) -> float | None:
    """Median over mornings of the range of one minute's bar over the one before it."""
    at, before = (np.flatnonzero(clock.minute == opened) for opened in (minute, minute - 1))
    _, i, j = np.intersect1d(clock.day[at], clock.day[before], return_indices=True)
    if len(i) < MIN_MORNINGS:
        return None
    return float(np.median(clock.ranges[at[i]] / np.maximum(clock.ranges[before[j]], _TINY)))


def _refuse_full_breaks(
    bars: pd.DataFrame, clock: SessionClock, rows: np.ndarray, reading: TimeConvention
) -> None:
    """Refuse bars in hours without trading: too many in the file, or in one hour."""
    shut = np.flatnonzero(clock.shut)
    if not len(shut):
        return
    hours, counts = np.unique(clock.minutes[shut] // _HOUR, return_counts=True)
    usual = (
        np.median(np.unique(clock.minutes[~clock.shut] // _HOUR, return_counts=True)[1])
        if len(shut) < len(bars)
        else 0
    )
    full = hours[counts > max(MAX_STRAYS, usual / 4)]
    if not len(full) and len(shut) <= MAX_REJECTED * len(bars):
        return
    first = shut[rows[shut].argmin()]
    days = np.unique(full * _HOUR // _DAY).astype("M8[D]")
    where = f"; whole hours on {_listed(days)}" if len(full) else ""
    raise BadInput(
        f"{reading.source}: a bar must {IN_TRADING_HOURS}, but {len(shut):,} of {len(bars):,} do not, "
        f"read as {reading.zone}, first in row {rows[first]:,} "
        f"({bars['timestamp'].iloc[first]:%Y-%m-%d %H:%M} UTC){where}. {_advice(bars, clock, reading)}"
    )


def _refuse_moved_sessions(bars: pd.DataFrame, clock: SessionClock, reading: TimeConvention) -> None:
    """Refuse sessions that begin and end as many half hours early or late as each other."""
    moved = _moved(clock)
    if not moved.any():
        return
    own = SessionClock(wall_minutes(bars["timestamp"], reading.zone))
    if not _moved(own, clock).any():
        return
    raise BadInput(
        f"{reading.source}: the times must be in one zone, but read as {reading.zone} the sessions of "
        f"{_listed(clock.dates[moved])} begin and end at other hours than the others. Name the zone of all "
        "times with --timezone, or export the file again in one zone."
    )


def _moved(clock: SessionClock, sessions: SessionClock | None = None) -> np.ndarray:
    """True (n_sessions,) for sessions moved by half hours against most others on this clock."""
    bounds = sessions or clock
    days = bounds.session[bounds.first] * _DAY
    begins, ends = clock.minutes[bounds.first] - days, clock.minutes[bounds.last] - days
    usual = [
        int(minutes[np.argmax(counts)])
        for minutes, counts in (np.unique(values, return_counts=True) for values in (begins, ends))
    ]
    early, late = begins - usual[0], ends - usual[1]
    return (early == late) & (early != 0) & (early % 30 == 0) & (ends - begins >= _HOUR)


def _refuse_missing_opening(
    bars: pd.DataFrame, clock: SessionClock, reading: TimeConvention, instrument: Instrument
) -> None:
    """Refuse a zone in which ranges do not rise when the stock market opens, in any stretch of one offset."""
    opening = instrument.opening
    begins = bars["timestamp"].iloc[clock.first]
    own, utc = (wall_minutes(begins, zone) for zone in (reading.zone, "UTC"))
    offsets = np.stack([clock.minutes[clock.first] - utc, own - utc])
    stretch = np.concatenate([[0], np.cumsum(np.diff(offsets, axis=1).any(axis=0))])
    bounds = [*clock.first[np.flatnonzero(np.diff(stretch, prepend=-1))], len(bars)]
    for first, end in pairwise(bounds):
        part = SessionClock(clock.minutes[first:end], clock.ranges[first:end])
        wrong = _wrong_opening(part, opening)
        if wrong is not None:
            likely = _zone_with_opening(bars.iloc[first:end], reading.zone, opening)
            advice = _try_zone(likely, reading) if likely else _other_zone(reading)
            raise BadInput(
                f"{reading.source}: bar ranges must rise at {_clock_text(opening)} New York, when the stock "
                f"market opens, but read as {reading.zone} {wrong} (sessions of {part.dates[0]} to "
                f"{part.dates[-1]}). {advice}"
            )


def _wrong_opening(clock: SessionClock, opening: int) -> str | None:
    """Why the opening lies at another time than it must; None if the bars do not say so."""
    rises = _rises(clock)
    bell = rises.get(opening, np.empty(0))
    others = {
        minute: rise for minute, rise in rises.items() if minute != opening and len(rise) >= MIN_MORNINGS
    }
    medians = {minute: float(np.median(rise)) for minute, rise in others.items()}
    highest = max(medians, key=lambda minute: medians[minute], default=0)
    height = medians.get(highest, 0.0)
    elsewhere = f"they rise at {_clock_text(highest)}"
    if len(bell) >= MIN_MORNINGS:
        here = float(np.median(bell))
        if (here < NO_RISE and height >= RISE) or (height >= RISE + 0.4 and height > 1.5 * here):
            return elsewhere
    elif height >= CLEAR_RISE and np.mean(others[highest] >= NO_RISE - 0.1) >= 0.95:
        return elsewhere
    begins, ends = (clock.since_open(rows) + _OPEN for rows in (clock.first, clock.last))
    times, counts = np.unique(begins, return_counts=True)
    begin = int(times[counts.argmax()])
    if counts.max() < 0.6 * len(begins) or begin in (_OPEN, opening + _DAY):
        return None
    here = float(np.median(bell)) if len(bell) else 0.0
    at = _clock_text(begin % _DAY)
    then = rises.get((opening + begin - _OPEN) % _DAY, np.empty(0))
    if begin % 30 == 0 and len(then) and np.median(then) >= 2 * max(here, 1.0):
        return f"they rise {_clock_text((opening + begin - _OPEN) % _DAY)}, and sessions begin at {at}"
    length = int(np.median(ends[begins == begin] - begin)) + 1
    covers = begin + _SLOT <= opening + _DAY <= begin + length - _SLOT
    if covers and len(bell) and (len(begins) > 1 or length in _DAY_SESSION) and here < ONE_RISE:
        return f"they do not, and sessions begin at {at}"
    return (
        f"sessions begin at {at} and last {length} minutes" if not covers and length in _DAY_SESSION else None
    )


def _rises(clock: SessionClock) -> dict[int, np.ndarray]:
    """Mean bar range of the 15 minutes after each half hour over that of the 15 before, by minute of the day.

    Only mornings with three bars on each side count.
    """
    slots = clock.minutes // _SLOT
    kinds, starts, counts = np.unique(slots, return_index=True, return_counts=True)
    means = np.add.reduceat(clock.ranges, starts) / counts
    known = (counts[1:] >= 3) & (counts[:-1] >= 3) & (np.diff(kinds) == 1) & (kinds[1:] % 2 == 0)
    rise = means[1:][known] / np.maximum(means[:-1][known], _TINY)
    minute = kinds[1:][known] * _SLOT % _DAY
    return {int(mark): rise[minute == mark] for mark in np.unique(minute)}


def _advice(bars: pd.DataFrame, clock: SessionClock, reading: TimeConvention) -> str:
    if reading.stamp == "open" and clock.shut.sum() == (clock.shut & (clock.minute == _CLOSE)).sum():
        return "They look like bar closes: give --stamp close."
    around = max(0, int(np.argmax(clock.shut)) - TRIED_BARS // 2)
    fitting = _fitting_zones(bars.iloc[around:], reading.zone)
    if not fitting:
        wrong = np.unique(clock.session[clock.shut])
        some = bars.loc[np.isin(clock.session, wrong)]
        if len(wrong) < len(clock.first) and (alone := _fitting_zones(some, reading.zone)):
            return f"Those sessions look like {alone[0]}: export the file again in one zone."
        other_zone = "" if reading.zone_is_stated else ", or give the right --timezone"
        return f"No likely zone corrects this: correct the dates (order of day and month, year){other_zone}."
    return _try_zone(fitting[0], reading)


def _fitting_zones(bars: pd.DataFrame, zone: str) -> list[str]:
    """Likely zones in which the wall clock of the bars leaves the daily break free; the best first."""
    scores: dict[str, tuple[float, float]] = {}
    for likely in LIKELY_ZONES:
        if likely == zone:
            continue
        moved = _reread(bars, zone, likely)
        clock = session_clock(moved)
        if len(moved) < 0.9 * min(len(bars), TRIED_BARS) or clock.shut.mean() > MAX_REJECTED / 20:
            continue
        begins = clock.since_open(clock.first)
        bell = _rises(clock).get(9 * 60 + 30, np.empty(0))
        scores[likely] = (
            float(np.isin(begins, (0, 1, 930, 931)).mean()),
            float(np.median(bell)) if len(bell) else 0.0,
        )
    order = list(scores)
    return sorted(
        order, key=lambda likely: (-round(scores[likely][0], 1), -scores[likely][1] // 1, order.index(likely))
    )


def _zone_with_opening(bars: pd.DataFrame, zone: str, opening: int) -> str | None:
    """The likely zone in which sessions begin, or ranges rise, when the stock market opens."""
    for likely in _fitting_zones(bars, zone):
        clock = session_clock(_reread(bars, zone, likely))
        rise = _rises(clock).get(opening, np.empty(0))
        begins = clock.minute[clock.first]
        if (len(rise) and np.median(rise) >= RISE) or np.isin(begins, (opening, opening + 1)).mean() > 0.5:
            return likely
    return None


def _try_zone(likely: str, reading: TimeConvention) -> str:
    if reading.zone_is_stated:
        return f"The zone in the file is wrong: the times look like {likely}. Export the file again."
    return f"The times look like {likely}: give --timezone {likely}."


def _other_zone(reading: TimeConvention) -> str:
    if reading.zone_is_stated:
        return "The zone in the file is wrong: export it again."
    return "Give the right --timezone."


def _reread(bars: pd.DataFrame, zone: str, other: str) -> pd.DataFrame:
    """The first bars with their wall clock read in zone `other`, without those at a clock change."""
    bars = bars.iloc[:TRIED_BARS]
    wall = bars["timestamp"].dt.tz_convert(zone).dt.tz_localize(None)
    moments = wall.dt.tz_localize(other, ambiguous="NaT", nonexistent="NaT").dt.tz_convert("UTC")
    return bars.assign(timestamp=moments).loc[moments.notna().to_numpy()]


def _listed(days: np.ndarray) -> str:
    shown = ", ".join(map(str, days[:_LISTED].astype("M8[D]")))
    return f"{shown} and {len(days) - _LISTED:,} more days" if len(days) > _LISTED else shown


def _clock_text(minute: int) -> str:
    return f"{minute // _HOUR:02d}:{minute % _HOUR:02d}"
