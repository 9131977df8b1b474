"""Bars of an instrument as arrays, and what the page draws of one window: nothing later than its last bar."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import talib

from moola_pipeline.bars.schema import PRICE_COLUMNS, nanoseconds
from moola_pipeline.bars.sessions import NEW_YORK
from moola_pipeline.windows.window_geometry import BARS_BEFORE, CORE_FIRST, CORE_LAST, WINDOW_BARS

ATR_BARS = 10
CONTEXT_MINUTES = (5, 15)
CONTEXT_BARS_SHOWN = 96
"""Bars of the second pane: 8 hours of 5 minutes, or a day of 15."""
STOCK_MARKET_OPEN = 9 * 60 + 30
"""Minute of the New York day at which the overnight session ends."""
SESSION_OPEN = 18 * 60
_MINUTE, _SECOND = 60 * 10**9, 10**9
MAX_DAYS_BETWEEN_SESSIONS = 5


class DrawnBars(NamedTuple):
    """Consecutive bars of the table, n of them.

    Attributes:
        opened: (n,) int64 UTC opens, ns.
        prices: (n, 4) open, high, low, close, index points.
        volume: (n,) float64, NaN where unknown.
    """

    opened: np.ndarray
    prices: np.ndarray
    volume: np.ndarray


class ChartBars:
    """The bar table of an instrument, from which windows are cut in milliseconds.

    Attributes:
        opened: (n_bars,) int64 UTC opens, ns.
        segment: (n_bars,) int.
        session: (n_bars,) datetime64[D] trading day.
    """

    def __init__(self, table: pd.DataFrame) -> None:
        self.opened = nanoseconds(table)
        self.segment = table["segment"].to_numpy()
        self.session = table["session"].to_numpy("datetime64[D]")
        self._prices = [table[name].to_numpy() for name in PRICE_COLUMNS]
        self._volume = table["volume"].array
        self._contract = table["contract"].array
        self._rows: dict[str, int | None] = {}

    def __len__(self) -> int:
        """Number of bars."""
        return len(self.opened)

    def row_at(self, opened_at: str) -> int | None:
        """Row of the bar that opens at a UTC time, ISO 8601; None if there is none."""
        if opened_at not in self._rows:
            wanted = np.datetime64(opened_at.removesuffix("Z"), "ns").astype(np.int64)
            row = int(np.searchsorted(self.opened, wanted))
            self._rows[opened_at] = row if row < len(self) and self.opened[row] == wanted else None
        return self._rows[opened_at]

    def stamp(self, row: int) -> str:
        """UTC open of a bar, ISO 8601."""
        return f"{np.datetime64(int(self.opened[row]), 'ns').astype('M8[s]')}Z"

    def bars(self, first: int, end: int) -> DrawnBars:
        """The bars of rows `first` to `end - 1`."""
        rows = slice(first, end)
        volume = self._volume[rows].to_numpy(np.float64, na_value=np.nan)
        return DrawnBars(self.opened[rows], np.stack([price[rows] for price in self._prices], axis=1), volume)

    def is_whole(self, bar0: np.ndarray) -> np.ndarray:
        """True (n,) for rows that can be bar 0: 40 bars before and 105 bars from them on in one segment."""
        first, last = bar0 - BARS_BEFORE, bar0 + WINDOW_BARS - 1
        inside = (first >= 0) & (last < len(self))
        whole = self.segment[np.maximum(first, 0)] == self.segment[np.minimum(last, len(self) - 1)]
        return inside & whole

    def view(self, bar0: int) -> dict[str, Any]:
        """What the page draws of the window at a row: its bars, 40 before it, and what led to them.

        Returns:
            `bars`: [seconds since 1970 on the New York clock, open, high, low, close, ATR or None] from bar
            -40 to bar 104; `first`, `core`: bar numbers; `session`; `context`: by minutes; `levels`.
        """
        end = bar0 + WINDOW_BARS
        segment_first = int(np.searchsorted(self.segment, self.segment[bar0]))
        until = self.bars(segment_first, end)
        high, low, close = (np.ascontiguousarray(price) for price in until.prices.T[1:])
        atr = talib.ATR(high, low, close, ATR_BARS)
        shown = slice(bar0 - BARS_BEFORE - segment_first, None)
        clock = new_york_seconds(until.opened[shown])
        rows = zip(clock.tolist(), until.prices[shown].tolist(), atr[shown].tolist(), strict=True)
        first, today = self._sessions(end)
        return {
            "bars": [
                [second, *prices, None if size != size else round(size, 4)] for second, prices, size in rows
            ],
            "first": -BARS_BEFORE,
            "core": [CORE_FIRST, CORE_LAST],
            "session": str(self.session[bar0]),
            "context": {
                str(minutes): _context(self.bars(first, end), today - first, minutes)
                for minutes in CONTEXT_MINUTES
            },
            "levels": self._levels(first, today, end),
        }

    def _sessions(self, end: int) -> tuple[int, int]:
        """First row of the session before that of row `end - 1`, and of that one; equal if there is none."""
        day = self.session[end - 1]
        today = int(np.searchsorted(self.session, day))
        if not today or day - self.session[today - 1] > np.timedelta64(MAX_DAYS_BETWEEN_SESSIONS, "D"):
            return today, today
        if self._contract[today - 1] != self._contract[end - 1] and not pd.isna(self._contract[end - 1]):
            return today, today  # another contract trades at other prices
        return int(np.searchsorted(self.session, self.session[today - 1])), today

    def _levels(self, first: int, today: int, end: int) -> dict[str, float]:
        """High and low of the prior session, and of the night before the stock market opens, so far."""
        levels = {}
        if first < today:
            levels |= _extremes("prior day", self.bars(first, today).prices)
        session = self.bars(today, end)
        minute = new_york_seconds(session.opened) // 60 % (24 * 60)
        night = (minute >= SESSION_OPEN) | (minute < STOCK_MARKET_OPEN)
        return levels | (_extremes("overnight", session.prices[night]) if night.any() else {})


def new_york_seconds(opened: np.ndarray) -> np.ndarray:
    """UTC times (n,) in ns as seconds since 1970 on the wall clock of New York."""
    local = pd.DatetimeIndex(opened.astype("M8[ns]"), tz="UTC").tz_convert(NEW_YORK).tz_localize(None)
    return local.as_unit("s").asi8


def _extremes(name: str, prices: np.ndarray) -> dict[str, float]:
    return {f"{name} high": float(prices[:, 1].max()), f"{name} low": float(prices[:, 2].min())}


def _context(bars: DrawnBars, today: int, minutes: int) -> dict[str, Any]:
    """The last bars of `minutes` minutes, and the volume-weighted price since the session opened.

    Args:
        bars: Of this session and the one before.
        today: Index of this session's first bar.
        minutes: Length of the bars.
    """
    bucket = bars.opened // (minutes * _MINUTE)
    first = np.flatnonzero(np.diff(bucket, prepend=bucket[:1] - 1))
    last = np.append(first[1:], len(bucket)) - 1
    columns = (
        new_york_seconds(bucket[first] * minutes * _MINUTE),
        bars.prices[first, 0],
        np.maximum.reduceat(bars.prices[:, 1], first),
        np.minimum.reduceat(bars.prices[:, 2], first),
        bars.prices[last, 3],
    )
    rows = [list(row) for row in zip(*(column.tolist() for column in columns), strict=True)]
    price = _weighted_price(bars, today)[last]
    vwap = [None if value != value else round(value, 2) for value in price.tolist()]
    kept = slice(-CONTEXT_BARS_SHOWN, None)
    return {"bars": rows[kept], "vwap": vwap[kept] if any(vwap) else None}


def _weighted_price(bars: DrawnBars, today: int) -> np.ndarray:
    """Volume-weighted mean of (high + low + close) / 3 since the session opened: (n,), NaN where unknown."""
    price = np.full(len(bars.opened), np.nan)
    volume = bars.volume[today:]
    if np.isnan(volume).any():
        return price
    sold = np.cumsum(volume)
    paid = np.cumsum(volume * bars.prices[today:, 1:].mean(axis=1))
    price[today:] = np.divide(paid, sold, out=np.full(len(sold), np.nan), where=sold > 0)
    return price
