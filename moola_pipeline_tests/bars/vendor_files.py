"""Made-up files in the formats of the vendors."""

import gzip
import io
import zipfile
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pyarrow as pa

from moola_pipeline.bars.schema import PRICE_COLUMNS
from moola_pipeline_tests.bars.examples import wall_clock


def ninjatrader(bars: pd.DataFrame) -> bytes:
    """`20250123 215600;22018.5;...;218`, in UTC, a minute after each open."""
    return _lines(wall_clock(bars, "UTC", minutes_late=1), "%Y%m%d %H%M%S", ";")


def metatrader(bars: pd.DataFrame) -> bytes:
    """`2026.02.01,18:00,...,0` in EST all year."""
    return _lines(wall_clock(bars, "Etc/GMT+5"), "%Y.%m.%d,%H:%M", ",")


def firstrate(bars: pd.DataFrame, header: bool = True) -> bytes:
    """`2023-11-19 18:00:00,...,571` in New York time."""
    names = b"timestamp,open,high,low,close,volume\n" if header else b""
    return names + _lines(wall_clock(bars, "America/New_York"), "%Y-%m-%d %H:%M:%S", ",")


def databento_csv(bars: pd.DataFrame, pretty: bool, symbol: str = "NQH4") -> bytes:
    """Fixed-point prices and nanoseconds, or decimal prices and ISO times if pretty."""
    times = bars["timestamp"]
    out = pd.DataFrame(
        {
            "ts_event": times.dt.strftime("%Y-%m-%dT%H:%M:%S.%f000Z") if pretty else times.astype("int64"),
            "rtype": 33,
            "publisher_id": 1,
            "instrument_id": 5482,
        }
    )
    for name in PRICE_COLUMNS:
        out[name] = bars[name].map("{:.9f}".format) if pretty else (bars[name] * 1e9).astype("int64")
    return out.assign(volume=bars["volume"], symbol=symbol).to_csv(index=False).encode()


TWO_CONTRACTS = (("NQH4", 1), ("NQM4", 2))


def dbn(
    bars: pd.DataFrame,
    schema: str = "ohlcv-1m",
    rtype: int = 33,
    symbols: tuple[tuple[str, int], ...] = TWO_CONTRACTS,
) -> bytes:
    """Databento's binary format; the first half of the bars is of instrument 1, the rest of 2."""
    import databento_dbn as dbn

    days = {"start_date": bars["timestamp"].iloc[0].date(), "end_date": date(2100, 1, 1)}
    mapped: Any = [
        SimpleNamespace(
            raw_symbol=name,
            intervals=[SimpleNamespace(symbol=str(number), **days) for one, number in symbols if one == name],
        )
        for name in dict(symbols)
    ]
    start = int(bars["timestamp"].astype("int64").iloc[0])
    raw, number = dbn.SType.from_str("raw_symbol"), dbn.SType.from_str("instrument_id")
    metadata = dbn.Metadata("GLBX.MDP3", start, raw, number, dbn.Schema.from_str(schema), mappings=mapped)
    times = bars["timestamp"].astype("int64").tolist()
    opens, highs, lows, closes = ((bars[name] * 1e9).astype("int64").tolist() for name in PRICE_COLUMNS)
    volumes = bars["volume"].astype("int64").tolist()
    records = [
        dbn.OHLCVMsg(rtype, 1, 1 + (2 * row >= len(bars)), *values)
        for row, values in enumerate(zip(times, opens, highs, lows, closes, volumes, strict=True))
    ]
    return bytes(metadata) + b"".join(map(bytes, records))


def gzipped(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


def zstd(content: bytes) -> bytes:
    return pa.Codec("zstd").compress(content, asbytes=True)


def zipped(*contents: bytes) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, content in enumerate(contents):
            member = zipfile.ZipInfo(f"{number}.csv")
            archive.writestr(member, content, zipfile.ZIP_DEFLATED)
    return sink.getvalue()


def saved(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def _lines(bars: pd.DataFrame, time: str, separator: str) -> bytes:
    rows = bars.assign(timestamp=bars["timestamp"].dt.strftime(time))
    text = rows.to_csv(index=False, header=False, sep=separator)
    return text.replace('"', "").encode()
