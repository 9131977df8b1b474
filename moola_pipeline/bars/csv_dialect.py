"""Layout of a table file: parquet, DBN or csv, with separator, header and the lines above it."""

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from moola_pipeline.bars.dbn import DBN_COLUMNS, DBN_MAGIC
from moola_pipeline.bars.decompress import other_file_kind
from moola_pipeline.errors import BadInput

SEPARATORS = ("\t", ";", "|", ",")
"""In order of trial: a later one may stand inside cells (a decimal comma), not the reverse."""
HEADER_BYTES = 65_536
MAX_LINE_BYTES = 2**20
"""Longest csv line: a bar takes about 100 bytes, and pyarrow reads blocks of this size."""
MAX_ROWS = 30_000_000
"""Most rows of a parquet file: minutes of 57 years. A small file can encode any number of rows."""
_SAMPLE_LINES = 20
_NUMBER = re.compile(r"[+-]?[.\d][\d.,' \u00a0\u202f]*([eE][+-]?\d+)?")
_CLOCK = re.compile(r"\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?( ?[AaPp][Mm])?|\d{1,6}")
_MIN_NUMBERS = 4
"""A first line with at least this many numbers is a bar, not a header."""
_MIN_CELLS = 5
"""A bar has a time and four prices: a line with fewer cells is neither a bar nor its header."""


@dataclass(frozen=True)
class Layout:
    """Layout of a table file.

    Attributes:
        kind: parquet, csv or dbn.
        names: Unique column names: numbers from 1 if a csv has no header; a name that occurs more
            than once gets its column number, as in close#5.
        index: Columns that pandas wrote as an index of times.
        clocks: Columns that hold a time of day.
        separator: Between the cells of a csv.
        start: Number of bytes before the first row of a csv.
        first_row: The cells of the first line of a csv without header, else ().
        sample: The cells of the first bar of a csv.
    """

    kind: str
    names: tuple[str, ...]
    index: tuple[str, ...] = ()
    clocks: frozenset[str] = frozenset()
    separator: str = ","
    start: int = 0
    first_row: tuple[str, ...] = ()
    sample: tuple[str, ...] = ()


def file_layout(content: bytes, source: str) -> Layout:
    """Detect the layout of a file from its bytes.

    Raises:
        BadInput: If the file is neither parquet, DBN nor text in columns, or is damaged parquet.
    """
    if content.startswith(b"PAR1"):
        return _parquet_layout(content, source)
    if content.startswith(DBN_MAGIC):
        return Layout("dbn", DBN_COLUMNS)
    if kind := other_file_kind(content):
        raise BadInput(f"{source}: a bar file must be parquet, csv or DBN, got {kind}.")
    if b"\0" in content[:4096]:
        raise BadInput(
            f"{source}: a bar file must be parquet, csv or DBN, got other bytes. Export it as one of them."
        )
    return _csv_layout(content, source)


def unreadable(source: str, fault: Exception) -> BadInput:
    """The error for a file that cannot be parsed."""
    came = next(iter(str(fault).splitlines()), type(fault).__name__).rstrip(".")
    return BadInput(f"{source}: a bar file must be whole, got: {came}. Export it again.")


def _parquet_layout(content: bytes, source: str) -> Layout:
    try:
        metadata = pq.read_metadata(pa.BufferReader(content))
        schema = metadata.schema.to_arrow_schema()
        pandas_metadata = schema.pandas_metadata or {}
    except (pa.ArrowException, OSError, ValueError) as fault:
        raise unreadable(source, fault) from None
    if metadata.num_rows > MAX_ROWS:
        raise BadInput(
            f"{source}: a bar file must hold at most {MAX_ROWS:,} rows, got {metadata.num_rows:,}. Split it."
        )
    if duplicates := [name for name, count in Counter(schema.names).items() if count > 1]:
        raise BadInput(
            f"{source}: a parquet file must have each column once, got {duplicates[0]!r} more than once. "
            "Write it again under other names."
        )
    index = pandas_metadata.get("index_columns", []) if isinstance(pandas_metadata, dict) else []
    index = [name for name in index if isinstance(name, str) and name in schema.names]
    return Layout(
        "parquet",
        tuple(schema.names),
        tuple(name for name in index if pa.types.is_timestamp(schema.field(name).type)),
        frozenset(field.name for field in schema if pa.types.is_time(field.type)),
    )


def _csv_layout(content: bytes, source: str) -> Layout:
    _refuse_long_lines(content, source)
    lines = _first_lines(content, source)
    separator = _separator([text for _, text in lines])
    rows = [(end, _cells(text, separator)) for end, text in lines]
    wide = [place for place, (_, cells) in enumerate(rows) if len(cells) >= _MIN_CELLS]
    head = wide[0] if wide else 0
    end, names = rows[head]
    if not wide and len(names) == 1:
        raise BadInput(
            f"{source}: a csv must hold a time and four prices in columns separated by a comma, "
            f"semicolon, tab or |, got the line {names[0][:60]!r}. Export it as such a csv."
        )
    sample = rows[head + 1][1] if head + 1 < len(rows) else ()
    _refuse_double_comma(names if _is_bar(names) else sample, separator, source)
    if _is_bar(names):
        numbers = tuple(str(number) for number in range(1, len(names) + 1))
        return Layout("csv", numbers, (), _clocks(numbers, names), separator, 0, names, names)
    names = _unique(names, sample)
    return Layout("csv", names, (), _clocks(names, sample), separator, end, (), sample)


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


def _unique(header: Sequence[str], sample: Sequence[str]) -> tuple[str, ...]:
    """Make the names unique; add a column if rows end in one more, empty cell."""
    names = [name.strip() for name in header]
    if len(sample) == len(names) + 1 and not sample[-1].strip():
        names.append("")
    counts = Counter(names)
    return tuple(
        name if counts[name] == 1 and name else f"{name}#{place}" for place, name in enumerate(names, start=1)
    )


def _clocks(names: Sequence[str], sample: Sequence[str]) -> frozenset[str]:
    return frozenset(
        name for name, cell in zip(names, sample, strict=False) if _CLOCK.fullmatch(cell.strip())
    )
