"""Schema of bars: columns, dtypes, rules, and the digest of a table's content."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from moola_pipeline.bars.instruments import NQ, Instrument
from moola_pipeline.errors import IntegrityError

if TYPE_CHECKING:
    from pandera.errors import SchemaError
    from pandera.pandas import Check, DataFrameSchema


class Column(NamedTuple):
    """A column of a table: its name, pandas dtype, meaning with unit, and whether a value may be missing."""

    name: str
    dtype: str
    meaning: str
    nullable: bool = False


BAR_TABLE = (
    Column("timestamp", "datetime64[ns, UTC]", "open of the minute, UTC; strictly increasing"),
    Column("open", "float64", "first price of the minute, index points"),
    Column("high", "float64", "highest price, index points"),
    Column("low", "float64", "lowest price, index points"),
    Column("close", "float64", "last price, index points"),
    Column("volume", "Int64", "contracts traded; missing if the file has none", nullable=True),
    Column("session", "datetime64[ns]", "trading day that the bar belongs to: 18:00 to 17:00 New York"),
    Column("contract", "str", "futures contract, as NQM5; missing if unknown", nullable=True),
    Column(
        "segment", "int32", "run of bars of one session and contract without a gap over 10 minutes, from 0"
    ),
)
"""The canonical bar table."""
BAR_COLUMNS = tuple(column.name for column in BAR_TABLE)
RAW_COLUMNS = BAR_COLUMNS[:6]
PRICE_COLUMNS = RAW_COLUMNS[1:5]
BAR_INTERVAL = timedelta(minutes=1)
MAX_GAP = timedelta(minutes=10)
GRID_TOLERANCE = 1e-6
"""Largest distance of a price from the grid, in ticks: allows for decimal text only."""


@dataclass(frozen=True)
class BarRule:
    """A requirement for every bar, the test for bars that break it, and the remedy.

    `broken` maps n_bars bars and their instrument to (n_bars,) bool.
    """

    requirement: str
    broken: Callable[[pd.DataFrame, Instrument], np.ndarray]
    remedy: str = "Correct the file, or export it again."


def _any_price(bars: pd.DataFrame, is_broken: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    broken = np.zeros(len(bars), bool)
    for name in PRICE_COLUMNS:
        broken |= is_broken(bars[name].to_numpy())
    return broken


def _not_finite(bars: pd.DataFrame, _: Instrument) -> np.ndarray:
    return _any_price(bars, lambda price: ~np.isfinite(price))


def _not_positive(bars: pd.DataFrame, _: Instrument) -> np.ndarray:
    return _any_price(bars, lambda price: price <= 0)


def _disordered(bars: pd.DataFrame, _: Instrument) -> np.ndarray:
    high, low = bars["high"].to_numpy(), bars["low"].to_numpy()
    return _any_price(bars, lambda price: (price > high) | (price < low))


def _off_grid(bars: pd.DataFrame, instrument: Instrument) -> np.ndarray:
    def misses(price: np.ndarray) -> np.ndarray:
        ticks = price / instrument.tick_points
        return np.abs(ticks - np.rint(ticks)) > GRID_TOLERANCE

    return _any_price(bars, misses)


def _negative_volume(bars: pd.DataFrame, _: Instrument) -> np.ndarray:
    return bars["volume"].lt(0).to_numpy(bool, na_value=False)


def _not_later(bars: pd.DataFrame, _: Instrument) -> np.ndarray:
    return np.concatenate([[False], np.diff(nanoseconds(bars)) <= 0])


def _skips_segment(bars: pd.DataFrame, _: Instrument) -> np.ndarray:
    segments = bars["segment"].to_numpy()
    steps = np.diff(segments, prepend=0)
    return (steps != 0) & ((steps != 1) | (np.arange(len(steps)) == 0))


BAR_RULES = (
    BarRule("have four finite prices", _not_finite),
    BarRule("have prices above 0 points", _not_positive),
    BarRule("have low <= open and close <= high", _disordered),
    BarRule("have a volume of 0 or more, or none", _negative_volume),
    BarRule(
        "have prices on the tick grid",
        _off_grid,
        "Export unadjusted futures prices, or name the right instrument.",
    ),
)
"""Rules for single bars, in vendor files and in the canonical table."""
TABLE_RULES = (
    *BAR_RULES,
    BarRule("open after the previous bar", _not_later),
    BarRule("lie in the segment of the previous bar or the next segment, from 0", _skips_segment),
)
"""Rules of the canonical table."""


def broken_rule(rule: BarRule, bars: pd.DataFrame, instrument: Instrument) -> str | None:
    """A sentence with the number of bars that break the rule, and the first; None if none does."""
    broken = np.flatnonzero(rule.broken(bars, instrument))
    if not len(broken):
        return None
    opened_at = bars["timestamp"].iloc[broken[0]]
    return (
        f"every bar must {rule.requirement}, but {len(broken):,} of {len(bars):,} do not, first {opened_at}"
    )


@cache
def bar_schema(instrument: Instrument = NQ) -> "DataFrameSchema":
    """The canonical bar table as a pandera schema: columns, dtypes and TABLE_RULES."""
    import pandera.pandas as pa  # importing it takes longer than checking the table

    def holds(rule: BarRule) -> "Check":
        return pa.Check(lambda bars: not rule.broken(bars, instrument).any(), error=rule.requirement)

    return pa.DataFrameSchema(
        {  # missing prices break a rule, which names the bars
            name: pa.Column(dtype, nullable=nullable or name in PRICE_COLUMNS)
            for name, dtype, _, nullable in BAR_TABLE
        },
        checks=[holds(rule) for rule in TABLE_RULES],
        strict=True,
        ordered=True,
    )


def validate_bars(bars: pd.DataFrame, instrument: Instrument = NQ) -> None:
    """Verify that a table is a canonical bar table of its instrument.

    Raises:
        IntegrityError: If a column or dtype is wrong, or a bar breaks a rule; names the rule, the
            number of bars that break it, and the first of them.
    """
    from pandera.errors import SchemaError, SchemaErrors

    try:
        bar_schema(instrument).validate(bars)
    except SchemaErrors as faults:
        raise IntegrityError(_table_fault(bars, instrument, faults.schema_errors[0])) from None
    except SchemaError as fault:
        raise IntegrityError(_table_fault(bars, instrument, fault)) from None


def _table_fault(bars: pd.DataFrame, instrument: Instrument, fault: "SchemaError") -> str:
    requirement = getattr(fault.check, "error", None)
    for rule in TABLE_RULES:
        if rule.requirement == requirement:
            return f"{instrument.name} bar table: {broken_rule(rule, bars, instrument)}."
    return f"{instrument.name} bar table: {str(fault).splitlines()[0]}."


def nanoseconds(frame: pd.DataFrame, column: str = "timestamp") -> np.ndarray:
    """A column of times of unit ns as (n,) int64 since 1970."""
    return np.asarray(frame[column].astype("int64"))


def content_digest(frame: pd.DataFrame, columns: tuple[str, ...] | None = None) -> str:
    """SHA256 over name, dtype, length and values of each column: the version of the data.

    It depends neither on the source file nor on the row index, nor on the bytes beneath missing
    values.
    """
    digest = hashlib.sha256(f"{len(frame)}".encode())
    for name in columns or tuple(frame.columns):
        column = pd.Series(frame[name])
        missing = column.isna().to_numpy()
        kind, values = _plain_values(column, missing)
        digest.update(f"|{name}:{kind}|".encode())
        digest.update(np.packbits(missing).tobytes())
        digest.update(values)
    return digest.hexdigest()


def _plain_values(column: pd.Series, missing: np.ndarray) -> tuple[str, bytes]:
    if isinstance(column.dtype, pd.DatetimeTZDtype) or column.dtype.kind == "M":
        stamps = column.astype("int64").where(~missing, 0).to_numpy(np.int64)
        return f"time[{column.dtype}]", stamps.tobytes()
    if column.dtype.kind in "iufb":
        storage: Any = getattr(column.dtype, "numpy_dtype", column.dtype)  # int64 beneath Int64
        numbers = column.to_numpy(storage, na_value=0) if missing.any() else column.to_numpy(storage)
        return storage.name, numbers.tobytes()
    codes, names = pd.factorize(column, sort=True)
    listed = json.dumps([str(name) for name in names])
    return "text", listed.encode() + codes.astype(np.int64).tobytes()
