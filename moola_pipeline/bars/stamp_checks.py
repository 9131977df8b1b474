"""Whether stamps are bar opens or closes, by the first and the last stamp of each session."""

from typing import NamedTuple

import numpy as np

from moola_pipeline.bars.instruments import Instrument
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
)
from moola_pipeline.errors import BadInput

MIN_JUMP, SURE_JUMP = 1.8, 2.2
"""Range of the opening's bar over that of the bar before; the second if that of the stamp is unknown."""
CHANCE = 1e-4
"""Largest probability that a thin contract's opens look like closes in one file."""
DENSE = 0.95
"""Share of minutes with a bar from which a session's first and last minute are known."""
THIN_WAIT = 10
"""Minutes in which a session of a thin contract begins."""
_FEW_MORNINGS = 3
"""On one morning the range of the opening's second bar may be the greater by chance."""
_TINY = float(np.finfo(float).tiny)


def refuse_stamp(
    minutes: np.ndarray, clock: SessionClock, reading: TimeConvention, instrument: Instrument
) -> None:
    """Refuse a stamp that sessions contradict: closes begin at 18:01 and end at 17:00, opens earlier.

    `minutes` are the New York opens of all rows, also of those set aside.

    Raises:
        BadInput: If more sessions look like the other stamp, or ranges rise a minute off the opening.
    """
    written = SessionClock(minutes + (reading.stamp == "close"))
    likely = "close" if reading.stamp == "open" else "open"
    shift = 1 if reading.stamp == "open" else -1
    rises, shifted_rises = (_jumps(clock, instrument.opening + later) for later in (0, shift))
    votes = _both_votes(written, instrument, "all")
    if np.mean(votes[likely].any) > 0.5:  # the file may be cut by its stamps
        votes = _both_votes(written, instrument, _cuts_that_show(reading, rises, shifted_rises))
    right, wrong = votes[reading.stamp], votes[likely]
    if wrong.any.any() and (wrong.whole.any() or wrong.any.sum() > right.any.sum()):
        begin, end = written.first[wrong.any][0], written.last[wrong.any][0]
        raise BadInput(
            f"{reading.source}: read as bar {reading.stamp}s, a session's stamps must run from "
            f"{'18:00 to 16:59' if reading.stamp == 'open' else '18:01 to 17:00'} New York, but those of "
            f"{listed_days(written.dates[wrong.any])} run from {clock_text(int(written.minute[begin]))} to "
            f"{clock_text(int(written.minute[end]))}. They look like bar {likely}s: give --stamp {likely}."
        )
    at_bell, shifted = (_mean_jump(found) for found in (rises, shifted_rises))
    least = SURE_JUMP if at_bell is None else max(MIN_JUMP, 1.5 * at_bell)
    if shifted is not None and shifted >= least:
        raise BadInput(
            f"{reading.source}: bar ranges must rise at {clock_text(instrument.opening)} New York, but read "
            f"as bar {reading.stamp}s they rise a minute {'later' if shift > 0 else 'earlier'}. "
            f"They look like bar {likely}s: give --stamp {likely}."
        )


def _cuts_that_show(reading: TimeConvention, rises: np.ndarray, shifted: np.ndarray) -> str:
    """Which cuts of sessions show a stamp: "all", those at the "bell", or "none".

    A file may be cut by its stamps as well as by the opens: where the opening shows the stamp, or the user
    says it, the cut does not.
    """
    here, other = (float(np.mean(found)) if len(found) else None for found in (rises, shifted))
    rises_here = here is not None and here >= MIN_JUMP / (1 + MIN_JUMP) and (other is None or here > other)
    if rises_here and len(rises) >= _FEW_MORNINGS:
        return "none"
    contradicted = here is not None and other is not None and other > here
    return "bell" if reading.stamp_is_stated and not contradicted else "all"


class _Votes(NamedTuple):
    """Sessions (n_sessions,) bool that look stamped in one way: at one end at least; at both ends."""

    any: np.ndarray
    whole: np.ndarray


def _both_votes(written: SessionClock, instrument: Instrument, cuts: str) -> dict[str, _Votes]:
    return {stamp: _stamp_votes(written, stamp, instrument, cuts) for stamp in ("open", "close")}


def _stamp_votes(written: SessionClock, stamp: str, instrument: Instrument, cuts: str) -> _Votes:
    """The sessions whose stamps, taken as they are written, look like bar opens or like bar closes.

    No close is ever stamped 18:00, and no open 17:00; 09:30 and 16:00 may also be where a file was cut,
    and count as `_cuts_that_show` says.
    """
    late, bell = int(stamp == "close"), instrument.opening + DAY - SESSION_OPEN
    begins, ends = written.since_open(written.first), written.since_open(written.last)
    usual = SESSION_CLOSE + DAY - SESSION_OPEN
    shut = closing_minutes(written.session[written.first], instrument.calendar, usual)
    bells = [] if cuts == "none" else [bell]
    day_ends = np.array([] if cuts == "none" else [16 * HOUR, 16 * HOUR + 15]) + DAY - SESSION_OPEN
    begin, other_begin = (np.isin(begins - minute, [0, *bells]) for minute in (late, 1 - late))
    end, other_end = (
        (ends == shut - 1 + minute) | np.isin(ends, day_ends - 1 + minute) for minute in (late, 1 - late)
    )
    density, whole = _density(written), begin & end
    if cuts == "all":
        whole |= (begins % 30 == late) & (ends % 30 == (29 + late) % 30)
    dense = (density >= DENSE) & (ends - begins >= HOUR)
    looks = (whole | (begin & ~other_end) | ((ends == shut - 1 + late) & ~other_begin)) & dense
    thin = ~dense & (begins <= THIN_WAIT)
    if late and not (other_begin & thin).any():
        by_chance = np.prod(1 - density[thin]) < CHANCE or ((ends == shut) & thin).any()
        looks |= thin & by_chance
    elif not late:
        looks |= thin & (begins == 0)
    return _Votes(looks, dense & whole)


def _density(clock: SessionClock) -> np.ndarray:
    """Share of minutes with a bar in the first hour of each session (n_sessions,)."""
    begins = clock.minutes[clock.first]
    until = np.minimum(begins + HOUR - 1, clock.minutes[clock.last])
    n_bars = np.searchsorted(clock.minutes, until, side="right") - clock.first
    return n_bars / (until - begins + 1)


def _jumps(clock: SessionClock, minute: int) -> np.ndarray:
    """Share of one minute's bar in its range and that of the bar before (n_mornings,)."""
    at, before = (np.flatnonzero(clock.minute == opened) for opened in (minute, minute - 1))
    _, i, j = np.intersect1d(clock.day[at], clock.day[before], return_indices=True)
    after, ahead = clock.ranges[at[i]], clock.ranges[before[j]]
    moved = after + ahead > 0
    return after[moved] / (after + ahead)[moved]


def _mean_jump(shares: np.ndarray) -> float | None:
    """Range of a minute's bar over that of the bar before, each morning alike; None if they are few."""
    if len(shares) < MIN_MORNINGS:
        return None
    share = float(np.mean(shares))
    return share / max(1 - share, _TINY)
