"""The one reader of tables: csv, JSON, parquet, DBN or a DataFrame, as named columns with a first row."""

import json
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as _compute
import pyarrow.csv
import pyarrow.parquet as pq

from moola_pipeline.bars.csv_tables import HeaderNames, Table, csv_table, unique_names
from moola_pipeline.bars.dbn import DBN_MAGIC, read_dbn
from moola_pipeline.bars.decompress import other_file_kind
from moola_pipeline.errors import BadInput

pc: Any = _compute  # its functions are made at run time
MAX_JSON = 2**28
"""Most bytes of JSON: in memory it takes ten times as many."""
MAX_ROWS = 30_000_000
"""Most rows of a parquet file: minutes of 57 years. A small file can encode any number of rows."""
_THOUSAND, _N_PRICES = 1_000.0, 4


def file_table(content: bytes, source: str, names: HeaderNames) -> Table:
    """The columns of a file, found from its bytes.

    Args:
        content: The file, decompressed, text in UTF-8.
        source: Its name, for errors.
        names: Names of a header.

    Raises:
        BadInput: If the file is neither parquet, DBN, JSON rows nor text in columns, or is damaged.
    """
    if content.startswith(b"PAR1"):
        return _parquet_table(content, source)
    if content.startswith(DBN_MAGIC):
        return _known_table("dbn", read_dbn(content, source))
    if kind := other_file_kind(content):
        raise BadInput(f"{source}: a bar file must be parquet, csv, JSON or DBN, got {kind}.")
    if b"\0" in content[:4096]:
        raise BadInput(
            f"{source}: a bar file must be parquet, csv, JSON or DBN, got other bytes. Export csv."
        )
    if content[:4096].removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"[", b"{"):
        return _json_table(content, source)
    return csv_table(content, source, names)


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
    return _known_table("frame", pa.table(arrays, names=list(names)), index=names[: len(times[:1])])


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
        raise _unreadable(source, fault) from None


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


def _parquet_table(content: bytes, source: str) -> Table:
    try:
        file = pq.ParquetFile(pa.BufferReader(content))
        n_rows, schema = file.metadata.num_rows, file.schema_arrow
        metadata = json.loads((schema.metadata or {}).get(b"pandas") or b"{}")
        indexed = metadata.get("index_columns", []) if isinstance(metadata, dict) else []
        first = next(file.iter_batches(batch_size=1), None) if n_rows <= MAX_ROWS else None
        sample = () if first is None else _texts(pa.Table.from_batches([first]))
    except (pa.ArrowException, OSError, ValueError, RecursionError) as fault:
        raise _unreadable(source, fault) from None
    if n_rows > MAX_ROWS:
        raise BadInput(
            f"{source}: a bar file must have at most {MAX_ROWS:,} rows, got {n_rows:,}. Split it, or export "
            "it again."
        )
    if len(set(schema.names)) < len(schema.names):
        raise BadInput(f"{source}: each column must occur once, got {', '.join(schema.names)}. Drop one.")
    names = [name for name in indexed if isinstance(name, str) and name in schema.names]
    index = tuple(name for name in names if pa.types.is_timestamp(schema.field(name).type))
    return Table("parquet", tuple(schema.names), sample, index=index, content=content)


def _json_table(content: bytes, source: str) -> Table:
    if len(content) > MAX_JSON:
        raise BadInput(
            f"{source}: JSON must have at most {MAX_JSON >> 20} MiB, got more. Split it, or export csv."
        )
    try:
        try:
            rows: Any = json.loads(content)
        except json.JSONDecodeError:
            rows = [json.loads(line) for line in content.splitlines() if line.strip()]
        symbols, rows = _json_rows(rows)
        if isinstance(rows[0], dict):
            names = tuple(map(str, rows[0]))
            columns = [[row.get(name) for row in rows] for name in rows[0]]
        else:
            names = tuple(str(number) for number in range(1, len(rows[0]) + 1))
            columns = [[row[place] for row in rows] for place in range(len(names))]
        table = pa.table([_json_column(column) for column in columns], names=unique_names(names))
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError, pa.ArrowException) as fault:
        raise BadInput(
            f"{source}: JSON must hold rows, as [[time, open, high, low, close], ...] or "
            f'[{{"time": ..., "open": ...}}, ...], got: {_first_line(fault)}. Export it so, or as csv.'
        ) from None
    named = isinstance(rows[0], dict)
    return Table("json", unique_names(names), _texts(table), named, symbols=symbols, values=table)


def _json_rows(data: Any) -> tuple[tuple[str, ...], list[Any]]:
    """The rows of parsed JSON, and the texts beside them: a list, or an object that holds one or columns."""
    if isinstance(data, list):
        return (), data
    texts = tuple(value for value in data.values() if isinstance(value, str))
    if {"columns", "data"} <= set(data):  # pandas, orient "split"
        index = data.get("index", range(len(data["data"])))
        names = ("time", *map(str, data["columns"]))
        return texts, [
            dict(zip(names, (at, *row), strict=True)) for at, row in zip(index, data["data"], strict=True)
        ]
    inner = {name: value for name, value in data.items() if isinstance(value, dict) and value}
    if len(inner) > 1:  # pandas, orient "columns" or "index"
        if "close" in map(str.lower, inner):
            index = [*next(iter(inner.values()))]
            return texts, [
                {"time": at} | {name: column[at] for name, column in inner.items()} for at in index
            ]
        return texts, [{"time": at, **row} for at, row in inner.items()]
    lists = {name: value for name, value in data.items() if isinstance(value, list) and value}
    if inner and not lists:
        (name, value), *_ = inner.items()
        more, rows = _json_rows(value)
        return (*texts, name, *more), rows
    nested = [(name, value) for name, value in lists.items() if isinstance(value[0], dict | list)]
    if nested:
        name, rows = max(nested, key=lambda item: len(item[1]))
        return (*texts, name), rows
    columns = {name: value for name, value in lists.items() if len(value) == max(map(len, lists.values()))}
    return texts, [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _json_column(values: list[Any]) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowException, TypeError, OverflowError):
        return pa.array([None if value is None else str(value) for value in values], pa.string())


def _known_table(kind: str, values: pa.Table, index: tuple[str, ...] = ()) -> Table:
    return Table(kind, tuple(values.column_names), _texts(values), index=index, values=values)


def _texts(values: pa.Table) -> tuple[str, ...]:
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


def _unreadable(source: str, fault: Exception) -> BadInput:
    return BadInput(f"{source}: a bar file must be whole, got: {_first_line(fault)}. Export it again.")


def _first_line(fault: Exception) -> str:
    return next(iter(str(fault).splitlines()), type(fault).__name__).rstrip(".")
