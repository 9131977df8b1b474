"""The columns of a table file: its format, which column plays which role, and their values."""

import csv
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from moola_pipeline.bars.schema import PRICE_COLUMNS
from moola_pipeline.errors import BadInput

KNOWN_NAMES = {
    "time": ("timestamp", "time", "datetime", "date_time", "ts", "ts_utc", "ts_event"),
    **{name: (name,) for name in PRICE_COLUMNS},
    "volume": ("volume",),
    "contract": ("contract", "symbol"),
}
"""The names by which a column is known, in any case, for each role it can play."""
COLUMN_ROLES = tuple(KNOWN_NAMES)
REQUIRED_ROLES = ("time", *PRICE_COLUMNS)
NUMBER_ROLES = (*PRICE_COLUMNS, "volume")
SEPARATORS = ",;"
HEADER_BYTES = 65_536


def file_format(path: Path, claimed: str | None, source: str) -> str:
    """`parquet` or `csv`, by the first bytes of the file.

    Raises:
        BadInput: If the file cannot be read, is neither, or is not what the user claims.
    """
    try:
        with path.open("rb") as stream:
            head = stream.read(4096)
    except OSError as fault:
        raise BadInput(
            f"{source}: a bar file must be readable, got: {fault.strerror}. Check the path."
        ) from None
    proven = "parquet" if head.startswith(b"PAR1") else "csv"
    if proven == "csv" and b"\0" in head:
        raise BadInput(
            f"{source}: a bar file must be parquet or csv, got other bytes. Export it as one of them."
        )
    if not head.strip():
        raise BadInput(f"{source}: a bar file must hold bars, got an empty file. Export it again.")
    if claimed not in (None, proven):
        raise BadInput(f"{source}: --format says {claimed}, but the file is {proven}. Leave --format out.")
    return proven


def find_columns(path: Path, format: str, named: Mapping[str, str], source: str) -> dict[str, str]:
    """The column of the file that plays each role: as named by the user, else by a known name.

    Raises:
        BadInput: If a needed role has no column or more than one, or a named column is missing.
    """
    present, index = _parquet_names(path, source) if format == "parquet" else (_header(path, source)[0], [])
    if lost := [name for name in named.values() if present.count(name) != 1]:
        raise BadInput(
            f"{source}: --columns must name columns that the file has once, got {', '.join(lost)}. "
            f"It has {_listed(present)}."
        )
    columns = dict(named)
    for role in COLUMN_ROLES:
        if role in named:
            continue
        matches = [
            name
            for name in present
            if name.strip().lower() in KNOWN_NAMES[role] and name not in named.values()
        ]
        if role == "time" and not matches:
            matches = index
        if len(matches) > 1:
            raise BadInput(
                f"{source}: one column must hold the {role}, got {_listed(matches)}. "
                f"Choose with --columns {role}={matches[0]}."
            )
        if matches:
            columns[role] = matches[0]
    if missing := [role for role in REQUIRED_ROLES if role not in columns]:
        example = ",".join(f"{role}=NAME" for role in missing)
        raise BadInput(
            f"{source}: columns must hold {', '.join(REQUIRED_ROLES)}, got {_listed(present)}. "
            f"Name the missing ones with --columns {example}."
        )
    return {role: columns[role] for role in COLUMN_ROLES if role in columns}


def read_columns(
    path: Path, format: str, columns: Mapping[str, str], source: str
) -> dict[str, pa.ChunkedArray]:
    """The values of each role: float64 for prices and volume, text for contracts, times as they are.

    Raises:
        BadInput: If the file is damaged or has no rows, or a price or volume is no number.
    """
    read = _read_parquet if format == "parquet" else _read_csv
    try:
        table = read(path, columns, source)
        values = {role: table.column(name) for role, name in columns.items()}
        if "contract" in values:
            values["contract"] = values["contract"].cast(pa.string())
    except (pa.ArrowException, OSError) as fault:
        raise _unreadable(source, fault) from None
    if not table.num_rows:
        raise BadInput(f"{source}: a bar file must hold bars, got no rows. Export it again.")
    for role in NUMBER_ROLES:
        if role in values:
            values[role] = _numbers(values[role], columns[role], source)
    return values


def _parquet_names(path: Path, source: str) -> tuple[list[str], list[str]]:
    """All columns, and those of them that pandas wrote as an index of times."""
    try:
        schema = pq.read_schema(path)
        noted = schema.pandas_metadata or {}
    except (pa.ArrowException, OSError, ValueError) as fault:
        raise _unreadable(source, fault) from None
    index = [name for name in noted.get("index_columns", []) if name in schema.names]
    return schema.names, [name for name in index if pa.types.is_timestamp(schema.field(name).type)]


def _header(path: Path, source: str) -> tuple[list[str], str]:
    """Column names of a csv file and the separator between them."""
    with path.open("rb") as stream:
        line = stream.read(HEADER_BYTES).splitlines()[0]
    try:
        text = line.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadInput(
            f"{source}: a csv file must be UTF-8 text, got other bytes. Export it as UTF-8."
        ) from None
    separator = max(SEPARATORS, key=text.count)
    return next(csv.reader([text], delimiter=separator), []), separator


def _read_parquet(path: Path, columns: Mapping[str, str], source: str) -> pa.Table:
    return pq.read_table(path, columns=list(columns.values()), memory_map=True)


def _read_csv(path: Path, columns: Mapping[str, str], source: str) -> pa.Table:
    types = {columns[role]: pa.float64() for role in NUMBER_ROLES if role in columns}
    if "contract" in columns:
        types[columns["contract"]] = pa.string()
    return pyarrow.csv.read_csv(
        path,
        parse_options=pyarrow.csv.ParseOptions(delimiter=_header(path, source)[1]),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=types, include_columns=list(columns.values()), strings_can_be_null=True
        ),
    )


def _numbers(values: pa.ChunkedArray, column: str, source: str) -> pa.ChunkedArray:
    kind = values.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        raise BadInput(
            f"{source}: {column} must hold numbers, got {kind}. Correct it, or name another column."
        )
    return values.cast(pa.float64(), safe=False)


def _listed(names: list[str]) -> str:
    shown = ", ".join(repr(name)[1:-1] for name in names[:20]) or "none"
    return shown + (", ..." if len(names) > 20 else "")


def _unreadable(source: str, fault: Exception) -> BadInput:
    return BadInput(
        f"{source}: a bar file must be whole, got: {str(fault).splitlines()[0].rstrip('.')}. Export it again."
    )
