"""Columns of a table file: the column of each role, and its values."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from moola_pipeline.bars.csv_dialect import Layout, unreadable
from moola_pipeline.bars.dbn import read_dbn
from moola_pipeline.bars.number_parsing import DOT, price_style, trimmed
from moola_pipeline.bars.row_rules import NEEDS_CELLS, NEEDS_NUMBERS, CellFault
from moola_pipeline.bars.schema import DATE_NAME, KNOWN_NAMES, PRICE_COLUMNS
from moola_pipeline.errors import BadInput

COLUMN_ROLES = (*KNOWN_NAMES, DATE_NAME)
REQUIRED_ROLES = ("time", *PRICE_COLUMNS)
THOUSAND = 1_000.0
ID_ROLE = "instrument id"
"""Role of a number that identifies a contract; it is read as text."""
NUMBER_ROLES = (*PRICE_COLUMNS, "volume")


@dataclass(frozen=True)
class FileColumns:
    """Column values of a file.

    Attributes:
        values: (n,) by role: float64 prices and volume, text contracts, times not parsed; null
            where a cell is empty or not a number.
        faults: Lines with too few or too many cells, and cells that are not numbers.
    """

    values: dict[str, pa.ChunkedArray]
    faults: tuple[CellFault, ...] = ()


def find_columns(
    layout: Layout, positions: Sequence[str], named: Mapping[str, str], source: str
) -> dict[str, str]:
    """Find the column of each role: as named by the user, else by position, else by name.

    Args:
        layout: Layout of the file.
        positions: Role of each column, if the vendor's format fixes them; else ().
        named: Column by role, as the user named them.
        source: Name of the file, for errors.

    Raises:
        BadInput: If a required role has no column or several, or a named column is missing.
    """
    names = layout.names
    if unknown := [name for name in named.values() if name not in names]:
        raise BadInput(
            f"{source}: --columns must name columns of the file, got {', '.join(unknown)}. "
            f"It has {_listed(names)}."
        )
    columns = dict(zip(positions, names, strict=False)) | dict(named)
    taken = set(named.values())
    for role in KNOWN_NAMES:
        if role in columns:
            continue
        matches = [name for name in names if _plain(name) in KNOWN_NAMES[role] and name not in taken]
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


def read_columns(content: bytes, layout: Layout, columns: Mapping[str, str], source: str) -> FileColumns:
    """Read the values of each role; a date and a time of day are joined to one text, role `time`.

    Raises:
        BadInput: If the file is damaged or has no rows, or the decimal sign of its prices is ambiguous.
    """
    lines: dict[int, str] = {}
    try:
        if layout.kind == "dbn":
            table = read_dbn(content, source)
        elif layout.kind == "parquet":
            table = pq.read_table(pa.BufferReader(content), columns=list(columns.values()))
        else:
            table, lines = _read_csv(content, layout, columns)
        values = {role: _decoded(table.column(name)) for role, name in columns.items()}
        if "contract" in values:
            values["contract"] = values["contract"].cast(pa.string())
        if "date" in values:
            values["time"] = _joined(values.pop("date"), values["time"])
    except (pa.ArrowException, OSError, KeyError) as fault:
        raise unreadable(source, fault) from None
    if not table.num_rows:
        raise BadInput(f"{source}: a bar file must hold bars, got no rows. Export it again.")
    faults = [_line_fault(lines, table.num_rows)] if lines else []
    if 2 * len(lines) > table.num_rows:
        first = min(lines)
        raise BadInput(
            f"{source}: each row must have {len(layout.names)} cells, but {len(lines):,} of "
            f"{table.num_rows:,} do not, first in row {first + 1:,} ({faults[0].quote(first)}). "
            "Export it again, with a name in the header for each column."
        )
    faults += _read_numbers(values, columns, source)
    return FileColumns(values, tuple(faults))


def _read_csv(content: bytes, layout: Layout, columns: Mapping[str, str]) -> tuple[pa.Table, dict[int, str]]:
    """The columns of a csv, and the lines with a wrong number of cells by row (from 0)."""
    body = pa.py_buffer(content).slice(layout.start)
    if not content[layout.start : layout.start + 2**12].strip():
        return pa.table({name: pa.array([], pa.string()) for name in columns.values()}), {}
    texts = ["contract", ID_ROLE, "date", *(["time"] if "date" in columns else [])]
    types = {columns[role]: pa.string() for role in texts if role in columns}
    numbers = {columns[role]: pa.float64() for role in NUMBER_ROLES if role in columns}
    for decimal in (".", ","):
        with suppress(pa.ArrowInvalid):
            table = _parsed(body, layout, columns, types | numbers, decimal)
            if decimal == "." or _is_clear(table, columns):
                return table, {}
    return _parsed_leniently(body, layout, columns, types | dict.fromkeys(numbers, pa.string()))


def _is_clear(table: pa.Table, columns: Mapping[str, str]) -> bool:
    """True if commas in prices cannot separate thousands: 1234,5 has too many digits before it."""
    lowest = pc.min(table.column(columns["low"])).as_py()  # type: ignore[attr-defined]
    return lowest is not None and lowest >= THOUSAND


def _parsed_leniently(
    body: pa.Buffer, layout: Layout, columns: Mapping[str, str], types: Mapping[str, pa.DataType]
) -> tuple[pa.Table, dict[int, str]]:
    """Numbers as text; a line with a wrong number of cells becomes a row of nulls."""
    lines: dict[int, str] = {}

    def note(row: pyarrow.csv.InvalidRow) -> str:
        lines[row.number - 1] = row.text
        return "skip"

    text = pa.py_buffer(body.to_pybytes().decode(errors="replace").encode())
    table = _parsed(text, layout, columns, types, note=note)
    if not lines:
        return table, lines
    is_line = np.zeros(table.num_rows + len(lines), bool)
    is_line[[*lines]] = True
    places = pa.array(np.cumsum(~is_line) - 1, mask=is_line)
    return table.take(places), lines


def _parsed(
    body: pa.Buffer,
    layout: Layout,
    columns: Mapping[str, str],
    types: Mapping[str, pa.DataType],
    decimal: str = ".",
    note: Callable[[pyarrow.csv.InvalidRow], str] | None = None,
) -> pa.Table:
    return pyarrow.csv.read_csv(
        pa.BufferReader(body),
        read_options=pyarrow.csv.ReadOptions(column_names=list(layout.names), use_threads=note is None),
        parse_options=pyarrow.csv.ParseOptions(delimiter=layout.separator, invalid_row_handler=note),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=types,
            include_columns=list(columns.values()),
            strings_can_be_null=True,
            decimal_point=decimal,
        ),
    )


def _line_fault(lines: Mapping[int, str], n_rows: int) -> CellFault:
    broken = np.zeros(n_rows, bool)
    broken[[*lines]] = True
    texts = pa.array([lines.get(row) for row in range(n_rows)], pa.string())
    return CellFault(NEEDS_CELLS, broken, "", pa.chunked_array([texts]))


def _read_numbers(
    values: dict[str, pa.ChunkedArray], columns: Mapping[str, str], source: str
) -> list[CellFault]:
    """Parse prices and volume in place; return the cells that are not numbers."""
    roles = [role for role in NUMBER_ROLES if role in values]
    texts = {role: trimmed(values[role]) for role in roles if _is_text(values[role].type)}
    prices = {columns[role]: text for role, text in texts.items() if role in PRICE_COLUMNS}
    style = price_style(prices, source) if prices else DOT
    faults = []
    for role in roles:
        if role not in texts:
            values[role] = _as_floats(values[role], columns[role], source)
            continue
        numbers, invalid = style.numbers(texts[role])
        values[role] = pa.chunked_array([pa.array(numbers, from_pandas=True)])
        if invalid.any():
            faults.append(CellFault(NEEDS_NUMBERS, invalid, columns[role], texts[role]))
    return faults


def _decoded(values: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = values.type
    return values.cast(kind.value_type) if pa.types.is_dictionary(kind) else values


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _joined(dates: pa.ChunkedArray, clocks: pa.ChunkedArray) -> pa.ChunkedArray:
    trim = pc.utf8_trim_whitespace  # type: ignore[attr-defined]
    parts = [trim(part.cast(pa.string())) for part in (dates, clocks)]
    return pc.binary_join_element_wise(*parts, pa.scalar(" "))  # type: ignore[attr-defined]


def _plain(name: str) -> str:
    """A column's name in lower case without decoration: `<CLOSE>` and `close#5` become close."""
    title, _, place = name.rpartition("#")
    return (title if place.isdecimal() else name).strip().strip("<>").lower()


def _dates(layout: Layout, taken: set[str]) -> list[str]:
    return [name for name in layout.names if _plain(name) == DATE_NAME and name not in taken]


def _missing_columns(layout: Layout, missing: list[str], source: str) -> BadInput:
    if layout.first_row:
        example = ",".join(f"{role}={place + 1}" for place, role in enumerate(REQUIRED_ROLES))
        return BadInput(
            f"{source}: a csv must have a header line or a known format, but it begins with "
            f"{layout.separator.join(layout.first_row)[:100]!r}. Name the vendor with --format, "
            f"or the column numbers with --columns {example}."
        )
    example = ",".join(f"{role}=NAME" for role in missing)
    return BadInput(
        f"{source}: columns must hold {', '.join(REQUIRED_ROLES)}, got {_listed(layout.names)}. "
        f"Name the missing ones with --columns {example}."
    )


def _as_floats(values: pa.ChunkedArray, column: str, source: str) -> pa.ChunkedArray:
    kind = values.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        raise BadInput(
            f"{source}: {column} must hold numbers, got {kind}. Correct it, or name another column."
        )
    return values.cast(pa.float64(), safe=False)


def _listed(names: Sequence[str]) -> str:
    listing = ", ".join(repr(name)[1:-1] for name in names[:20]) or "none"
    return listing + (", ..." if len(names) > 20 else "")
