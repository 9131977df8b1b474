"""Roles of a table's columns: time, prices, volume and contract, by name, by position or as the user says."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as _compute

from moola_pipeline.bars.csv_tables import HeaderNames, Table, name_parts, plain_name
from moola_pipeline.bars.file_times import proves_utc
from moola_pipeline.bars.number_parsing import DOT, NumberStyle, price_style, trimmed
from moola_pipeline.bars.row_rules import NEEDS_CELLS, NEEDS_NUMBERS, CellFault
from moola_pipeline.bars.schema import PRICE_COLUMNS
from moola_pipeline.bars.symbols import is_clear_symbol
from moola_pipeline.bars.table_columns import table_values
from moola_pipeline.errors import BadInput

pc: Any = _compute  # its functions are made at run time
KNOWN_NAMES = {
    "open": ("open", "o"),
    "high": ("high", "h"),
    "low": ("low", "l"),
    "close": ("close", "c", "last", "close/last"),
    "volume": (
        *("volume", "vol", "v", "totalvolume", "totalvol", "volumecontracts", "contracts", "tradedvolume"),
        *("realvolume", "quantity", "qty", "size", "lots", "tickvolume", "tickvol"),
    ),
    "contract": ("contract", "symbol", "ticker", "instrument", "rawsymbol", "localsymbol", "contractcode"),
}
"""Known column names of each role but the time, as `plain_name` gives them, the best first."""
TIME_NAMES = ("timestamp", "time", "datetime", "date_time", "ts", "ts_utc", "ts_event", "t", "date")
"""The usual names of times; `_is_time_name` knows more."""
FRAME_NAMES = (*TIME_NAMES, *(name for names in KNOWN_NAMES.values() for name in names))
COLUMN_ROLES = ("time", *KNOWN_NAMES, "date")
REQUIRED_ROLES = ("time", *PRICE_COLUMNS)
OPTIONAL_ROLES = ("volume", "contract")
ID_ROLE = "instrument id"
"""Role of a number that identifies a contract; it is read as text."""
NUMBER_ROLES = (*PRICE_COLUMNS, "volume")
_TIME_WORDS = {"time", "timestamp", "datetime", "ts", "t", "stamp", "window"}
_BESIDE_TIME = {"event", "bar", "open", "start", "begin", "local", "exchange"} | {
    *("utc", "gmt", "et", "est", "edt", "eastern", "ny", "ct", "cst", "cdt", "central", "date")
}
_SYMBOL_WORDS = {
    *("symbol", "ticker", "contract", "instrument", "expiry", "expiration", "maturity", "delivery", "code"),
    *("name", "root", "underlying", "product", "security", "ric", "conid", "isin", "figi", "sid"),
}
_ANY_NAMES = {"code", "name", "product", "security"}
"""Of these, words that beside another one may name anything, as in session_name."""
_CLOCK = re.compile(r"\d{1,2}:\d{2}(:\d{2}([.,]\d+)?)?( ?[AaPp]\.?[Mm]\.?)?|\d{1,6}")
_DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}|\d{8}|\d{1,2}[-/ ][A-Za-z]{3,9}[-/ ]\d{2,4}")


@dataclass(frozen=True)
class FileColumns:
    """Column values of a file.

    Attributes:
        values: (n,) by role: float64 prices and volume, times not parsed; null where a cell is empty or
            not a number.
        symbols: (n,) text by column, for each column that may hold symbols; that of the contracts first.
        faults: Lines with too few or too many cells, and cells that are not numbers.
    """

    values: dict[str, pa.ChunkedArray]
    symbols: dict[str, pa.ChunkedArray]
    faults: tuple[CellFault, ...] = ()


def role_of(name: str) -> str | None:
    """Role of a column by its name; None if the name is unknown."""
    parts = [plain_name(part) for part in name_parts(name)]
    for role, names in KNOWN_NAMES.items():
        if any(part in names for part in parts):
            return role
    return "time" if _is_time_name(name) else "date" if _is_date_name(name) else None


def header_names(named: Mapping[str, str]) -> HeaderNames:
    """Names of a header of bars; the names that the user gave count as known."""
    chosen = {name: role for role, name in named.items()}
    return HeaderNames(lambda cell: chosen.get(cell.strip()) or role_of(cell.strip()), PRICE_COLUMNS)


def find_columns(
    table: Table, positions: Sequence[str], named: Mapping[str, str], source: str
) -> dict[str, str]:
    """Find the column of each role: as named by the user, else by position, else by name.

    Args:
        table: The file's columns.
        positions: Role of each column, if the vendor's format fixes them; else ().
        named: Column by role, as the user named them, by name or number; "" leaves a role out.
        source: Name of the file, for errors.

    Raises:
        BadInput: If a required role has no column or several, or a named column is missing.
    """
    names = table.names
    given = {role: _given_name(names, name) for role, name in named.items()}
    if unknown := [named[role] for role, name in given.items() if name is None]:
        raise BadInput(
            f"{source}: --columns must name columns of the file, got {', '.join(unknown)}. "
            f"It has {_listed(names)}."
        )
    columns = dict(zip(positions, names, strict=False)) | {role: str(name) for role, name in given.items()}
    taken = {*columns.values()}
    free = [name for name in names if name not in taken]
    for role, known in KNOWN_NAMES.items():
        if role not in columns and (matches := _matches(free, known)):
            columns[role] = _only(matches, role, source)
    taken = {*columns.values()}
    if "time" not in columns and (matches := _times(table, taken)):
        columns["time"] = _only(matches, "time", source)
    if missing := [role for role in REQUIRED_ROLES if role not in columns]:
        raise _missing_columns(table, missing, source)
    if "date" not in columns and _CLOCK.fullmatch(table.cell(columns["time"])):
        dates = [name for name in names if _is_date_name(name) and name not in (columns["time"], *taken)]
        if len(dates) == 1:
            columns["date"] = dates[0]
    return {role: columns[role] for role in COLUMN_ROLES if columns.get(role)}


def read_columns(table: Table, columns: Mapping[str, str], source: str) -> FileColumns:
    """Read the values of each role; a date and a time of day are joined to one text, role `time`.

    Raises:
        BadInput: If the file is damaged or has no rows, or the decimal sign of its prices is ambiguous.
    """
    text_roles = ["contract", ID_ROLE, "date", *(["time"] if "date" in columns else [])]
    texts, numbers = (
        [columns[role] for role in roles if role in columns] for roles in (text_roles, NUMBER_ROLES)
    )
    symbols = _symbol_columns(table, columns)
    read, lines = table_values(table, [*texts, *symbols], numbers, [*columns.values()], source)
    if not read.num_rows:
        raise BadInput(f"{source}: a bar file must hold bars, got no rows. Export it again.")
    values = {role: _decoded(read.column(name)) for role, name in columns.items() if role != "contract"}
    if "date" in values:
        values["time"] = _joined(values.pop("date"), values["time"])
    faults = [_line_fault(lines, read.num_rows)] if lines else []
    if 2 * len(lines) > read.num_rows:
        first = min(lines)
        raise BadInput(
            f"{source}: each row must have {len(table.names)} cells, but {len(lines):,} of "
            f"{read.num_rows:,} do not, first in row {first + 1:,} ({faults[0].quote(first)}). "
            "Export it again, with a name in the header for each column."
        )
    faults += _read_numbers(values, columns, source)
    return FileColumns(
        values, {name: _as_text(_decoded(read.column(name))) for name in symbols}, tuple(faults)
    )


def _symbol_columns(table: Table, columns: Mapping[str, str]) -> list[str]:
    """The columns that may hold symbols: the one read as contract, others by their name or first cell."""
    free = [name for name in table.names if name not in columns.values()]
    named = [name for name in free if role_of(name) == "contract"]
    others = [
        name
        for name in free
        if name not in named and (_words(name) & _SYMBOL_WORDS or is_clear_symbol(table.cell(name)))
    ]
    return [*([columns["contract"]] if "contract" in columns else []), *named, *others]


def names_symbols(column: str) -> bool:
    """Whether a column's name says that it holds symbols, whatever they look like."""
    words = _words(column)
    return bool(words & _SYMBOL_WORDS - _ANY_NAMES) or words <= _ANY_NAMES


def unused_volume(table: Table, columns: Mapping[str, str]) -> str:
    """A column that may hold the volume, if none was read as volume; else empty."""
    free = [name for name in table.names if name not in columns.values() and "volume" not in columns]
    return next((name for name in free if re.search("vol|turnover", name.lower())), "")


def _is_time_name(name: str) -> bool:
    words = _words(name)
    return words <= _TIME_WORDS | _BESIDE_TIME and bool(
        words & _TIME_WORDS or (words and words <= {"utc", "gmt"})
    )


def _is_date_name(name: str) -> bool:
    words = _words(name)
    return "date" in words and words <= _BESIDE_TIME


def _words(name: str) -> set[str]:
    """The words of a name: `DateTime_UTC` has datetime and utc."""
    title = name.rpartition("#")[0] or name
    return set(re.findall(r"[a-z]+", title.lower()))


def _matches(free: Sequence[str], known: Sequence[str]) -> list[str]:
    """The columns with the best known name."""
    parts = {name: [plain_name(part) for part in name_parts(name)] for name in free}
    for title in known:
        if matches := [name for name in free if title in parts[name]]:
            return matches
    return []


def _times(table: Table, taken: set[str]) -> list[str]:
    """The columns that may hold the time; one that says UTC, or carries an offset, is preferred."""
    free = [name for name in table.names if name not in taken]
    matches = [name for name in free if _is_time_name(name) and name not in table.index]
    matches = matches or [name for name in table.index if isinstance(name, str)]
    matches = matches or [name for name in free if _is_date_name(name)]
    if len(matches) > 1:
        proven = [name for name in matches if proves_utc(name)]
        return proven if len(proven) == 1 else matches
    return matches


def _only(matches: Sequence[str], role: str, source: str) -> str:
    if len(matches) > 1:
        raise BadInput(
            f"{source}: one column must hold the {role}, got {_listed(matches)}. "
            f"Choose with --columns {role}={_quoted(matches[0])}."
        )
    return matches[0]


def _given_name(names: Sequence[str], given: str) -> str | None:
    """The column that the user named, by its name or its number; None if there is none."""
    if given in names or not given:
        return given
    if len(same := [name for name in names if name.strip().lower() == given.lower()]) == 1:
        return same[0]
    place = int(given) - 1 if given.isdecimal() and len(given) < 9 else -1
    return names[place] if 0 <= place < len(names) else None


def _missing_columns(table: Table, missing: list[str], source: str) -> BadInput:
    if not table.has_header:
        return BadInput(
            f"{source}: a file must have a header line or a known format, but it begins with "
            f"{table.separator.join(table.sample)[:100]!r}. Name the vendor with --format, "
            f"or the column numbers with --columns {_example(table.sample)}."
        )
    example = ",".join(f"{role}=NAME" for role in missing)
    quotes = " (a name with a comma in double quotes)" if any("," in name for name in table.names) else ""
    return BadInput(
        f"{source}: columns must hold {', '.join(REQUIRED_ROLES)}, got {_listed(table.names)}. "
        f"Name the missing ones with --columns {example}{quotes}."
    )


def _example(sample: Sequence[str]) -> str:
    """Column numbers that fit the first row: its date, a clock behind it, then the numbers in their order."""
    cells = [cell.strip() for cell in sample] or [""]
    first = next((place for place, cell in enumerate(cells) if _DATE.match(cell)), 0)
    clock = cells[first + 1] if first + 1 < len(cells) else ""
    parted = bool(_DATE.fullmatch(cells[first])) and bool(_CLOCK.fullmatch(clock))
    symbol = next((place for place, cell in enumerate(cells) if is_clear_symbol(cell)), None)
    times = [first, *([first + 1] if parted else [])]
    others = [place for place in range(len(cells)) if place not in (*times, symbol)]
    behind = [place for place in others if place > first]
    places = times + (behind if len(behind) >= len(PRICE_COLUMNS) else others)
    roles = [*(["date"] if parted else []), *REQUIRED_ROLES, "volume"]
    chosen = [*([("contract", symbol)] if symbol is not None else []), *zip(roles, places, strict=False)]
    return ",".join(f"{role}={place + 1}" for role, place in chosen)


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
        parse = NumberStyle.amounts if role == "volume" else NumberStyle.numbers
        numbers, invalid = parse(style, texts[role])
        values[role] = pa.chunked_array([pa.array(numbers, from_pandas=True)])
        if invalid.any():
            faults.append(CellFault(NEEDS_NUMBERS, invalid, columns[role], texts[role]))
    return faults


def _decoded(values: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = values.type
    return values.cast(kind.value_type) if pa.types.is_dictionary(kind) else values


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _as_text(values: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_floating(values.type):  # pandas reads numbers with gaps as floats
        values = values.cast(pa.int64(), safe=False)
    try:
        return values.cast(pa.string())
    except pa.ArrowException:  # lists, structs, bytes that are no text: they name no instrument
        return pa.chunked_array([pa.nulls(len(values), pa.string())])


def _joined(dates: pa.ChunkedArray, clocks: pa.ChunkedArray) -> pa.ChunkedArray:
    parts = [pc.utf8_trim_whitespace(part.cast(pa.string())) for part in (dates, clocks)]
    return pc.binary_join_element_wise(*parts, pa.scalar(" "))


def _as_floats(values: pa.ChunkedArray, column: str, source: str) -> pa.ChunkedArray:
    kind = values.type
    if not (
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_null(kind)
    ):
        raise BadInput(
            f"{source}: {column} must hold numbers, got {kind}. Correct it, or name another column."
        )
    return values.cast(pa.float64(), safe=False)


def _quoted(name: str) -> str:
    return f'"{name}"' if "," in name else name


def _listed(names: Sequence[str]) -> str:
    listing = ", ".join(_quoted(repr(name)[1:-1]) for name in names[:20]) or "none"
    return listing + (", ..." if len(names) > 20 else "")
