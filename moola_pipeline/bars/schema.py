"""What a bar is: columns, dtypes, instruments, and the digest of a table's content."""

import hashlib
import json
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pandas as pd

PRICE_COLUMNS = ("open", "high", "low", "close")
RAW_COLUMNS = ("timestamp", *PRICE_COLUMNS, "volume")
BAR_COLUMNS = (*RAW_COLUMNS, "session", "contract", "segment")
BAR_INTERVAL = timedelta(minutes=1)
MAX_GAP = timedelta(minutes=10)


@dataclass(frozen=True)
class Instrument:
    """A traded contract family; `tick_points` is its smallest price step in index points."""

    name: str
    tick_points: float


NQ = Instrument("NQ", 0.25)
INSTRUMENTS = {"NQ": NQ, "ES": Instrument("ES", 0.25)}


def content_digest(frame: pd.DataFrame, columns: tuple[str, ...] | None = None) -> str:
    """SHA256 over name, dtype, length and values of each column: the version of the data.

    It does not depend on the file the table came from, nor on the row index. A missing value
    counts as missing whatever bytes lie beneath it.
    """
    digest = hashlib.sha256(f"{len(frame)}".encode())
    for name in columns or tuple(frame.columns):
        column = frame[name]
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
        storage = getattr(column.dtype, "numpy_dtype", column.dtype)  # of Int64 and boolean: int64 and bool
        numbers = column.to_numpy(storage, na_value=0) if missing.any() else column.to_numpy(storage)
        return storage.name, numbers.tobytes()
    codes, names = pd.factorize(column, sort=True)
    listed = json.dumps([str(name) for name in names])
    return "text", listed.encode() + codes.astype(np.int64).tobytes()
