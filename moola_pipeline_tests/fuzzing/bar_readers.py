"""Readers of bars: every format as vendors write it, packed or not, and what `moola predict` does with it."""

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from moola_pipeline.bars.instruments import INSTRUMENTS
from moola_pipeline.bars.rolls import read_rolls
from moola_pipeline.bars.schema import BAR_RULES, nanoseconds
from moola_pipeline.bars.table import contract_of
from moola_pipeline.bars.vendor import read_recorded_file, read_vendor_file
from moola_pipeline.bars.vendor_options import VendorOptions
from moola_pipeline.inference.bar_tables import table_from_bars, table_from_frame
from moola_pipeline_tests.bars import vendor_files as made
from moola_pipeline_tests.bars.examples import made_up_bars, wall_clock
from moola_pipeline_tests.fuzzing.damage import damaged_bytes, damaged_json, damaged_table
from moola_pipeline_tests.fuzzing.harness import Reader

N_BARS = 12
ANY_OPTIONS = (
    VendorOptions(),
    VendorOptions(timezone="America/New_York"),
    VendorOptions(timezone="UTC", stamp="close"),
    VendorOptions(format="firstrate"),
    VendorOptions(columns={"time": "1", "open": "2", "high": "3", "low": "4", "close": "5"}, timezone="UTC"),
    VendorOptions(instrument="ES"),
)
PARQUET_TYPES = (
    *(pa.string(), pa.large_string(), pa.binary(), pa.bool_(), pa.int8(), pa.int64(), pa.uint64()),
    *(pa.float32(), pa.float64(), pa.float16(), pa.decimal128(20, 4), pa.date32(), pa.time64("us")),
    *(
        pa.timestamp("s"),
        pa.timestamp("ns"),
        pa.timestamp("us", "UTC"),
        pa.timestamp("ms", "America/New_York"),
    ),
    *(
        pa.timestamp("ms", "America/New_York"),
        pa.timestamp("us", "Nowhere/Land"),
        pa.duration("us"),
        pa.null(),
        pa.string_view(),
    ),
    pa.dictionary(pa.int8(), pa.string()),
)


def _readable(content: bytes, folder: Path, options: VendorOptions) -> None:
    path = made.saved(folder / "nq.csv", content)
    bars = read_vendor_file(path, options)
    _require_sound(bars.frame, bars.facts.instrument)
    facts = bars.facts
    again = VendorOptions(facts.format, facts.timezone, facts.stamp, facts.columns, facts.instrument)
    if not read_recorded_file(path, again).frame.equals(bars.frame):
        raise ValueError("read again with the recorded options, the file gives other bars")


def _require_sound(frame: pd.DataFrame, instrument: str) -> None:
    broken = [rule.requirement for rule in BAR_RULES if rule.broken(frame, INSTRUMENTS[instrument]).any()]
    late = np.diff(nanoseconds(frame)) <= 0
    if broken or late.any() or pd.DatetimeIndex(frame["timestamp"]).hasnans:
        raise ValueError(f"accepted, but the bars are invalid: {broken}")


def _one_of(*options: VendorOptions) -> Callable[[bytes, Path], None]:
    """A reader whose options depend on the content, so that the bytes alone reproduce a crash."""

    def read(content: bytes, folder: Path) -> None:
        _readable(content, folder, options[zlib.crc32(content) % len(options)])

    return read


def _texts() -> list[bytes]:
    bars = made_up_bars(N_BARS)
    naive = wall_clock(bars, "America/New_York")
    day = naive["timestamp"].dt
    parted = naive.drop(columns="timestamp").assign(date=day.strftime("%m/%d/%Y"), time=day.strftime("%H:%M"))
    return [
        bars.to_csv(index=False).encode(),
        naive.to_csv(index=False, sep=";").encode(),
        bars.assign(timestamp=bars["timestamp"].astype("int64")).to_csv(index=False, sep="\t").encode(),
        parted.to_csv(index=False).encode(),
        bars.assign(contract="NQH4").to_csv(index=False).encode(),
        bars.to_csv(index=False, header=False).encode(),
        bars.to_csv(index=False, sep=";", decimal=",").encode(),
        b"NQ 1 minute\n" + made_up_bars(130).to_csv(index=False, sep="|").encode(),
    ]


def _jsons() -> list[bytes]:
    bars = made_up_bars(N_BARS)
    counted = bars.assign(timestamp=bars["timestamp"].astype("int64") // 1_000_000).astype(object)
    records = counted.to_dict("records")
    return [
        json.dumps(content).encode()
        for content in (
            counted.to_numpy().tolist(),
            records,
            {"symbol": "NQH4", "results": records},
            {"bars": {"NQ": records}},
            counted.to_dict("list"),
            counted.set_index("timestamp").to_dict("split"),
        )
    ]


def _parquets() -> list[bytes]:
    bars = made_up_bars(N_BARS)
    indexed = bars.set_index("timestamp")
    return [
        _as_parquet(pa.Table.from_pandas(bars)),
        _as_parquet(pa.Table.from_pandas(indexed)),
        _as_parquet(pa.Table.from_pandas(wall_clock(bars, "UTC").assign(symbol="NQH4"))),
        _as_parquet(pa.Table.from_pandas(made_up_bars(130))),
    ]


def _as_parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def damaged_parquet(rng: np.random.Generator, content: bytes) -> bytes:
    """A parquet file with damaged columns, types, values or bytes."""
    if rng.random() < 0.5:
        return _damaged_ends(rng, content)
    table = pq.read_table(io.BytesIO(content))
    for _ in range(int(rng.integers(1, 4))):
        if table.num_columns:
            with suppress(pa.ArrowException):  # a type whose rows Arrow cannot select
                table = _other_column(rng, table)
    try:
        return _as_parquet(table)
    except (pa.ArrowException, OSError):  # a type that parquet cannot store
        return _damaged_ends(rng, content)


def _damaged_ends(rng: np.random.Generator, content: bytes) -> bytes:
    """Damage bytes anywhere, or only in the footer with its lengths, types and counts."""
    if rng.random() < 0.5 or len(content) < 12:
        return damaged_bytes(rng, content)
    footer = min(int.from_bytes(content[-8:-4], "little") + 8, len(content))
    return content[:-footer] + damaged_bytes(rng, content[-footer:])


def _other_column(rng: np.random.Generator, table: pa.Table) -> pa.Table:
    place, kind = int(rng.integers(table.num_columns)), int(rng.integers(6))
    name, column = table.column_names[place], table.column(place)
    if kind == 0:
        return table.remove_column(place)
    if kind == 1:
        names = ["open", "time", "date", "", "a\nb", "é" * 90, "window_id", "label", "CLOSE", "volume#2"]
        return table.append_column(str(rng.choice(names)), column)
    if kind == 2 and len(table):
        return table.take(pa.array(rng.integers(0, len(table), int(rng.integers(0, len(table) + 2)))))
    if kind == 3:
        hidden = pa.array(rng.random(len(table)) < 0.3)
        return table.set_column(place, name, pc.if_else(hidden, pa.scalar(None, column.type), column))  # type: ignore[attr-defined]
    if kind == 4:
        lengths = [int(rng.integers(3)) for _ in column]
        values = column.take(pa.array(np.repeat(np.arange(len(lengths)), lengths))).combine_chunks()
        lists = pa.ListArray.from_arrays(pa.array(np.cumsum([0, *lengths]), pa.int32()), values)
        return table.set_column(place, name, lists)
    wanted = PARQUET_TYPES[int(rng.integers(len(PARQUET_TYPES)))]
    try:
        return table.set_column(place, name, column.cast(wanted, safe=False))
    except pa.ArrowException:
        return table.set_column(place, name, pa.nulls(len(table), wanted))


def _dbns() -> list[bytes]:
    return [made.dbn(made_up_bars(N_BARS)), made.dbn(made_up_bars(N_BARS), "ohlcv-1h", 34)]


def damaged_dbn(rng: np.random.Generator, content: bytes) -> bytes:
    """A DBN file with damaged lengths, record fields or bytes."""
    kind = int(rng.integers(4))
    if kind == 0:
        return content[:4] + rng.bytes(4) + content[8:]
    start = 8 + int.from_bytes(content[4:8], "little")
    if kind == 1:
        return content[:8] + damaged_bytes(rng, content[8:start]) + content[start:]
    if kind == 2:
        extremes = [0, 1, -1, 2**63 - 1, -(2**63), 2**31, 10**18, 18_000 * 10**9 + 1]
        at = start + 56 * int(rng.integers(N_BARS)) + int(rng.choice([0, 8, 16, 24, 32, 40, 48]))
        return content[:at] + struct.pack("<q", extremes[int(rng.integers(8))]) + content[at + 8 :]
    return damaged_bytes(rng, content)


def _packed() -> list[bytes]:
    text = made_up_bars(N_BARS).to_csv(index=False).encode()
    two = made.gzipped(text) + made.gzipped(text.partition(b"\n")[2])
    return [made.gzipped(text), two, made.zstd(text), made.zipped(text), made.zipped(_parquets()[0])]


def damaged_pack(rng: np.random.Generator, content: bytes) -> bytes:
    """A compressed file with damaged bytes, or damaged content in a valid archive."""
    if rng.random() < 0.6:
        return damaged_bytes(rng, content)
    inner = damaged_table(rng, _texts()[0])
    wrap = (made.gzipped, made.zstd, made.zipped, _twice, _many, _stored)[int(rng.integers(6))]
    packed = wrap(inner)
    return damaged_bytes(rng, packed) if rng.random() < 0.2 else packed


def _twice(inner: bytes) -> bytes:
    return made.zipped(made.gzipped(inner))


def _many(inner: bytes) -> bytes:
    return made.zipped(*[inner] * 3)


def _stored(inner: bytes) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr(zipfile.ZipInfo("../../nq.csv"), inner)
        archive.writestr(zipfile.ZipInfo("__MACOSX/nq.csv"), b"")
    return sink.getvalue()


def _marked() -> list[bytes]:
    bars = made_up_bars(210)
    return [bars.to_csv(index=False).encode(), _as_parquet(pa.Table.from_pandas(bars))]


def _damaged_marked(rng: np.random.Generator, content: bytes) -> bytes:
    return (damaged_parquet if content.startswith(b"PAR1") else damaged_table)(rng, content)


def _marks(content: bytes, folder: Path) -> None:
    """Read and predict a file like `moola predict`, with an untrained model."""
    from moola_pipeline.inference.hindsight import predict_expansions

    bars = read_vendor_file(made.saved(folder / "nq.csv", content))
    table = table_from_bars(bars, "nq.csv")
    _require_covered(predict_expansions(_untrained(), table, INSTRUMENTS["NQ"].tick_points, "1"), len(table))


def _require_covered(found: Any, n_bars: int) -> None:
    if not 0 <= int(found.not_covered["bars"].sum()) <= n_bars:
        raise ValueError("more bars are reported as not covered than the table has")


@cache
def _untrained() -> Any:
    from moola_pipeline_tests.models.test_expansion_model import made_model

    return made_model()


def _frames() -> list[bytes]:
    rows = made_up_bars(150)
    rows["timestamp"] = rows["timestamp"].dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    return [str(rows.to_json(orient="split", index=False)).encode()]


def _served(content: bytes, _: Path) -> None:
    """A frame as MLflow's server passes it on: JSON of columns and rows."""
    import json

    try:
        given = json.loads(content)
        frame = pd.DataFrame(given["data"], columns=given["columns"])
    except (ValueError, KeyError, TypeError, RecursionError, AttributeError):
        return  # MLflow's server refuses it
    if not all(isinstance(name, str) for name in frame.columns):
        return  # MLflow refuses it by the model's signature
    table_from_frame(frame)


def _rolls() -> list[bytes]:
    return [
        b"time,old,new\n2024-03-11T22:00:00Z,NQH4,NQM4\n2024-06-17T22:00:00Z,NQM4,NQU4\n",
        b"roll_ts_utc,old,new,note\n2024-03-11 22:00:00,NQH4,NQM4,x\n2024-06-17 22:00:00,NQM4,NQU4,y\n",
    ]


def _rolled(content: bytes, folder: Path) -> None:
    rolls = read_rolls(made.saved(folder / "rolls.csv", content))
    contract_of(pd.Series(made_up_bars(N_BARS)["timestamp"]), rolls)


def _of(write: Callable[[pd.DataFrame], bytes]) -> Callable[[], list[bytes]]:
    return lambda: [write(made_up_bars(N_BARS))]


def _tradingview() -> list[bytes]:
    bars = made_up_bars(N_BARS)
    seconds = bars.assign(time=bars["timestamp"].astype("int64") // 10**9, Volume=bars["volume"])
    return [seconds[["time", "open", "high", "low", "close", "Volume"]].to_csv(index=False).encode()]


def _databento() -> list[bytes]:
    bars = made_up_bars(N_BARS)
    continuous = made.databento_csv(bars, pretty=False, symbol="NQ.c.0")
    return [made.databento_csv(bars, pretty=True), made.databento_csv(bars, pretty=False), continuous]


AS_OPEN, AS_CLOSE = VendorOptions(stamp="open"), VendorOptions(stamp="close")
BAR_READERS = (
    Reader("bars-csv", _texts, damaged_table, _one_of(*ANY_OPTIONS)),
    Reader("bars-json", _jsons, damaged_json, _one_of(*ANY_OPTIONS[:3])),
    Reader("bars-parquet", _parquets, damaged_parquet, _one_of(*ANY_OPTIONS[:3])),
    Reader("bars-databento-csv", _databento, damaged_table, _one_of(VendorOptions())),
    Reader("bars-dbn", _dbns, damaged_dbn, _one_of(VendorOptions())),
    Reader(
        "bars-firstrate",
        lambda: [made.firstrate(made_up_bars(N_BARS)), made.firstrate(made_up_bars(N_BARS), header=False)],
        damaged_table,
        _one_of(VendorOptions(format="firstrate"), VendorOptions()),
    ),
    Reader(
        "bars-ninjatrader",
        _of(made.ninjatrader),
        damaged_table,
        _one_of(VendorOptions(stamp="close"), AS_OPEN),
    ),
    Reader("bars-histdata", _of(made.metatrader), damaged_table, _one_of(VendorOptions(format="histdata"))),
    Reader("bars-tradingview", _tradingview, damaged_table, _one_of(VendorOptions(format="tradingview"))),
    Reader("bars-packed", _packed, damaged_pack, _one_of(VendorOptions())),
    Reader("rolls", _rolls, damaged_table, _rolled),
    Reader("predict", _marked, _damaged_marked, _marks),
    Reader("served-frame", _frames, damaged_json, _served),
)
