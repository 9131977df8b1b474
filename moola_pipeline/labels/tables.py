"""The cells of a label file, csv or parquet, as they are stored."""

import hashlib
import io
import warnings
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from moola_pipeline.bars.csv_tables import HeaderNames, csv_table
from moola_pipeline.bars.decompress import file_content, other_file_kind
from moola_pipeline.errors import BadInput
from moola_pipeline.labels.schema import LABEL_COLUMNS, MISSING

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
        cells: Its columns, those of LABEL_COLUMNS in lower case; the index is the row number in the file;
            the first line of a csv is row 1.
        sha256: Digest of the file's bytes.
    """

    name: str
    cells: pd.DataFrame
    sha256: str


def read_table(path: Path) -> LabelTable:
    """Read the cells of a label file: text from csv, typed values from parquet.

    A csv is read as one of bars is: separated by `,`, `;`, `|` or tabs, UTF-8 or UTF-16, compressed or not;
    lines above its header are passed over.

    Raises:
        BadInput: If the file cannot be read, is not a table, or has no row.
    """
    content = file_content(path, path.name, MAX_FILE)
    if kind := other_file_kind(content) or _json(content):
        raise BadInput(f"{path.name}: a label file must be a csv in UTF-8 or parquet, got {kind}.")
    cells = _read_parquet(path, content) if content.startswith(PARQUET_MAGIC) else csv_cells(path, content)
    cells = cells.rename(columns=lambda name: _known(name) or name)
    if twice := cells.columns[cells.columns.duplicated()].tolist():
        raise _no_table(path, f"it has more than one column {twice[0]!r}")
    if cells.empty:
        raise BadInput(
            f"{path.name}: a label file must hold at least one row, but it holds none. Add labels."
        )
    return LabelTable(path.name, cells, hashlib.sha256(path.read_bytes()).hexdigest())


def cut_short(text: str) -> str:
    """The first 200 characters of a text."""
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."


def _known(name: object) -> str | None:
    """A column of the label schema by its name in any case; None for another."""
    title, _, place = str(name).rpartition("#")
    plain = (title if place.isdecimal() else str(name)).strip().lower()
    return plain if plain in LABEL_COLUMNS else None


_HEADER = HeaderNames(_known, {"window_id", "label"}, "window_id, window_start and label", levels=False)


def _json(content: bytes) -> str | None:
    return "JSON. Save it as csv" if content.lstrip()[:1] in (b"{", b"[") else None


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


def csv_cells(path: Path, content: bytes, header: HeaderNames = _HEADER) -> pd.DataFrame:
    """Cells of a csv as text; the index is the line, which is row 1 for the first.

    Args:
        path: The file, for errors.
        content: Its text in UTF-8.
        header: Names that its header may hold.

    Raises:
        BadInput: If it is no table.
    """
    if b"\0" in content:
        raise _no_table(path, "it holds bytes that are not text")
    table = csv_table(content, path.name, header)
    _require_size(path, content.count(b"\n"), len(table.names))
    above = content[: table.start].count(b"\n")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # a row longer than the header
            cells = pd.read_csv(
                io.BytesIO(content),
                skiprows=above,
                sep=table.separator,
                header=None,
                names=list(table.names),
                dtype=str,
                encoding="utf-8-sig",
                index_col=False,
                skip_blank_lines=False,
                keep_default_na=False,
                na_values=list(MISSING),
                skipinitialspace=True,
            )
    except UnicodeDecodeError as error:
        raise _no_table(path, "it is not UTF-8 text") from error
    except pd.errors.EmptyDataError:
        return pd.DataFrame(columns=list(table.names))
    except (pd.errors.ParserError, pd.errors.ParserWarning, ValueError) as error:
        raise _no_table(path, str(error).rpartition("C error: ")[2]) from error
    return cells.set_axis(range(above + 1, above + 1 + len(cells))).dropna(how="all")


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
