"""Small files that claim or unpack to huge sizes, and the cost of reading them in a separate process."""

import gzip
import hashlib
import io
import json
import resource
import struct
import subprocess
import sys
import tempfile
import time
import warnings
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from moola_pipeline.bars.inbox import _read_options
from moola_pipeline.bars.rolls import read_rolls
from moola_pipeline.bars.store import BarStore, read_manifest
from moola_pipeline.bars.vendor import read_vendor_file
from moola_pipeline.errors import MoolaError
from moola_pipeline.labels.chosen_splits import read_split_choice
from moola_pipeline.labels.importing import build_ledger
from moola_pipeline.storage.backup import LIST_NAME, restore
from moola_pipeline.storage.home import PROJECT_ROOT, Home
from moola_pipeline_tests.bars import vendor_files as made
from moola_pipeline_tests.bars.examples import made_up_bars
from moola_pipeline_tests.fuzzing.harness import peak_bytes
from moola_pipeline_tests.fuzzing.label_readers import bar_table, label_rows

GIB = 2**30
BLOCK = 2**26
N_BLOCKS = 160
"""Number of blocks: 10 GiB."""
ROOM = 12 * GIB
"""Address space of the reading process; it protects the machine, and exceeds the limits of all tests."""
HEADER = "timestamp,open,high,low,close,volume"


def _model(path: Path) -> object:
    from moola_pipeline.models.expansion_model import load_expansion_model

    return load_expansion_model(path.parent)


READ: dict[str, Callable[[Path], object]] = {
    "bars": read_vendor_file,
    "labels": lambda path: build_ledger(path, bar_table()),
    "rolls": read_rolls,
    "manifest": lambda path: read_manifest(BarStore(path.parent, simulated=False)),
    "splits": lambda path: read_split_choice(path.parent),
    "inbox options": _read_options,
    "backup": lambda path: restore(Home(path.parent / "home"), path, force=False),
    "model": _model,
}


@dataclass(frozen=True)
class Cost:
    """Cost of reading a file.

    Attributes:
        message: The error message if it was refused; "" if it was accepted.
        seconds: Of reading only.
        mib: Growth of the process's peak memory.
    """

    message: str
    seconds: float
    mib: int


def costs_of(*pairs: tuple[str, Path]) -> list[Cost]:
    """Read files one after the other in a separate process.

    Each reader has read a small file before. Memory below the peak of an earlier file is not
    measured, so give a file that needs much memory its own process.

    Args:
        pairs: Name of the reader and file.
    """
    words = [str(word) for pair in pairs for word in pair]
    command = [sys.executable, "-m", "moola_pipeline_tests.fuzzing.hostile", *words]
    done = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode:
        raise AssertionError(f"exited with {done.returncode}: {done.stderr[-2000:]}")
    return [Cost(**cost) for cost in json.loads(done.stdout)]


def _measured(reader: str, path: Path) -> Cost:
    peak, began = peak_bytes(), time.perf_counter()
    try:
        READ[reader](path)
        message = ""
    except MoolaError as error:
        message = str(error)
    return Cost(message, time.perf_counter() - began, (peak_bytes() - peak) >> 20)


def _warm_up(reader: str) -> None:
    sound = {
        "bars": made_up_bars(130).to_csv(index=False).encode(),
        "labels": label_rows().to_csv(index=False).encode(),
    }
    with tempfile.TemporaryDirectory() as folder, suppress(MoolaError):
        READ[reader](made.saved(Path(folder) / "config.json", sound.get(reader, b"{}")))


def gzip_bomb() -> bytes:
    """10 MB that unpack to 10 GiB of zeros."""
    return gzip.compress(bytes(BLOCK), 9) * N_BLOCKS


def zstd_bomb() -> bytes:
    """1 MB that unpack to 10 GiB of zeros."""
    return made.zstd(bytes(BLOCK)) * N_BLOCKS


def zip_bomb() -> bytes:
    """1 MB that unpack to 1.06 GiB of zeros."""
    return _zeros_zipped("nq.csv", 17)


def nested_zip() -> bytes:
    """A zip of a zip of a bomb."""
    return made.zipped(made.zipped(made.gzipped(bytes(BLOCK))))


def long_line() -> bytes:
    """A valid header and one line of a gigabyte, compressed."""
    begun = f"{HEADER}\n2024-03-08T14:30:00Z,1".encode()
    return gzip.compress(begun) + gzip.compress(b"1" * BLOCK, 1) * 15


def many_rows_claimed() -> bytes:
    """A parquet file of 1,234,567 bars whose footer claims 2**40 rows."""
    n, claimed = 1_234_567, 2**40
    bars = made_up_bars(1)
    rows = pa.Table.from_pandas(bars).take(pa.array([0] * n, pa.int64()))
    sink = io.BytesIO()
    pq.write_table(rows, sink)
    content = sink.getvalue()
    length = struct.unpack("<I", content[-8:-4])[0]
    footer = content[-8 - length : -8].replace(_varint(2 * n), _varint(2 * claimed))
    return content[: -8 - length] + footer + struct.pack("<I", len(footer)) + b"PAR1"


def many_rows() -> bytes:
    """40 million equal bars in a few kilobytes of parquet."""
    bars = made_up_bars(1)
    row = pa.Table.from_pandas(bars)
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, row.schema, compression="zstd") as writer:
        block = row.take(pa.array([0] * 1_000_000, pa.int64()))
        for _ in range(40):
            writer.write_table(block)
    return sink.getvalue()


def _varint(number: int) -> bytes:
    """An integer in thrift's compact encoding."""
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def brackets() -> bytes:
    """100,000 nested brackets."""
    return b"[" * 100_000 + b"]" * 100_000


def huge_weights() -> tuple[dict[str, Any], bytes]:
    """Config and weights of a model whose header claims a terabyte."""
    from moola_pipeline.features.schema import FEATURE_NAMES

    weights = struct.pack("<Q", 2**40) + b"{}"
    digest = hashlib.sha256(weights).hexdigest()
    config = {"format": 1, "features": list(FEATURE_NAMES), "weights_sha256": digest, "facts": {}}
    return config, weights


def many_columns(table: str, n_columns: int = 100_000) -> bytes:
    """A csv with `n_columns` additional columns."""
    lines = table.splitlines()
    more = ",".join(f"c{i}" for i in range(n_columns))
    blank = "," * n_columns
    return "\n".join([f"{lines[0]},{more}", *(line + blank for line in lines[1:]), ""]).encode()


def crowded_window(n_rows: int = 100_000) -> bytes:
    """`n_rows` rows of one window, which all label the same expansion."""
    row = "w0,2024-03-08T15:30:00Z,consolidation,40,49,A,b"
    rows = (f"{row},a{i}" for i in range(n_rows))
    header = "window_id,window_start,label,expansion_start,expansion_end,grade,batch,annotator"
    return "\n".join([header, *rows, ""]).encode()


def huge_list() -> bytes:
    """A backup whose file list unpacks to 128 MiB."""
    return _zeros_zipped(LIST_NAME, 2)


def _zeros_zipped(name: str, n_blocks: int) -> bytes:
    sink = io.BytesIO()
    with (
        zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open(name, "w", force_zip64=True) as member,
    ):
        for _ in range(n_blocks):
            member.write(bytes(BLOCK))
    return sink.getvalue()


def sparse(path: Path, size: int) -> Path:
    """A sparse file of zeros, which takes no disk space."""
    with path.open("wb") as stream:
        stream.truncate(size)
    return path


def main(words: list[str]) -> None:
    """Print the cost of each pair of reader and file as JSON."""
    warnings.simplefilter("ignore")
    pairs = list(zip(words[::2], map(Path, words[1::2]), strict=True))
    for reader, _ in pairs:
        _warm_up(reader)
    resource.setrlimit(resource.RLIMIT_AS, (ROOM, ROOM))
    print(json.dumps([asdict(_measured(*pair)) for pair in pairs]))  # noqa: T201 - read by the caller


if __name__ == "__main__":
    main(sys.argv[1:])
