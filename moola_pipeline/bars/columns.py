"""The columns of a table file: how it is laid out, which column plays which role, and their values."""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
import pyarrow.parquet as pq

from moola_pipeline.bars.dbn import DBN_COLUMNS, DBN_MAGIC, read_dbn
from moola_pipeline.bars.schema import PRICE_COLUMNS
from moola_pipeline.errors import BadInput

KNOWN_NAMES = {
    "time": ("timestamp", "time", "datetime", "date_time", "ts", "ts_utc", "ts_event"),
    **{name: (name,) for name in PRICE_COLUMNS},
    "volume": ("volume",),
    "contract": ("contract", "symbol"),
}
"""The names by which a column is known, in any case, for each role it can play."""
DATE_NAME = "date"
"""A column of that name is the time, or the day of a time whose clock stands in a column of its own."""
COLUMN_ROLES = (*KNOWN_NAMES, "date")
REQUIRED_ROLES = ("time", *PRICE_COLUMNS)
NUMBER_ROLES = (*PRICE_COLUMNS, "volume")
SEPARATORS = ",;\t"
HEADER_BYTES = 65_536
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_CLOCK = re.compile(r"\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?")
_FEWEST_NUMBERS = 4
"""A first line with as many numbers holds four prices: it is a bar, not a header."""


@dataclass(frozen=True)
class Layout:
    """How a file's bytes are a table.

    Attributes:
        kind: parquet, csv or dbn.
        names: Its columns; those of a csv without header are numbered from 1.
        index: Columns that pandas wrote as an index of times.
        clocks: Columns that hold a time of day.
        separator: Between the cells of a csv.
        first_row: The cells of the first line of a csv without header, else ().
        sample: The cells of the first bar of a csv.
    """

    kind: str
    names: tuple[str, ...]
    index: tuple[str, ...] = ()
    clocks: frozenset[str] = frozenset()
    separator: str = ","
    first_row: tuple[str, ...] = ()
    sample: tuple[str, ...] = ()


def file_layout(content: bytes, source: str) -> Layout:
    """How the bytes of a file are a table, by what they prove.

    Raises:
        BadInput: If they are neither parquet, DBN nor text, or parquet that is damaged.
    """
    if content.startswith(b"PAR1"):
        return _parquet_layout(content, source)
    if content.startswith(DBN_MAGIC):
        return Layout("dbn", DBN_COLUMNS)
    if b"\0" in content[:4096]:
        raise BadInput(
            f"{source}: a bar file must be parquet, csv or DBN, got other bytes. Export it as one of them."
        )
    return _csv_layout(content, source)


def find_columns(
    layout: Layout, positions: Sequence[str], named: Mapping[str, str], source: str
) -> dict[str, str]:
    """The column of the file that plays each role: as named by the user, else by place, else by name.

    Args:
        layout: Of the file.
        positions: Role of each column, where the vendor's format fixes them; else ().
        named: Column by role, as the user names them.
        source: Name of the file, for errors.

    Raises:
        BadInput: If a needed role has no column or more than one, or a named column is missing.
    """
    present = layout.names
    if lost := [name for name in named.values() if present.count(name) != 1]:
        raise BadInput(
            f"{source}: --columns must name columns that the file has once, got {', '.join(lost)}. "
            f"It has {_listed(present)}."
        )
    columns = dict(zip(positions, present, strict=False)) | dict(named)
    taken = set(named.values())
    for role in KNOWN_NAMES:
        if role in columns:
            continue
        matches = [name for name in present if _plain(name) in KNOWN_NAMES[role] and name not in taken]
        if role == "time" and not matches:
            matches = [*layout.index] or _dates(layout, taken)
        if len(matches) > 1:
            raise BadInput(
                f"{source}: one column must hold the {role}, got {_listed(matches)}. "
                f"Choose with --columns {role}={matches[0]}."
            )
        if matches:
            columns[role] = matches[0]
    if missing := [role for role in REQUIRED_ROLES if role not in columns]:
        raise _missing_columns(layout, missing, source)
    if "date" not in columns and columns["time"] in layout.clocks:
        dates = [name for name in _dates(layout, taken) if name != columns["time"]]
        if len(dates) == 1:
            columns["date"] = dates[0]
    return {role: columns[role] for role in COLUMN_ROLES if role in columns}


def read_columns(
    content: bytes, layout: Layout, columns: Mapping[str, str], source: str
) -> dict[str, pa.ChunkedArray]:
    """The values of each role: float64 for prices and volume, text for contracts, times as they are.

    A date and a time of day come back as one text, role `time`.

    Raises:
        BadInput: If the file is damaged or has no rows, or a price or volume is no number.
    """
    try:
        if layout.kind == "dbn":
            table = read_dbn(content, source)
        elif layout.kind == "parquet":
            table = pq.read_table(pa.BufferReader(content), columns=list(columns.values()))
        else:
            table = _read_csv(content, layout, columns)
        values = {role: table.column(name) for role, name in columns.items()}
        if "contract" in values:
            values["contract"] = values["contract"].cast(pa.string())
        if "date" in values:
            values["time"] = _joined(values.pop("date"), values["time"])
    except (pa.ArrowException, OSError, KeyError) as fault:
        raise _unreadable(source, fault) from None
    if not table.num_rows:
        raise BadInput(f"{source}: a bar file must hold bars, got no rows. Export it again.")
    for role in NUMBER_ROLES:
        if role in values:
            values[role] = _numbers(values[role], columns[role], source)
    return values


def _parquet_layout(content: bytes, source: str) -> Layout:
    try:
        schema = pq.read_schema(pa.BufferReader(content))
        noted = schema.pandas_metadata or {}
    except (pa.ArrowException, OSError, ValueError) as fault:
        raise _unreadable(source, fault) from None
    listed = noted.get("index_columns", []) if isinstance(noted, dict) else []
    index = [name for name in listed if isinstance(name, str) and schema.names.count(name) == 1]
    return Layout(
        "parquet",
        tuple(schema.names),
        tuple(name for name in index if pa.types.is_timestamp(schema.field(name).type)),
        frozenset(field.name for field in schema if pa.types.is_time(field.type)),
    )


def _csv_layout(content: bytes, source: str) -> Layout:
    lines = [line for line in content[:HEADER_BYTES].splitlines() if line.strip()][:2]
    try:
        texts = [line.decode("utf-8-sig") for line in lines]
    except UnicodeDecodeError:
        raise BadInput(
            f"{source}: a csv file must be UTF-8 text, got other bytes. Export it as UTF-8."
        ) from None
    separator = max(SEPARATORS, key=texts[0].count)
    rows = [tuple(next(csv.reader([text], delimiter=separator), [])) for text in texts]
    names = rows[0]
    headless = sum(bool(_NUMBER.fullmatch(cell.strip())) for cell in names) >= _FEWEST_NUMBERS
    if headless:
        names = tuple(str(number) for number in range(1, len(names) + 1))
    clocks = {name for name, cell in zip(names, rows[-1], strict=False) if _CLOCK.fullmatch(cell.strip())}
    first_row = rows[0] if headless else ()
    sample = rows[0] if headless else rows[-1]
    return Layout("csv", names, (), frozenset(clocks), separator, first_row, sample)


def _read_csv(content: bytes, layout: Layout, columns: Mapping[str, str]) -> pa.Table:
    types = {columns[role]: pa.float64() for role in NUMBER_ROLES if role in columns}
    texts = ["contract", "date", *(["time"] if "date" in columns else [])]
    types |= {columns[role]: pa.string() for role in texts if role in columns}
    names = list(layout.names) if layout.first_row else None
    return pyarrow.csv.read_csv(
        pa.BufferReader(content),
        read_options=pyarrow.csv.ReadOptions(column_names=names),
        parse_options=pyarrow.csv.ParseOptions(delimiter=layout.separator),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=types, include_columns=list(columns.values()), strings_can_be_null=True
        ),
    )


def _joined(dates: pa.ChunkedArray, clocks: pa.ChunkedArray) -> pa.ChunkedArray:
    trim = pa.compute.utf8_trim_whitespace  # type: ignore[attr-defined]
    parts = [trim(part.cast(pa.string())) for part in (dates, clocks)]
    return pa.compute.binary_join_element_wise(*parts, pa.scalar(" "))  # type: ignore[attr-defined]


def _plain(name: str) -> str:
    """A column's name without what vendors dress it in: `<CLOSE>` is close."""
    return name.strip().strip("<>").lower()


def _dates(layout: Layout, taken: set[str]) -> list[str]:
    return [name for name in layout.names if _plain(name) == DATE_NAME and name not in taken]


def _missing_columns(layout: Layout, missing: list[str], source: str) -> BadInput:
    if layout.first_row:
        example = ",".join(f"{role}={place + 1}" for place, role in enumerate(REQUIRED_ROLES))
        return BadInput(
            f"{source}: columns must be known, but the file has no header line, only "
            f"{layout.separator.join(layout.first_row)[:100]!r}. Name the vendor with --format, "
            f"or the places with --columns {example}."
        )
    example = ",".join(f"{role}=NAME" for role in missing)
    return BadInput(
        f"{source}: columns must hold {', '.join(REQUIRED_ROLES)}, got {_listed(layout.names)}. "
        f"Name the missing ones with --columns {example}."
    )


def _numbers(values: pa.ChunkedArray, column: str, source: str) -> pa.ChunkedArray:
    kind = values.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        raise BadInput(
            f"{source}: {column} must hold numbers, got {kind}. Correct it, or name another column."
        )
    return values.cast(pa.float64(), safe=False)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name)[1:-1] for name in names[:20]) or "none"
    return shown + (", ..." if len(names) > 20 else "")


def _unreadable(source: str, fault: Exception) -> BadInput:
    came = next(iter(str(fault).splitlines()), type(fault).__name__).rstrip(".")
    return BadInput(f"{source}: a bar file must be whole, got: {came}. Export it again.")
