"""The one reader of tables: csv, JSON, parquet, DBN or a DataFrame, as named columns with a first row."""

import ast
import csv
import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as _compute
import pyarrow.csv
import pyarrow.parquet as pq

from moola_pipeline.bars.dbn import DBN_MAGIC, read_dbn
from moola_pipeline.bars.decompress import other_file_kind
from moola_pipeline.errors import BadInput

pc: Any = _compute  # its functions are made at run time
SEPARATORS = ("\t", ";", "|", ",")
"""In order of trial: a later one may stand inside cells (a decimal comma), not the reverse."""
HEADER_BYTES = 65_536
MAX_LINE_BYTES = 2**20
"""Longest csv line: a bar takes about 100 bytes, and pyarrow reads blocks of this size."""
MAX_JSON = 2**28
"""Most bytes of JSON: in memory it takes ten times as many."""
MAX_ROWS = 30_000_000
"""Most rows of a parquet file: minutes of 57 years. A small file can encode any number of rows."""
_SAMPLE_LINES = 50
_NUMBER = re.compile(r"[+-]?[.\d][\d.,' \u00a0\u202f]*([eE][+-]?\d+)?")
_MIN_NUMBERS = 4
"""A line with at least this many numbers is a bar, not a header."""
_MIN_CELLS = 5
"""A bar has a time and four prices: a line with fewer cells is neither a bar nor its header."""
_THOUSAND = 1_000.0


@dataclass(frozen=True)
class HeaderNames:
    """The names that a header may hold.

    Attributes:
        role_of: Role of a column's name; None if it has none.
        required: Roles that a line must name to be the header, wherever it stands.
    """

    role_of: Callable[[str], str | None]
    required: Collection[str]

    def is_header(self, cells: Iterable[str]) -> bool:
        """True if the cells name all required roles."""
        return set(self.required) <= {self.role_of(cell) for cell in cells}


@dataclass(frozen=True)
class Table:
    """The columns of a file, whose roles are not known yet.

    Attributes:
        kind: csv, json, parquet, dbn or frame.
        names: Unique column names: numbers from 1 if there is no header; a name that occurs more than once
            gets its column number, as in close#5.
        sample: Cells of the first row as text.
        has_header: Whether the file names its columns.
        index: Columns that pandas wrote as an index of times.
        symbols: Words beside the names, where some programs write the symbol.
        separator: Between the cells of a csv.
        start: Number of bytes before the first row of a csv.
        content: Bytes of a csv or parquet file.
        values: Columns of the other kinds.
    """

    kind: str
    names: tuple[str, ...]
    sample: tuple[str, ...]
    has_header: bool = True
    index: tuple[str, ...] = ()
    symbols: tuple[str, ...] = ()
    separator: str = ","
    start: int = 0
    content: bytes = b""
    values: pa.Table | None = None

    def cell(self, name: str) -> str:
        """Cell of a column in the first row; empty if there is none."""
        return dict(zip(self.names, self.sample, strict=False)).get(name, "").strip()


def plain_name(name: str) -> str:
    """A name without case, blanks and decoration: `<CLOSE>`, `close#5` and `Close ` are close."""
    title, _, place = name.rpartition("#")
    return re.sub(r"[^a-z0-9/]", "", (title if place.isdecimal() else name).lower())


def name_parts(name: str) -> tuple[str, ...]:
    """Parts of a name that pandas wrote for several levels, as ('Close', 'NQ=F'); else the name alone."""
    if name.startswith("(") and name.endswith(")"):
        with suppress(ValueError, SyntaxError, MemoryError, RecursionError):
            parts = ast.literal_eval(name)
            return tuple(map(str, parts)) if isinstance(parts, tuple) else (name,)
    return (name,)


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
    names = _unique([name for name, _ in columns])
    arrays = [_as_arrow(pd.Series(values), name, source) for name, values in columns]
    return _known_table("frame", pa.table(arrays, names=list(names)), index=names[: len(times[:1])])


def csv_table(content: bytes, source: str, names: HeaderNames) -> Table:
    """Text in columns: its separator, its header, and the byte at which its rows begin.

    The header is the first line that names all required roles. Without one it is the line above the first
    bar, unless that line is short or a comment.

    Raises:
        BadInput: If it is no such text, or a line is too long.
    """
    _refuse_long_lines(content, source)
    lines = _first_lines(content, source)
    found = _named_header(lines, names)
    separator = found[1] if found else _separator([text for _, text in lines])
    rows = [(end, _cells(text, separator)) for end, text in lines]
    header = found[0] if found else _unnamed_header(rows)
    if header is None:
        first = next((place for place, (_, cells) in enumerate(rows) if _is_bar(cells)), 0)
        commented = first and all(text.lstrip().startswith("#") for _, text in lines[:first])
        start, sample = rows[first - 1][0] if commented else 0, rows[first][1]
        _refuse_double_comma(sample, separator, source)
        numbers = tuple(str(number) for number in range(1, len(sample) + 1))
        return Table("csv", numbers, sample, False, separator=separator, start=start, content=content)
    cells = rows[header][1]
    if not found and len(cells) == 1:
        raise BadInput(
            f"{source}: a csv must hold a time and four prices in columns separated by a comma, "
            f"semicolon, tab or |, got the line {cells[0][:60]!r}. Export it as such a csv."
        )
    last = header
    while last + 1 < len(rows) and _is_header_too(rows[last + 1][1]):
        last += 1
    sample = rows[last + 1][1] if last + 1 < len(rows) else ()
    _refuse_double_comma(sample, separator, source)
    more = [cells for _, cells in rows[header + 1 : last + 1]]
    titles = [cell.strip().removeprefix("#").strip() for cell in cells]
    for place, title in enumerate(titles):
        known = [lower[place] for lower in more if place < len(lower) and names.role_of(lower[place])]
        titles[place] = known[0] if known and not names.role_of(title) else title
    symbols = tuple(dict.fromkeys(cell.strip() for lower in more for cell in lower[1:] if cell.strip()))
    unique, start = _unique(titles, sample), rows[last][0]
    return Table("csv", unique, sample, symbols=symbols, separator=separator, start=start, content=content)


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
    return sum(value is not None and value >= _THOUSAND for value in lowest) >= _MIN_NUMBERS


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
        table = pa.table([_json_column(column) for column in columns], names=_unique(names))
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError, pa.ArrowException) as fault:
        raise BadInput(
            f"{source}: JSON must hold rows, as [[time, open, high, low, close], ...] or "
            f'[{{"time": ..., "open": ...}}, ...], got: {_first_line(fault)}. Export it so, or as csv.'
        ) from None
    named = isinstance(rows[0], dict)
    return Table("json", _unique(names), _texts(table), named, symbols=symbols, values=table)


def _json_rows(data: Any) -> tuple[tuple[str, ...], list[Any]]:
    """The rows of parsed JSON, and the texts beside them: a list, or an object with one or with columns."""
    if isinstance(data, list):
        return (), data
    texts = tuple(value for value in data.values() if isinstance(value, str))
    lists = {name: value for name, value in data.items() if isinstance(value, list) and value}
    nested = [value for value in lists.values() if isinstance(value[0], dict | list)]
    if nested:
        return texts, max(nested, key=len)
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


def _refuse_long_lines(content: bytes, source: str) -> None:
    """Refuse text with no line end in a block of MAX_LINE_BYTES."""
    for first in range(0, len(content) - MAX_LINE_BYTES, MAX_LINE_BYTES):
        block = first, first + MAX_LINE_BYTES
        if content.find(b"\n", *block) < 0 and content.find(b"\r", *block) < 0:
            raise BadInput(
                f"{source}: each line of a csv must be at most {MAX_LINE_BYTES // 2**20} MiB long, got a "
                f"longer one from byte {first:,} on. Export it again."
            )


def _first_lines(content: bytes, source: str) -> list[tuple[int, str]]:
    """The first lines that are not blank, each with the byte offset of its end."""
    if len(content) > HEADER_BYTES and not re.search(rb"[\r\n]", content[:HEADER_BYTES]):
        raise BadInput(
            f"{source}: the first line of a csv must be at most {HEADER_BYTES // 2**10} KiB long, got a "
            "longer one. Export fewer columns."
        )
    lines, end = [], 0
    for line in content[:HEADER_BYTES].splitlines(keepends=True):
        end += len(line)
        if line.strip():
            lines.append((end, line))
    if len(content) > HEADER_BYTES and len(lines) > 1:
        lines.pop()  # cut off in the middle
    try:
        return [(end, line.decode("utf-8-sig").rstrip("\r\n")) for end, line in lines[:_SAMPLE_LINES]]
    except UnicodeDecodeError:
        raise BadInput(
            f"{source}: a csv file must be UTF-8 text, got other bytes. Export it as UTF-8."
        ) from None


def _named_header(lines: Sequence[tuple[int, str]], names: HeaderNames) -> tuple[int, str] | None:
    """The first line that names all required roles, and the separator that shows it."""
    for place, (_, text) in enumerate(lines):
        for separator in SEPARATORS:
            if names.is_header(_cells(text.lstrip().removeprefix("#"), separator)):
                return place, separator
    return None


def _unnamed_header(rows: Sequence[tuple[int, Sequence[str]]]) -> int | None:
    """The line above the first bar, if it may name columns; without a bar the first wide line."""
    wide = [place for place, (_, cells) in enumerate(rows) if len(cells) >= _MIN_CELLS]
    bars = [place for place in wide if _is_bar(rows[place][1])]
    if not bars:
        return wide[0] if wide else 0
    above = bars[0] - 1
    return above if above in wide and not rows[above][1][0].lstrip().startswith("#") else None


def _is_header_too(cells: Sequence[str]) -> bool:
    """True for a line below the header that holds more names: no digit where times are, and no number."""
    return not any(
        re.search(r"\d", cell) if not place else _NUMBER.fullmatch(cell) for place, cell in enumerate(cells)
    ) and any(cell.strip() for cell in cells)


def _separator(texts: Sequence[str]) -> str:
    """The separator that splits most lines into enough cells, else the most frequent in the first line."""
    for separator in SEPARATORS:
        n_wide = sum(len(_cells(text, separator)) >= _MIN_CELLS for text in texts)
        if 2 * n_wide >= len(texts):
            return separator
    return max(SEPARATORS, key=texts[0].count)


def _cells(text: str, separator: str) -> tuple[str, ...]:
    try:
        return tuple(next(csv.reader([text], delimiter=separator), []))
    except csv.Error:
        return (text,)


def _refuse_double_comma(cells: Sequence[str], separator: str, source: str) -> None:
    """Refuse 18000,25,18002,75,...: prices split at their decimal comma."""
    if separator == "," and any(_holds_halves(cells[first : first + 8]) for first in (1, 2)):
        raise BadInput(
            f"{source}: the comma must either separate the cells or be the decimal sign, got both in "
            f"{separator.join(cells)[:80]!r}. Export with semicolons between the cells, or decimal points."
        )


def _holds_halves(cells: Sequence[str]) -> bool:
    numbers = [cell.strip() for cell in cells]
    pairs = zip(numbers[::2], numbers[1::2], strict=False)
    return len(numbers) == 8 and all(
        whole.isdecimal() and part.isdecimal() and len(part) <= 2 < len(whole) for whole, part in pairs
    )


def _is_bar(cells: Sequence[str]) -> bool:
    return sum(bool(_NUMBER.fullmatch(cell.strip())) for cell in cells) >= _MIN_NUMBERS


def _unique(header: Sequence[str], sample: Sequence[str] = ()) -> tuple[str, ...]:
    """Make the names unique; add a column if rows end in one more, empty cell."""
    names = [name.strip() for name in header]
    if len(sample) == len(names) + 1 and not sample[-1].strip():
        names.append("")
    counts = Counter(names)
    return tuple(
        name if counts[name] == 1 and name else f"{name}#{place}" for place, name in enumerate(names, start=1)
    )
