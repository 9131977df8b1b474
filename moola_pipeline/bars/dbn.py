"""Databento's binary format (DBN): one-minute bars in fixed point, with the contract of each."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from moola_pipeline.bars.schema import PRICE_COLUMNS
from moola_pipeline.errors import BadInput, install_command

DBN_MAGIC = b"DBN"
DBN_COLUMNS = ("ts_event", *PRICE_COLUMNS, "volume", "symbol", "instrument_id")
PRICE_SCALE = 1e9
"""Fixed-point units of an index point; every tick is exact in them."""
MINUTE_SCHEMA = "ohlcv-1m"
_PRELUDE = 8
"""Bytes of the magic, the version and the length of the metadata."""
_MINUTE_BAR = 33
_RECORD = np.dtype(
    [
        ("length", "u1"),
        ("rtype", "u1"),
        ("publisher_id", "<u2"),
        ("instrument_id", "<u4"),
        ("ts_event", "<u8"),
        *((name, "<i8") for name in PRICE_COLUMNS),
        ("volume", "<u8"),
    ]
)
_LENGTH_UNIT = 4
_NO_PRICE = np.iinfo(np.int64).max
_LAST_TIME = np.iinfo(np.int64).max


def read_dbn(content: bytes, source: str) -> pa.Table:
    """Read the bars of a DBN file as DBN_COLUMNS: times in UTC at the bar's open, prices in points.

    The extra `databento` decodes the metadata; the records have a fixed size and form one array.

    Args:
        content: The decompressed file.
        source: Its name, for errors.

    Raises:
        BadInput: If the extra is not installed, the file is damaged, or it holds records other
            than one-minute bars.
    """
    metadata = _metadata(content, source)
    if metadata.schema != MINUTE_SCHEMA:
        raise BadInput(
            f"{source}: bars must be of one minute, got schema {metadata.schema}. Request {MINUTE_SCHEMA}."
        )
    records = _records(content, source)
    prices = {name: _points(records[name]) for name in PRICE_COLUMNS}
    return pa.table(
        {
            "ts_event": pa.array(records["ts_event"].astype("M8[ns]"), pa.timestamp("ns", "UTC")),
            **prices,
            "volume": records["volume"].astype(np.float64),
            "symbol": pa.array(_symbols(records, metadata.mappings), pa.string(), from_pandas=True),
            "instrument_id": records["instrument_id"],
        }
    )


def _metadata(content: bytes, source: str) -> Any:
    try:
        import databento_dbn as dbn
    except ModuleNotFoundError:
        raise BadInput(
            f"{source}: reading DBN needs the extra databento, which is not installed. "
            f"Run in the project root: {install_command('databento')}"
        ) from None
    try:
        return dbn.Metadata.decode(content[: _PRELUDE + _metadata_length(content)])
    except (dbn.DBNError, ValueError, OverflowError, TypeError) as fault:
        raise _damaged(source, str(fault) or "no metadata") from None


def _metadata_length(content: bytes) -> int:
    return int.from_bytes(content[4:_PRELUDE], "little")


def _records(content: bytes, source: str) -> np.ndarray:
    """All records of the file (n,) of dtype _RECORD, verified to be one-minute bars."""
    body = memoryview(content)[_PRELUDE + _metadata_length(content) :]
    if len(body) % _RECORD.itemsize:
        raise _damaged(source, f"{len(body):,} bytes of records, not a multiple of {_RECORD.itemsize}")
    records = np.frombuffer(body, _RECORD)
    is_bar = (records["length"] == _RECORD.itemsize // _LENGTH_UNIT) & (records["rtype"] == _MINUTE_BAR)
    if not is_bar.all() or (records["ts_event"] > _LAST_TIME).any():
        raise _damaged(source, "records other than one-minute bars")
    return records


def _points(fixed: np.ndarray) -> np.ndarray:
    return np.where(fixed == _NO_PRICE, np.nan, fixed / PRICE_SCALE)


def _symbols(records: np.ndarray, mappings: dict[str, list[dict[str, Any]]]) -> np.ndarray:
    """The symbol of each record (n,), None where the metadata does not map its instrument that day."""
    days = records["ts_event"].astype("M8[ns]").astype("M8[D]")
    symbols = np.full(len(records), None, object)
    for symbol, intervals in mappings.items():
        for interval in intervals:
            if not str(interval["symbol"]).isdecimal():
                continue
            first, end = (pd.Timestamp(interval[name]).to_datetime64() for name in ("start_date", "end_date"))
            in_interval = (
                (records["instrument_id"] == int(interval["symbol"])) & (days >= first) & (days < end)
            )
            symbols[in_interval] = symbol
    return symbols


def _damaged(source: str, came: str) -> BadInput:
    return BadInput(f"{source}: a DBN file must be whole, got: {came.splitlines()[0]}. Download it again.")
