"""Text in columns: its separator, its header, and where its rows begin."""

import ast
import csv
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import pyarrow as pa

from moola_pipeline.errors import BadInput

SEPARATORS = ("\t", ";", "|", ",")
"""In order of trial: a later one may stand inside cells (a decimal comma), not the reverse."""
HEADER_BYTES = 65_536
MAX_LINE_BYTES = 2**20
"""Longest csv line: a bar takes about 100 bytes, and pyarrow reads blocks of this size."""
_SAMPLE_LINES = 50
_NUMBER = re.compile(r"[+-]?[.\d][\d.,' \u00a0\u202f]*([eE][+-]?\d+)?")
_MIN_NUMBERS = 4
"""A line with at least this many numbers is a bar, not a header."""
_MIN_ROW_NUMBERS = 3
"""Cells with a digit that make a line above the header a row: a time, and prices or both ends of a span."""
_MIN_CELLS = 5
"""A bar has a time and four prices: a line with fewer cells is neither a bar nor its header."""


@dataclass(frozen=True)
class HeaderNames:
    """The names that a header may hold.

    Attributes:
        role_of: Role of a column's name; None if it has none.
        required: Roles that a line must name to be the header, wherever it stands.
        wanted: What a table must hold, for errors.
        levels: Whether lines below the header may hold more names.
    """

    role_of: Callable[[str], str | None]
    required: Collection[str]
    wanted: str = "a time and four prices"
    levels: bool = True

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
    title = re.sub(r"^\d+[.)] *", "", title if place.isdecimal() else name)  # 1. open
    return re.sub(r"[^a-z0-9/]", "", title.lower())


def name_parts(name: str) -> tuple[str, ...]:
    """Parts of a name with a symbol in it, as ('Close', 'NQ=F') or NQ=F Close; else the name alone."""
    if name.startswith("(") and name.endswith(")"):
        with suppress(ValueError, SyntaxError, MemoryError, RecursionError):
            parts = ast.literal_eval(name)
            return tuple(map(str, parts)) if isinstance(parts, tuple) else (name,)
    symbol, blank, title = name.partition(" ")
    return (title, symbol) if blank and re.search(r"[=!@]", symbol) else (name,)


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
    refuse_swallowed_rows(content, separator, source)
    rows = [(end, _cells(text, separator)) for end, text in lines]
    header = found[0] if found else _unnamed_header(rows)
    _refuse_rows_above(rows[: header or 0], len(rows[header or 0][1]), source)
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
            f"{source}: a csv must hold {names.wanted} in columns separated by a comma, "
            f"semicolon, tab or |, got the line {cells[0][:60]!r}. Export it as such a csv."
        )
    last = header
    while names.levels and last + 1 < len(rows) and _is_header_too(rows[last + 1][1]):
        last += 1
    sample = rows[last + 1][1] if last + 1 < len(rows) else ()
    _refuse_double_comma(sample, separator, source)
    more = [cells for _, cells in rows[header + 1 : last + 1]]
    titles = [cell.strip().removeprefix("#").strip() for cell in cells]
    for place, title in enumerate(titles):
        known = [lower[place] for lower in more if place < len(lower) and names.role_of(lower[place])]
        titles[place] = known[-1] if known and not names.role_of(title) else title
    beside = [cell.strip() for lower in more for cell in lower[1:] if cell.strip()]
    above = [symbol for _, text in lines[:header] for symbol in _symbols_in(text)]
    symbols = tuple(dict.fromkeys([*beside, *above, *named_symbols(titles)]))
    unique, start = unique_names(titles, sample), rows[last][0]
    return Table("csv", unique, sample, symbols=symbols, separator=separator, start=start, content=content)


def named_symbols(names: Iterable[str]) -> list[str]:
    """The symbols in names such as `ES=F Close` and `('Close', 'ES=F')`."""
    return [part for name in names for part in name_parts(name)[1:]]


def _symbols_in(text: str) -> list[str]:
    """Words of a line above the header that may be symbols: in capitals, as `# symbol=ES, ESH25 1 minute`."""
    words = [word for parts in (r"[^A-Za-z0-9!=@#/]+", r"[^A-Za-z0-9!@/]+") for word in re.split(parts, text)]
    return [word for word in words if word and word == word.upper()]


def _refuse_rows_above(rows: Sequence[tuple[int, Sequence[str]]], n_cells: int, source: str) -> None:
    """Refuse rows above the header: they would be left out without a word."""
    for _, cells in rows:
        n_numbers = sum(bool(re.search(r"\d", cell)) for cell in cells)
        if len(cells) == n_cells and n_numbers >= _MIN_ROW_NUMBERS:
            raise BadInput(
                f"{source}: rows must stand below the header, but above it there is one "
                f"({', '.join(cells)[:60]}). Move the header to the top."
            )


def refuse_swallowed_rows(content: bytes, separator: str, source: str) -> None:
    """Refuse a quote that opens a cell and does not close in its line, if rows follow inside the cell.

    Readers take everything up to the next quote, or to the end, as one cell, and say nothing. A cell of
    several lines of text passes.

    Raises:
        BadInput: If there is one; the text names its row.
    """
    if b'"' not in content:
        return
    between = separator.encode()
    opens = re.compile(rb'(?:^|%s) *"(?:[^"]|"")*$' % re.escape(between))
    row, swallowed, n_cells = 0, 0, 0
    for number, line in enumerate(content.splitlines(), 1):
        if row:
            swallowed += line.count(between) >= n_cells - 1
            if line.count(b'"') % 2 == 0:
                continue
            if swallowed:
                break
            row = 0
        elif line.count(b'"') % 2 and opens.search(line):
            row, swallowed, n_cells = number, 0, line.count(between) + 1
    if row:
        raise BadInput(
            f'{source}: a cell that begins with " must end with one, but in row {row:,} it does not, and '
            "would take up the rows after it. Close it, or write the quote twice."
        )


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
    """True for a line below the header that holds more names: a row has a time, and so a digit."""
    text = "".join(cells)
    return bool(text.strip()) and not re.search(r"\d", text)


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


def unique_names(header: Sequence[str], sample: Sequence[str] = ()) -> tuple[str, ...]:
    """Make the names unique; add a column if rows end in one more, empty cell."""
    names = [name.strip() for name in header]
    if len(sample) == len(names) + 1 and not sample[-1].strip():
        names.append("")
    counts = Counter(names)
    return tuple(
        name if counts[name] == 1 and name else f"{name}#{place}" for place, name in enumerate(names, start=1)
    )
