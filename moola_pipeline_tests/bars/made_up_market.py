"""A made-up market with the day of index futures: quiet nights, a burst when the stock market opens."""

from datetime import date, timedelta
from functools import cache

import numpy as np
import pandas as pd

from moola_pipeline.bars.sessions import NEW_YORK, session_minutes

LEVELS = {"NQ": 18_000.0, "ES": 6_000.0, "YM": 43_000.0, "RTY": 2_200.0}
"""Made-up price levels, index points."""
_PROFILE = (
    *(("00:00", 3.2), ("03:00", 5.0), ("04:00", 3.6), ("08:30", 6.0), ("09:00", 4.6), ("09:30", 20.0)),
    *(("10:00", 15.0), ("11:00", 12.0), ("15:30", 14.0), ("16:00", 4.5), ("18:00", 4.0), ("19:00", 3.2)),
)
"""Mean bar range of NQ by New York time, index points."""


def market(
    first: date, last: date, rng: np.random.Generator, instrument: str = "NQ", tick: float = 0.25
) -> pd.DataFrame:
    """Every minute of the sessions from `first` to `last`, RAW_COLUMNS; opens continue closes."""
    minutes = _all_minutes()
    days = pd.DatetimeIndex([first, last + timedelta(days=1)]).tz_localize(NEW_YORK)
    opened_at = minutes[slice(*minutes.searchsorted((days - pd.Timedelta(hours=6)).tz_convert("UTC")))]
    local = opened_at.tz_convert(NEW_YORK)
    minute = (local.hour * 60 + local.minute).to_numpy()
    starts = np.array([60 * int(time[:2]) + int(time[3:]) for time, _ in _PROFILE])
    width = np.array([size for _, size in _PROFILE])[np.searchsorted(starts, minute, side="right") - 1]
    width = width * LEVELS[instrument] / LEVELS["NQ"]
    day = local.normalize().factorize()[0]
    width = width * rng.lognormal(0, 0.35, day.max() + 1)[day]
    news = rng.random(day.max() + 1) < 0.2
    width = np.where(news[day] & (minute >= 510) & (minute < 525), 2.5 * width, width)
    reach = width * rng.lognormal(0, 0.3, len(minute)) / 2
    moves = np.rint(rng.normal(0, 0.8, len(minute)) * reach / tick)
    close = LEVELS[instrument] // tick + np.cumsum(moves)
    opened = np.append(close[:1], close[:-1])
    wick = np.rint(rng.random((2, len(minute))) * reach / tick)
    return pd.DataFrame(
        {
            "timestamp": opened_at,
            "open": opened * tick,
            "high": (np.maximum(opened, close) + wick[0]) * tick,
            "low": (np.minimum(opened, close) - wick[1]) * tick,
            "close": close * tick,
            "volume": pd.array(rng.integers(20, 400, len(minute)), dtype="Int64"),
        }
    )


@cache
def _all_minutes() -> pd.DatetimeIndex:
    """Computing the calendar takes longer than the prices."""
    return session_minutes(date(2019, 1, 1), date(2026, 12, 31))


def new_york_minutes(bars: pd.DataFrame) -> np.ndarray:
    """Minute of the New York day of each bar, (n,) int."""
    local = bars["timestamp"].dt.tz_convert(NEW_YORK).dt
    return (local.hour * 60 + local.minute).to_numpy()


def part(bars: pd.DataFrame, first: int, end: int) -> pd.DataFrame:
    """The bars from a minute of the New York day (included) to another."""
    minute = new_york_minutes(bars)
    return bars.loc[(minute >= first) & (minute < end)].reset_index(drop=True)


def written(bars: pd.DataFrame, zone: str, late: int = 0) -> pd.DataFrame:
    """The bars with the naive wall clock of a zone, stamped `late` minutes after their opens."""
    local = bars["timestamp"].dt.tz_convert(zone).dt.tz_localize(None)
    return bars.assign(timestamp=local + pd.Timedelta(minutes=late))
