"""Whether bars are what they were read as: interval, unit, instrument and dates; stamp and zone apart."""

import math
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from moola_pipeline.bars.cleaning import CALENDAR_DATES, MAX_REJECTED, SiftedBars
from moola_pipeline.bars.instruments import Instrument
from moola_pipeline.bars.schema import PRICE_COLUMNS
from moola_pipeline.bars.session_clock import (
    DAY,
    HOUR,
    SessionClock,
    TimeConvention,
    listed_days,
    wall_minutes,
)
from moola_pipeline.bars.sessions import NEW_YORK, session_schedule
from moola_pipeline.bars.stamp_checks import refuse_stamp
from moola_pipeline.bars.zone_checks import refuse_full_breaks, refuse_missing_opening, refuse_moved_sessions
from moola_pipeline.errors import BadInput

CLOCK_ERROR = timedelta(minutes=10)
"""Largest lag of this machine's clock behind that of the exchange."""
MAX_ZONES = timedelta(hours=26)
"""Largest difference of two zones: a wrong zone moves bars by at most this much."""
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
MAX_GAP_RANGES = 2.0
"""Largest gap over midnight, in median bar ranges; on NQ it was at most 0.6: the market trades through it."""
_SMALL_TICKS = 2
"""Bars of at most this range are alike by chance in a quiet hour."""
_SCALE_BARS = 50_000
"""Bars whose moves are tried, evenly spread over a file."""
_LEVEL_BARS = 15


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
    refuse_coarse(bars, instrument, reading.source)
    refuse_other_scale(bars, clock, instrument, reading.source)
    refuse_wrong_dates(bars, clock, reading, instrument)
    left_out = np.unique(wall_minutes(sifted.rejected["timestamp"].dropna(), NEW_YORK))
    places = np.searchsorted(clock.minutes, left_out)  # both are sorted: np.union1d would sort all bars again
    is_new = clock.minutes[np.minimum(places, len(bars) - 1)] != left_out
    minutes = np.insert(clock.minutes, places[is_new], left_out[is_new])
    refuse_stamp(minutes, clock, reading, instrument)
    refuse_full_breaks(bars, clock, rows, reading)
    refuse_moved_sessions(bars, clock, reading, instrument)
    refuse_missing_opening(bars, clock, reading, instrument)


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


def refuse_coarse(bars: pd.DataFrame, instrument: Instrument, source: str) -> None:
    """Refuse bars of another interval, in any stretch: stamps on a coarser grid, or coarser bars repeated.

    Raises:
        BadInput: If there is such a stretch, or there are fewer than two bars.
    """
    steps = np.diff(wall_minutes(bars["timestamp"], "UTC"))
    if not len(steps):
        raise BadInput(f"{source}: bars of at least 2 minutes are needed, got fewer. Export more bars.")
    for interval in COARSE_MINUTES:
        first, n_steps = _coarse_run(steps, interval)
        if n_steps:
            raise _coarse(bars, first, n_steps + 1, interval, source)
    if not (steps == 1).any():
        raise _coarse(bars, 0, len(bars), int(np.median(steps)), source)
    _refuse_repeated(bars, steps, instrument, source)


def _coarse_run(steps: np.ndarray, interval: int) -> tuple[int, int]:
    """The first run of steps on a coarser grid that is no chance: its first step and its length; else (0, 0).

    So long a run comes by chance in one file of 1 / CHANCE, among steps like those of the hour around it.
    """
    coarser = np.flatnonzero(steps != 1)
    on_grid = coarser[steps[coarser] % interval == 0]
    if not len(on_grid):
        return 0, 0
    begins = np.flatnonzero(np.diff(on_grid, prepend=-2) > 1)
    first, length = on_grid[begins], np.diff(np.append(begins, len(on_grid)))
    begin, end = np.maximum(first - HOUR, 0), np.minimum(first + length + HOUR, len(steps))
    beside = np.searchsorted(coarser, end) - np.searchsorted(coarser, begin) - length
    share = (beside + 1) / (end - begin - length + 2)
    by_chance = np.log(len(steps) / CHANCE) / np.log(np.maximum(interval, 1 / share))
    found = np.flatnonzero(length >= by_chance)
    return (int(first[found[0]]), int(length[found[0]])) if len(found) else (0, 0)


def _coarse(bars: pd.DataFrame, first: int, n_bars: int, interval: int, source: str) -> BadInput:
    times = bars["timestamp"].iloc[[first, first + n_bars - 1]]
    return BadInput(
        f"{source}: bars must be of one minute, got one every {timedelta(minutes=interval)} "
        f"from {times.iloc[0]:%Y-%m-%d %H:%M} to {times.iloc[1]:%Y-%m-%d %H:%M} UTC ({n_bars:,} of "
        f"{len(bars):,} bars). Export one-minute bars."
    )


def _refuse_repeated(bars: pd.DataFrame, steps: np.ndarray, instrument: Instrument, source: str) -> None:
    """Refuse coarser bars that were written once a minute."""
    prices = [bars[name].to_numpy() for name in PRICE_COLUMNS]
    traded = prices[1] - prices[2] > (_SMALL_TICKS + 0.5) * instrument.tick_points
    same = np.append(False, steps == 1) & traded
    for price in prices:
        same[1:] &= price[1:] == price[:-1]
    hours = np.arange(len(bars)) // HOUR
    n_same, n_traded = np.bincount(hours, same), np.bincount(hours, traded)
    repeated = np.flatnonzero((n_traded >= HOUR // 3) & (n_same > MAX_REPEATED * n_traded))
    if len(repeated):
        at = bars["timestamp"].iloc[repeated[0] * HOUR]
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
    for factor in (100, 10, 5, 4, 2):
        if len(moves) >= 30 and np.mean(moves % factor == 0) > 0.95:
            raise BadInput(
                f"{source}: prices of {instrument.name} must move in ticks of {instrument.tick_points:g} "
                f"points, but they move in steps of {factor * instrument.tick_points:g}: they are in another "
                "unit (hundredths, whole ticks) or of another instrument. Export index points, or name the "
                "instrument with --instrument."
            )
    bars_of = np.minimum(clock.first[:, None] + np.arange(_LEVEL_BARS), clock.last[:, None])
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
    dates = clock.dates
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
            f"apart ({listed_days(dates)}): the order of day, month and year may be wrong. "
            "Write dates as 2024-01-31."
        )
    _refuse_trading_days(bars, reading)


def _refuse_trading_days(bars: pd.DataFrame, reading: TimeConvention) -> None:
    """Refuse dates that are trading days: prices then jump over midnight, where the market trades on."""
    wall = wall_minutes(bars["timestamp"], reading.zone) + (reading.stamp == "close")
    crossing = np.flatnonzero((np.diff(wall // DAY) == 1) & (np.diff(wall) == 1))
    if not len(crossing):
        return
    opens, closes = bars["open"].to_numpy(), bars["close"].to_numpy()
    gap = np.median(np.abs(opens[crossing + 1] - closes[crossing]))
    midnight = np.searchsorted(wall, wall[crossing] // DAY * DAY)
    moved = np.median(np.abs(opens[midnight] - closes[crossing]))
    usual = np.median((bars["high"] - bars["low"]).to_numpy())
    if gap > MAX_GAP_RANGES * usual and moved < gap / 4:
        raise BadInput(f"{reading.source}: {CALENDAR_DATES} Export calendar dates.")
