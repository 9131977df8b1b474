"""Rules for the rows of a vendor's file: time, prices and cells."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa

from moola_pipeline.bars.instruments import Instrument
from moola_pipeline.bars.schema import BAR_INTERVAL, BAR_RULES, PRICE_COLUMNS, BarRule, nanoseconds
from moola_pipeline.bars.sessions import session_of

MINUTE_NS = BAR_INTERVAL // timedelta(microseconds=1) * 1000
LOWEST_POINTS, HIGHEST_POINTS = 100.0, 1_000_000.0
"""Range of plausible prices: NQ and ES never traded below 660 points."""
MAX_RATIO = 2.0
"""Largest ratio of a price to the median close of its session; CME halts trading at 20 % in a day."""
NEEDS_TIME = "have a time, written as in most rows"
NEEDS_NUMBERS = "have numbers as prices and volume"
NEEDS_CELLS = "have a cell for each column"
_QUOTED_LENGTH = 60


@dataclass(frozen=True)
class CellFault:
    """Invalid cells of one column.

    Attributes:
        requirement: The broken requirement, worded as in a BarRule.
        broken: (n,) bool, rows with an invalid cell.
        column: Column name in the file; "" if `cells` holds whole lines.
        cells: (n,) contents of the cells.
    """

    requirement: str
    broken: np.ndarray
    column: str
    cells: pa.ChunkedArray

    def quote(self, row: int | np.integer) -> str:
        """Content of row `row` (from 0), as it stands in the file."""
        text = str(self.cells[int(row)].as_py())
        content = repr(text if len(text) <= _QUOTED_LENGTH else f"{text[:_QUOTED_LENGTH]}...")
        return f"{self.column or 'the line'} is {content}"


def _no_time(bars: pd.DataFrame, _: Instrument) -> np.ndarray:
    return bars["timestamp"].isna().to_numpy()


def _before_listing(bars: pd.DataFrame, instrument: Instrument) -> np.ndarray:
    return (bars["timestamp"] < _first_evening(instrument)).to_numpy()


def _off_minute(bars: pd.DataFrame, _: Instrument) -> np.ndarray:
    return (nanoseconds(bars) % MINUTE_NS != 0) & bars["timestamp"].notna().to_numpy()


def _out_of_bounds(bars: pd.DataFrame, _: Instrument) -> np.ndarray:
    return _any_price(bars, LOWEST_POINTS, HIGHEST_POINTS)


def _far_from_session(bars: pd.DataFrame, _: Instrument) -> np.ndarray:
    """True (n,) where a price is over twice, or under half, the median close of its session."""
    sound = bars["timestamp"].notna().to_numpy() & ~_any_price(bars, LOWEST_POINTS, HIGHEST_POINTS)
    close = bars["close"].where(sound)
    sessions = session_of(pd.DatetimeIndex(bars["timestamp"])).to_numpy()
    medians = close.groupby(sessions).transform("median").to_numpy()
    return sound & _any_price(bars, medians / MAX_RATIO, medians * MAX_RATIO)


def _any_price(bars: pd.DataFrame, lowest: np.ndarray | float, highest: np.ndarray | float) -> np.ndarray:
    out = np.zeros(len(bars), bool)
    for name in PRICE_COLUMNS:
        price = bars[name].to_numpy()
        out |= (price < lowest) | (price > highest)  # NaN passes: another rule rejects it
    return out


def _first_evening(instrument: Instrument) -> datetime:
    """The midnight UTC before the evening on which the first session opened."""
    first = instrument.listed - timedelta(days=1)
    return datetime(first.year, first.month, first.day, tzinfo=UTC)


_CORRECT_DATES = "Correct the dates (year, order of day and month), or export it again."
ROW_RULES = (
    BarRule(NEEDS_TIME, _no_time, "Correct those cells, or export it again."),
    BarRule("open after its instrument was listed", _before_listing, _CORRECT_DATES),
    BarRule("open on a whole minute", _off_minute, "Export one-minute bars."),
    *BAR_RULES,
    BarRule(
        f"have prices from {LOWEST_POINTS:,.0f} to {HIGHEST_POINTS:,.0f} points",
        _out_of_bounds,
        "Export index points, not cents or another unit.",
    ),
    BarRule(
        f"have prices within {MAX_RATIO:g} times the median close of its session",
        _far_from_session,
        "Correct them, or export it again.",
    ),
)
"""Rules for each row, in the order of report: the rules about time come first."""
