"""Rows of a vendor's file before cleaning: prices in points, whole volumes, contracts."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from moola_pipeline.bars.columns import FileColumns
from moola_pipeline.bars.row_rules import NEEDS_TIME, CellFault
from moola_pipeline.bars.schema import PRICE_COLUMNS
from moola_pipeline.errors import BadInput

CONTRACT_CODE = re.compile(r"([A-Z0-9]{1,4})[FGHJKMNQUVXZ]\d{1,4}")
"""Root, month letter and year, as in NQH5; a continuous symbol does not match."""
MAX_VOLUME = 2**53
WHOLE_VOLUME = "have a volume that is a whole number of contracts"
FIXED_POINT = 1e9
"""Fixed-point units of an index point in Databento's csv, if its prices are not decimal."""
MAX_POINTS = 1e8
"""Greater prices are in fixed point: no index is so high."""


@dataclass(frozen=True)
class RawRows:
    """The rows of a file before validation.

    Attributes:
        frame: RAW_COLUMNS, and `contract` (str) if the file has it.
        faults: Invalid cells.
    """

    frame: pd.DataFrame
    faults: tuple[CellFault, ...]


def raw_rows(
    read: FileColumns,
    columns: Mapping[str, str],
    timestamps: pd.Series,
    contract: pd.Series | None,
    may_be_fixed: bool,
) -> RawRows:
    """Assemble the columns of a file.

    Args:
        read: Column values.
        columns: Column name of each role.
        timestamps: (n,) bar opens in UTC, NaT where a cell is not a time.
        contract: (n,) as `contract_codes` returns it.
        may_be_fixed: True if prices above MAX_POINTS are in fixed point.
    """
    values = read.values
    prices = {name: _points(values[name].to_numpy(), may_be_fixed) for name in PRICE_COLUMNS}
    frame = pd.DataFrame({"timestamp": timestamps, **prices})
    faults = [*read.faults, *_time_fault(values["time"], columns, timestamps)]
    frame["volume"], odd = _volume(values.get("volume"), len(frame))
    if odd.any():
        faults.append(CellFault(WHOLE_VOLUME, odd, columns["volume"], values["volume"]))
    if contract is not None:
        frame["contract"] = contract
    return RawRows(frame, tuple(faults))


def contract_codes(values: pa.ChunkedArray, named: bool, instrument: str, source: str) -> pd.Series | None:
    """The contract of each row (n,) str; None if the column holds something else, as one continuous symbol.

    Args:
        values: (n,) text.
        named: True if the user named this column as the contract.
        instrument: Required instrument of the contracts.
        source: Name of the file, for errors.

    Raises:
        BadInput: If the codes are those of another instrument.
    """
    codes = values.to_pandas().astype("str")
    matches = [CONTRACT_CODE.fullmatch(code) for code in codes.dropna().unique()]
    roots = {match[1] for match in matches if match}
    if None in matches or not matches:
        return codes if named and codes.notna().any() else None
    if roots != {instrument}:
        raise BadInput(
            f"{source}: the contracts must be of instrument {instrument}, got {', '.join(sorted(roots))}. "
            "Name the instrument with --instrument, or export one instrument only."
        )
    return codes


def time_column(columns: Mapping[str, str]) -> str:
    """Name of the time column, or of the date and clock columns, for errors."""
    return " and ".join(columns[role] for role in ("date", "time") if role in columns)


def _time_fault(times: pa.ChunkedArray, columns: Mapping[str, str], timestamps: pd.Series) -> list[CellFault]:
    """Cells that are neither empty nor a time."""
    broken = timestamps.isna().to_numpy() & times.is_valid().to_numpy()
    return [CellFault(NEEDS_TIME, broken, time_column(columns), times)] if broken.any() else []


def _points(prices: np.ndarray, may_be_fixed: bool) -> np.ndarray:
    if may_be_fixed and np.isfinite(prices).any() and np.nanmedian(prices) >= MAX_POINTS:
        return prices / FIXED_POINT
    return prices


def _volume(values: pa.ChunkedArray | None, n_rows: int) -> tuple[pd.Series, np.ndarray]:
    """Whole volumes, null where unknown, and True (n_rows,) where one is not whole."""
    if values is None:
        return pd.Series(pd.NA, range(n_rows), dtype="Int64"), np.zeros(n_rows, bool)
    volume = values.to_numpy()
    known = ~np.isnan(volume)
    odd = known & ~((np.abs(volume) < MAX_VOLUME) & (volume == np.rint(volume)))
    whole = np.where(known & ~odd, volume, 0).astype(np.int64)
    return pd.Series(pd.arrays.IntegerArray(whole, mask=~known | odd)), odd
