"""Whether the zone of bars is right: hours without trading, equal sessions, and the opening of the market."""

from itertools import pairwise

import numpy as np
import pandas as pd

from moola_pipeline.bars.cleaning import IN_TRADING_HOURS, MAX_REJECTED
from moola_pipeline.bars.instruments import NQ, Instrument
from moola_pipeline.bars.session_clock import (
    DAY,
    HOUR,
    MIN_MORNINGS,
    SESSION_CLOSE,
    SESSION_OPEN,
    SessionClock,
    TimeConvention,
    clock_text,
    closing_minutes,
    listed_days,
    session_clock,
    wall_minutes,
)
from moola_pipeline.bars.sessions import NEW_YORK
from moola_pipeline.bars.stamp_checks import THIN_WAIT
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
MAX_STRAYS = 3
"""Bars that one hour without trading may hold; or a quarter of those of a usual hour, if these are more."""
RISE, NO_RISE, SURE_RISE, CLEAR_RISE = 1.8, 1.5, 2.2, 2.5
"""Mean bar range of the 15 minutes after the opening over that of the 15 before, median of mornings. On NQ
it is 3.0 after 09:30, at least 1.8 in any five mornings; after 03:00, the next highest, 1.7."""
ONE_RISE = 1.3
"""The same on a single morning: above it on 99 of 100 days."""
TRIED_BARS = 30_000
"""Number of bars tried in other zones: about a month of sessions."""
MAX_LATE = 3 * HOUR
"""Sessions that begin so late, and whose ranges rise as late after the opening, are moved: on NQ ranges rise
by CLEAR_RISE at 10:30 on no day of five years, at 11:30 and 12:30 on one or two of a thousand."""
MAX_SHUT = 0.0005
"""Largest share of bars in shut hours in a zone that is advised."""
_DAY_SESSION = range(380, 456)
"""Minutes of a day session: the stock market's 390, or up to 450 with the time after."""
_SLOT = 15
_TINY = float(np.finfo(float).tiny)


def refuse_full_breaks(
    bars: pd.DataFrame, clock: SessionClock, rows: np.ndarray, reading: TimeConvention
) -> None:
    """Refuse bars in hours without trading: too many in the file, or in one hour.

    Raises:
        BadInput: If there are; the text names the zone in which the times fit.
    """
    shut = np.flatnonzero(clock.shut)
    if not len(shut):
        return
    hours, counts = np.unique(clock.minutes[shut] // HOUR, return_counts=True)
    usual = (
        np.median(np.unique(clock.minutes[~clock.shut] // HOUR, return_counts=True)[1])
        if len(shut) < len(bars)
        else 0
    )
    full = hours[counts > max(MAX_STRAYS, usual / 4)]
    if not len(full) and len(shut) <= MAX_REJECTED * len(bars):
        return
    first = shut[rows[shut].argmin()]
    days = np.unique(full * HOUR // DAY).astype("M8[D]")
    where = f"; whole hours on {listed_days(days)}" if len(full) else ""
    raise BadInput(
        f"{reading.source}: a bar must {IN_TRADING_HOURS}, but {len(shut):,} of {len(bars):,} do not, "
        f"read as {reading.zone}, first in row {rows[first]:,} "
        f"({bars['timestamp'].iloc[first]:%Y-%m-%d %H:%M} UTC){where}. {_advice(bars, clock, reading)}"
    )


def refuse_moved_sessions(
    bars: pd.DataFrame, clock: SessionClock, reading: TimeConvention, instrument: Instrument
) -> None:
    """Refuse sessions that begin and end as many half hours early or late as each other.

    Raises:
        BadInput: If they do so in New York and on the clock of the file.
    """
    calendar = instrument.calendar
    moved = _moved(clock, clock, calendar)
    own = SessionClock(wall_minutes(bars["timestamp"], reading.zone))
    if not moved.any() or not _moved(own, clock, calendar).any():
        return
    days = clock.session[clock.runs[0][moved]].astype("M8[D]")
    around = max(0, int(clock.runs[0][moved.argmax()]) - TRIED_BARS // 2)
    for likely in _fitting_zones(bars.iloc[around:], reading.zone):
        other = session_clock(_reread(bars.iloc[around:], reading.zone, likely))
        if not _moved(other, other, calendar).any():
            advice = _try_zone(likely, reading)
            break
    else:
        advice = "Export the file again in one zone."
    raise BadInput(
        f"{reading.source}: the times must be in one zone, but read as {reading.zone} the sessions of "
        f"{listed_days(days)} begin and end at other hours than the others. {advice}"
    )


def _moved(own: SessionClock, clock: SessionClock, calendar: str) -> np.ndarray:
    """True (n_runs,) for runs of bars moved by half hours against the usual ones on their own clock.

    A run ends at a gap of over an hour. The usual runs are most; of equally many, those that begin when
    trading does. On a day with an early close a run ends earlier. `clock` is in New York time.
    """
    first, last = clock.runs
    sessions = clock.session[first]
    begins, ends = own.minutes[first] - sessions * DAY, own.minutes[last] - sessions * DAY
    pairs, counts = np.unique(np.stack([begins, ends]), axis=1, return_counts=True)
    begins_right = np.isin(pairs[0] % DAY, (SESSION_OPEN, NQ.opening))
    usual = pairs[:, np.lexsort([begins_right, counts])[-1]]
    closed = closing_minutes(sessions, calendar, SESSION_CLOSE + DAY - SESSION_OPEN)
    is_usual = np.flatnonzero((begins == usual[0]) & (ends == usual[1]))[0]
    usual_end = clock.since_open(last[is_usual])
    due = usual[1] - np.maximum(usual_end - closed + 1, 0)
    early, late = begins - usual[0], ends - due
    early = (early + DAY // 2) % DAY - DAY // 2  # across midnight the trading day is another
    late = (late + DAY // 2) % DAY - DAY // 2
    return (early == late) & (early != 0) & (early % 30 == 0) & (ends - begins >= HOUR)


def refuse_missing_opening(
    bars: pd.DataFrame, clock: SessionClock, reading: TimeConvention, instrument: Instrument
) -> None:
    """Refuse a zone in which ranges do not rise when the stock market opens, in any stretch of one offset.

    Raises:
        BadInput: If they do not; the text names the zone in which they do.
    """
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
                f"{reading.source}: bar ranges must rise at {clock_text(opening)} New York, when the stock "
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
    elsewhere = f"they rise at {clock_text(highest)}"
    if len(bell) >= MIN_MORNINGS:
        here = float(np.median(bell))
        if (here < NO_RISE and height >= RISE) or (height >= SURE_RISE and height > 1.5 * here):
            return elsewhere
    elif height >= CLEAR_RISE and np.mean(others[highest] >= ONE_RISE) >= 0.95:
        return elsewhere
    begins, ends = (clock.since_open(rows) + SESSION_OPEN for rows in (clock.first, clock.last))
    sharp = (begins + 1) // 5 * 5  # in a thin contract the first trades come a little later
    times, counts = np.unique(sharp, return_counts=True)
    begin = int(times[counts.argmax()])
    if (
        counts.max() < 0.6 * len(begins)
        or min((begin - t) % DAY for t in (opening, SESSION_OPEN)) <= THIN_WAIT
    ):
        return None
    here = float(np.median(bell)) if len(bell) else 0.0
    at = clock_text(begin % DAY)
    then = rises.get((opening + begin - SESSION_OPEN) % DAY, np.empty(0))
    late = 0 < begin - SESSION_OPEN <= MAX_LATE  # news at 08:30 may look like the opening
    least = min(2 * max(here, 1.0), CLEAR_RISE) if late else 2 * max(here, 1.0)
    if begin % 30 == 0 and len(then) and np.median(then) >= least:
        return f"they rise {clock_text((opening + begin - SESSION_OPEN) % DAY)}, and sessions begin at {at}"
    length = int(np.max(ends[sharp == begin] - begin)) + 1  # the last may be in progress
    covers = begin + _SLOT <= opening + DAY <= begin + length - _SLOT
    enough = NO_RISE if length in _DAY_SESSION else ONE_RISE
    if covers and len(bell) and (len(begins) > 1 or length in _DAY_SESSION) and here < enough:
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
    minute = kinds[1:][known] * _SLOT % DAY
    return {int(mark): rise[minute == mark] for mark in np.unique(minute)}


def _advice(bars: pd.DataFrame, clock: SessionClock, reading: TimeConvention) -> str:
    if reading.stamp == "open" and clock.shut.sum() == (clock.shut & (clock.minute == SESSION_CLOSE)).sum():
        return "They look like bar closes: give --stamp close."
    around = max(0, int(np.argmax(clock.shut)) - TRIED_BARS // 2)
    fitting = _fitting_zones(bars.iloc[around:], reading.zone)
    if not fitting:
        wrong = np.unique(clock.session[clock.shut])
        for later in (1, 0):  # an earlier clock moves the session's begin into the break before it
            some = bars.loc[clock.shut | np.isin(clock.session, wrong + later)]
            if len(some) < len(bars) and (alone := _fitting_zones(some, reading.zone)):
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
        if len(moved) < 0.9 * min(len(bars), TRIED_BARS) or clock.shut.mean() > MAX_SHUT:
            continue
        begins = clock.since_open(clock.first)
        bell = _rises(clock).get(NQ.opening, np.empty(0))
        opening = NQ.opening + DAY - SESSION_OPEN
        scores[likely] = (
            float(np.isin(begins, (0, 1, opening, opening + 1)).mean()),
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
