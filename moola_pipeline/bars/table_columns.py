"""Values of a table's columns: those of a csv or parquet file, of a DataFrame, or read already."""

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as _compute
import pyarrow.csv
import pyarrow.parquet as pq

from moola_pipeline.bars.csv_tables import Table, named_symbols, unique_names
from moola_pipeline.errors import BadInput

pc: Any = _compute  # its functions are made at run time
# pyarrow's thread for Ctrl-C is not joined when the process ends, which then may abort with SIGABRT.
pa.enable_signal_handlers(False)
_THOUSAND, _N_PRICES = 1_000.0, 4


def frame_table(frame: pd.DataFrame, source: str) -> Table:
    """The columns of a DataFrame; the times of its index count as a column.

    Raises:
        BadInput: If a column holds values of mixed kinds.
    """
    levels = [frame.index.get_level_values(level) for level in range(frame.index.nlevels)]
    times = [level for level in levels if isinstance(level, pd.DatetimeIndex)]
    if not times and len(levels) == 1 and pd.api.types.is_string_dtype(levels[0].dtype):
        times = levels
    columns = [(str(level.name or "index"), level.to_series()) for level in times[:1]]
    columns += [(str(name), frame.iloc[:, i]) for i, name in enumerate(frame.columns)]
    names = unique_names([name for name, _ in columns])
    arrays = [_as_arrow(pd.Series(values), name, source) for name, values in columns]
    return known_table("frame", pa.table(arrays, names=list(names)), index=names[: len(times[:1])])


def table_values(
    table: Table, texts: Collection[str], numbers: Collection[str], others: Collection[str], source: str
) -> tuple[pa.Table, dict[int, str]]:
    """The columns with these names, and the lines with a wrong number of cells by row (from 0).

    Args:
        table: From `file_table` or `frame_table`.
        texts: Columns to read as text.
        numbers: Columns to read as numbers where all cells are; else as text.
        others: Columns to read as what they are.
        source: Name of the file, for errors.

    Raises:
        BadInput: If the file is damaged.
    """
    wanted = [*dict.fromkeys([*texts, *numbers, *others])]
    try:
        if table.values is not None:
            return table.values.select(wanted), {}
        if table.kind == "parquet":
            return pq.read_table(pa.BufferReader(table.content), columns=wanted), {}
        return _read_csv(table, texts, numbers, wanted)
    except (pa.ArrowException, OSError, KeyError) as fault:
        raise unreadable(source, fault) from None


def _read_csv(
    table: Table, texts: Collection[str], numbers: Collection[str], wanted: list[str]
) -> tuple[pa.Table, dict[int, str]]:
    body = pa.py_buffer(table.content).slice(table.start)
    if not table.content[table.start : table.start + 2**12].strip():
        return pa.table({name: pa.array([], pa.string()) for name in wanted}), {}
    types = dict.fromkeys(texts, pa.string())
    for decimal in (".", ","):
        with suppress(pa.ArrowInvalid):
            read = _parsed(body, table, wanted, types | dict.fromkeys(numbers, pa.float64()), decimal)
            if decimal == "." or _is_clear(read, numbers):
                return read, {}
    return _parsed_leniently(body, table, wanted, types | dict.fromkeys(numbers, pa.string()))


def _is_clear(read: pa.Table, numbers: Collection[str]) -> bool:
    """True if commas in four prices cannot separate thousands: 1234,5 has too many digits before it."""
    lowest = [pc.min(read.column(name)).as_py() for name in numbers]
    return sum(value is not None and value >= _THOUSAND for value in lowest) >= _N_PRICES


def _parsed_leniently(
    body: pa.Buffer, table: Table, wanted: list[str], types: Mapping[str, pa.DataType]
) -> tuple[pa.Table, dict[int, str]]:
    """Numbers as text; a line with a wrong number of cells becomes a row of nulls."""
    lines: dict[int, str] = {}

    def note(row: pyarrow.csv.InvalidRow) -> str:
        lines[row.number - 1] = row.text
        return "skip"

    text = pa.py_buffer(body.to_pybytes().decode(errors="replace").encode())
    read = _parsed(text, table, wanted, types, note=note)
    if not lines:
        return read, lines
    is_line = np.zeros(read.num_rows + len(lines), bool)
    is_line[[*lines]] = True
    places = pa.array(np.cumsum(~is_line) - 1, mask=is_line)
    return read.take(places), lines


def _parsed(
    body: pa.Buffer,
    table: Table,
    wanted: list[str],
    types: Mapping[str, pa.DataType],
    decimal: str = ".",
    note: Callable[[pyarrow.csv.InvalidRow], str] | None = None,
) -> pa.Table:
    return pyarrow.csv.read_csv(
        pa.BufferReader(body),
        read_options=pyarrow.csv.ReadOptions(column_names=list(table.names), use_threads=note is None),
        parse_options=pyarrow.csv.ParseOptions(delimiter=table.separator, invalid_row_handler=note),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=types,
            include_columns=wanted,
            strings_can_be_null=True,
            decimal_point=decimal,
        ),
    )


def known_table(kind: str, values: pa.Table, index: tuple[str, ...] = ()) -> Table:
    """A table whose columns are read already."""
    names = tuple(values.column_names)
    symbols = tuple(named_symbols(names))
    return Table(kind, names, first_cells(values), index=index, symbols=symbols, values=values)


def first_cells(values: pa.Table) -> tuple[str, ...]:
    """The cells of the first row as text."""
    return tuple(map(_text, values.columns))


def _text(column: pa.ChunkedArray) -> str:
    try:
        cells = column[:1].to_pylist()
    except (ValueError, LookupError, OverflowError, pa.ArrowException):  # an unknown zone, nanoseconds
        return ""
    return "" if not cells or cells[0] is None else str(cells[0])


def _as_arrow(values: pd.Series, name: str, source: str) -> pa.Array | pa.ChunkedArray:
    try:
        return pa.array(values.reset_index(drop=True))
    except (pa.ArrowException, TypeError, OverflowError, UnicodeError, ValueError):
        raise BadInput(
            f"{source}: {name} must hold values of one kind (times, text or numbers), got mixed kinds "
            f"({values.dtype}). Convert them to one kind."
        ) from None


def unreadable(source: str, fault: Exception) -> BadInput:
    """The error for a damaged file."""
    return BadInput(f"{source}: a bar file must be whole, got: {first_line(fault)}. Export it again.")


def first_line(fault: Exception) -> str:
    """The first line of an error's text."""
    return next(iter(str(fault).splitlines()), type(fault).__name__).rstrip(".")
