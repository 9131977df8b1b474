"""The cells of a label file, csv or parquet, as they are stored."""

import codecs
import hashlib
import io
import warnings
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from moola_pipeline.bars.decompress import GZIP_MAGIC, WORKBOOK_MEMBER, ZIP_MAGIC, other_file_kind
from moola_pipeline.errors import BadInput

PARQUET_MAGIC = b"PAR1"
MAX_FILE = 2**28
"""Most bytes of a label file: an older one, with 420 prices a row, holds 80,000 windows in as many."""
MAX_ROWS, MAX_COLUMNS = 1_000_000, 1_000
"""A small parquet file can expand to any number of rows."""
SHOWN_CHARACTERS = 200


@dataclass(frozen=True)
class LabelTable:
    """The cells of one label file.

    Attributes:
        name: The file's name.
        cells: Its columns; the index is the row number in the file; a csv's header is row 1.
        sha256: Digest of the file's bytes.
    """

    name: str
    cells: pd.DataFrame
    sha256: str


def read_table(path: Path) -> LabelTable:
    """Read the cells of a label file: text from csv, typed values from parquet.

    Raises:
        BadInput: If the file cannot be read, is not a table, or has no row.
    """
    content = _read_bytes(path)
    if not content.strip():
        raise BadInput(f"{path.name}: a label file must hold a table, but it is empty. Choose another file.")
    if kind := _other_kind(content):
        raise BadInput(f"{path.name}: a label file must be a csv in UTF-8 or parquet, got {kind}.")
    cells = _read_parquet(path, content) if content.startswith(PARQUET_MAGIC) else _read_csv(path, content)
    if twice := cells.columns[cells.columns.duplicated()].tolist():
        raise _no_table(path, f"it has more than one column {twice[0]!r}")
    if cells.empty:
        raise BadInput(
            f"{path.name}: a label file must hold at least one row, but it holds none. Add labels."
        )
    return LabelTable(path.name, cells, hashlib.sha256(content).hexdigest())


def cut_short(text: str) -> str:
    """The first 200 characters of a text."""
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."


def _read_bytes(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > MAX_FILE:
            raise BadInput(
                f"{path.name}: a label file must have at most {MAX_FILE // 2**20} MiB, got "
                f"{size // 2**20:,} MiB. Split it."
            )
        return path.read_bytes()
    except OSError as error:
        raise BadInput(
            f"{path}: the label file must be readable, got: {error.strerror}. Check the path."
        ) from error


def _other_kind(content: bytes) -> str | None:
    """The kind of a file that is not a label file, with the remedy; None if it may be one."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "text in UTF-16. Save it as UTF-8, with commas between the columns"
    if content.startswith(ZIP_MAGIC):
        workbook = WORKBOOK_MEMBER.encode() in content
        return "an Excel workbook. Save it as csv" if workbook else "a packed file. Unpack it"
    return "a packed file. Unpack it" if content.startswith(GZIP_MAGIC) else other_file_kind(content)


def _read_parquet(path: Path, content: bytes) -> pd.DataFrame:
    try:
        described = pq.read_metadata(io.BytesIO(content))
        _require_size(path, described.num_rows, described.num_columns)
        # The metadata for pandas is not needed, and crafted metadata could break the reader.
        table = pq.read_table(io.BytesIO(content)).to_pandas(ignore_metadata=True)
    except BadInput:
        raise
    except (pa.ArrowException, OSError, ValueError, TypeError, LookupError, OverflowError) as error:
        raise _no_table(path, str(error)) from error
    return table.reset_index(drop=True).set_axis(range(1, len(table) + 1))


def _read_csv(path: Path, content: bytes) -> pd.DataFrame:
    if b"\0" in content:
        raise _no_table(path, "it holds bytes that are not text")
    _require_size(path, content.count(b"\n"), content.partition(b"\n")[0].count(b",") + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # a row longer than the header
            table = pd.read_csv(
                io.BytesIO(content),
                dtype=str,
                encoding="utf-8-sig",
                index_col=False,
                skip_blank_lines=False,
                keep_default_na=False,
                na_values=["", "nan", "NaN", "NA", "null"],
                skipinitialspace=True,
            )
    except UnicodeDecodeError as error:
        raise _no_table(path, "it is not UTF-8 text") from error
    except (pd.errors.ParserError, pd.errors.ParserWarning, pd.errors.EmptyDataError) as error:
        raise _no_table(path, str(error).rpartition("C error: ")[2]) from error
    table = table.set_axis(range(2, len(table) + 2)).dropna(how="all")
    return table.rename(columns=str.strip)


def _require_size(path: Path, n_rows: int, n_columns: int) -> None:
    if n_rows > MAX_ROWS or n_columns > MAX_COLUMNS:
        raise BadInput(
            f"{path.name}: a label file must have at most {MAX_ROWS:,} rows and {MAX_COLUMNS:,} columns, "
            f"got {n_rows:,} and {n_columns:,}. Split it, or leave columns out."
        )


def _no_table(path: Path, why: str) -> BadInput:
    return BadInput(
        f"{path.name}: a label file must be a csv or parquet table, but it cannot be read as one: "
        f"{cut_short(' '.join(why.split())).rstrip('.')}. Correct it, or export it again."
    )
