"""Read a table into clean one-minute bars in UTC: options, zone and stamp, contracts, checks."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from moola_pipeline.bars.cleaning import (
    IN_TRADING_HOURS,
    MAX_REJECTED,
    RowCounts,
    SiftedBars,
    sift_bars,
    without_bars,
    without_filler,
)
from moola_pipeline.bars.clocks import FileTimes, in_utc, read_times, require_zone
from moola_pipeline.bars.columns import (
    COLUMN_ROLES,
    ID_ROLE,
    OPTIONAL_ROLES,
    FileColumns,
    find_columns,
    read_columns,
    symbol_columns,
    unused_volume,
)
from moola_pipeline.bars.csv_tables import Table
from moola_pipeline.bars.formats import (
    DATABENTO,
    INSTRUMENT_ID,
    PLAIN,
    VENDOR_FORMATS,
    VendorFormat,
    fitting_formats,
    format_name,
)
from moola_pipeline.bars.instruments import INSTRUMENTS, NQ, instrument_named
from moola_pipeline.bars.plausibility import refuse_implausible
from moola_pipeline.bars.row_rules import NEEDS_TIME, CellFault
from moola_pipeline.bars.schema import BAR_INTERVAL, PRICE_COLUMNS
from moola_pipeline.bars.session_clock import (
    MIN_BREAKS,
    SessionClock,
    TimeConvention,
    daily_breaks,
    is_empty_filler,
    is_filler,
    session_clock,
    wall_minutes,
)
from moola_pipeline.bars.sessions import NEW_YORK
from moola_pipeline.bars.symbols import Symbol, file_instruments, is_clear_symbol, parse_symbol
from moola_pipeline.bars.table_columns import frame_table, table_values
from moola_pipeline.errors import BadInput

FORMATS = tuple(VENDOR_FORMATS)
STAMPS = ("open", "close")
FRAME = "bars"
"""Source name of a DataFrame in errors."""
MAX_VOLUME = 2**53
WHOLE_VOLUME = "have a volume that is a whole number of contracts"
FIXED_POINT = 1e9
"""Fixed-point units of an index point in Databento's csv, if its prices are not decimal."""
MAX_POINTS = 1e8
"""Greater prices are in fixed point: no index is so high."""
_LAST_SECOND = 59
_COMMAS = re.compile(r""",(?=(?:[^"']*["'][^"']*["'])*[^"']*$)""")
"""Commas outside quotes."""


@dataclass(frozen=True)
class VendorOptions:
    """The user's options for reading bars; None means that the file decides.

    Attributes:
        format: One of FORMATS, or an alias of one.
        timezone: IANA zone of times without a zone.
        stamp: Whether a time is the bar's open or close; None means the stamp of the format, else
            open.
        columns: Column of each role, by name or number: time, open, high, low, close, volume, contract, and
            date if `time` is a time of day; "" leaves volume or contract out.
        instrument: Instrument of the bars; None means the default, unless the file names another.
    """

    format: str | None = None
    timezone: str | None = None
    stamp: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    instrument: str | None = None

    def __post_init__(self) -> None:
        _require_one_of("--format", self.format and format_name(self.format), FORMATS)
        _require_one_of("--stamp", self.stamp, STAMPS)
        if self.instrument is not None:
            instrument_named(self.instrument)
        if self.timezone is not None:
            require_zone(self.timezone)
        if unknown := set(self.columns) - set(COLUMN_ROLES):
            raise BadInput(
                f"--columns must name roles among {', '.join(COLUMN_ROLES)}, "
                f"got {', '.join(sorted(unknown))}. Write role=NAME, for example time=ts,close=Last."
            )
        chosen = [name for name in self.columns.values() if name]
        if len(set(chosen)) < len(chosen):
            raise BadInput(
                "--columns must give each role a different column, got one column twice. Write each once."
            )
        if left_out := {role for role, name in self.columns.items() if not name} - set(OPTIONAL_ROLES):
            raise BadInput(
                f"--columns can leave out {' and '.join(OPTIONAL_ROLES)} only, got {', '.join(left_out)}=. "
                "Name a column."
            )


@dataclass(frozen=True)
class VendorFacts:
    """How a file was read; VendorOptions with these values read it in the same way."""

    format: str
    timezone: str
    stamp: str
    columns: dict[str, str]
    instrument: str


@dataclass(frozen=True)
class VendorBars:
    """Clean bars of one file, and how it was read.

    Attributes:
        sifted: Kept and rejected rows.
        facts: How it was read.
        zone_known_by: Source of the zone: the times, the format, its daily breaks or --timezone.
        stamp_known_by: Source of the stamp: the format, the default, its daily breaks, the seconds, --stamp.
        volume: Why the bars have no volume; empty if they have it.
    """

    sifted: SiftedBars
    facts: VendorFacts
    zone_known_by: str
    stamp_known_by: str
    volume: str = ""

    @property
    def frame(self) -> pd.DataFrame:
        """RAW_COLUMNS, and `contract` (str) if the file has it."""
        return self.sifted.bars

    @property
    def counts(self) -> RowCounts:
        """Row counts."""
        return self.sifted.counts

    @property
    def rejected(self) -> pd.DataFrame:
        """Rejected rows: `row`, `reason`, `found`, and the row as it was read."""
        return self.sifted.rejected


class _Convention(NamedTuple):
    """Format, zone and stamp of a file, and the source of zone and stamp."""

    vendor: VendorFormat
    zone: str
    stamp: str
    zone_known_by: str
    stamp_known_by: str


def column_mapping(text: str) -> dict[str, str]:
    """Parse a mapping such as `time=ts,close="Close, USD",volume=`.

    Raises:
        BadInput: If a part is not role=NAME, or a role comes twice.
    """
    mapping: dict[str, str] = {}
    for part in _COMMAS.split(text):
        role, equals, name = (piece.strip() for piece in part.strip(" \"'").partition("="))
        name = name.strip("\"'")
        if not (role and equals) or role in mapping or (not name and role not in OPTIONAL_ROLES):
            raise BadInput(
                f"--columns must hold each role once as role=NAME, got {part!r}. Write time=ts,close=Last; "
                'a name with a comma as close="Close, USD", or its number.'
            )
        mapping[role] = name
    return mapping


def read_frame(frame: pd.DataFrame, options: VendorOptions, instrument: str = NQ.name) -> VendorBars:
    """Read a DataFrame of one-minute bars as `vendor.read_vendor_file` reads a file.

    Args:
        frame: Time as a column, or as the index or a level of it; columns named in any usual way.
        options: The user's options.
        instrument: The instrument if neither the options nor the frame name another.

    Raises:
        BadInput: If it cannot be read without a guess, or its bars contradict how they were read; the text
            names the remedy.
    """
    return checked(read_table(frame_table(frame, FRAME), options, FRAME, instrument), FRAME)


def checked(bars: VendorBars, source: str) -> VendorBars:
    """The bars in trading hours, if they are plausible.

    Raises:
        BadInput: If they contradict how they were read.
    """
    facts, sifted = bars.facts, bars.sifted
    is_stated = bars.zone_known_by == "the times" or facts.format == DATABENTO.name
    reading = TimeConvention(facts.timezone, facts.stamp, is_stated, source)
    clock = session_clock(sifted.bars)
    instrument = instrument_named(facts.instrument)
    refuse_implausible(sifted, clock, reading, instrument, datetime.now(UTC))
    return in_trading_hours(bars, clock, source)


def in_trading_hours(bars: VendorBars, clock: SessionClock, source: str) -> VendorBars:
    """The bars in trading hours.

    Raises:
        BadInput: If too many are outside.
    """
    return replace(bars, sifted=without_bars(bars.sifted, clock.shut, IN_TRADING_HOURS, source))


def read_table(table: Table, options: VendorOptions, source: str, default_instrument: str) -> VendorBars:
    """The bars of a table, including those outside trading hours, not checked yet.

    Raises:
        BadInput: As `read_frame`.
    """
    formats = fitting_formats(table, options.format and format_name(options.format), source)
    layouts = [layout for vendor in formats for layout in vendor.layouts if layout.fits(table)]
    columns = find_columns(table, layouts[0].roles if layouts else (), options.columns, source)
    is_databento = formats == (DATABENTO,)
    ids = {ID_ROLE: INSTRUMENT_ID} if is_databento and "contract" not in options.columns else {}
    read = read_columns(table, columns | ids, source)
    instrument = options.instrument or default_instrument
    _refuse_other_symbols(table, columns, options, instrument, source)
    contract = _contract(read, columns, options, instrument, source)
    times = read_times(read.values["time"], time_column(columns), source)
    raw, faults, volume = _raw_rows(read, columns, contract, is_databento and table.kind == "csv")
    volume = _volume_note(volume, table, columns, options)

    def sifted(zone: str, stamp: str) -> SiftedBars:
        opened = _opens(in_utc(times, zone, time_column(columns), source), stamp)
        rows = raw.copy(deep=False)
        rows.insert(0, "timestamp", opened)
        missing = _time_fault(read.values["time"], columns, opened)
        empty = is_empty_filler(rows)
        if not empty.any():
            return sift_bars(rows, instrument_named(instrument), source, faults=[*faults, *missing])
        return _sifted_but(empty, rows, [*faults, *missing], instrument, source)

    convention = _convention(formats, times, options, time_column(columns), source)
    if isinstance(convention, BadInput):
        sifted("UTC", "open")  # raises if the prices are wrong in any zone
        raise convention
    kept = sifted(convention.zone, convention.stamp)
    kept = without_filler(kept, is_filler(kept.bars))
    left_out = {role: "" for role, name in options.columns.items() if not name}
    facts = VendorFacts(
        convention.vendor.name, convention.zone, convention.stamp, columns | left_out, instrument
    )
    return VendorBars(kept, facts, convention.zone_known_by, convention.stamp_known_by, volume)


def _sifted_but(
    empty: np.ndarray, rows: pd.DataFrame, faults: Sequence[CellFault], instrument: str, source: str
) -> SiftedBars:
    """The bars of all rows but the empty ones (n,), which are counted as filler."""
    left = [replace(fault, broken=fault.broken[~empty], cells=fault.cells.filter(~empty)) for fault in faults]
    others = rows.loc[~empty].reset_index(drop=True)
    sifted = sift_bars(others, instrument_named(instrument), source, faults=left)
    places, n_empty = np.flatnonzero(~empty) + 1, int(empty.sum())
    sifted.rejected["row"] = places[sifted.rejected["row"] - 1]
    counts = replace(sifted.counts, read=sifted.counts.read + n_empty, filler=n_empty)
    return replace(sifted, rows=places[sifted.rows - 1], counts=counts)


def _convention(
    formats: Sequence[VendorFormat], times: FileTimes, options: VendorOptions, column: str, source: str
) -> _Convention | BadInput:
    """Zone and stamp as the file proves them or the user says; else the question to ask.

    Raises:
        BadInput: If the file contradicts an option.
    """
    stamp, stamp_by = options.stamp, "--stamp"
    if _are_last_seconds(times):
        if stamp == "open":
            raise BadInput(
                f"{source}: times at second 59 are the last seconds of bars, got --stamp open. "
                "Give --stamp close."
            )
        stamp, stamp_by = "close", "the seconds"
    fitting = [vendor for vendor in formats if stamp is None or vendor.stamp in (None, "", stamp)]
    fitting = fitting or [*formats]
    zone, zone_by = _stated_zone(times, options, column, source)
    if zone is not None:
        fitting = [vendor for vendor in fitting if vendor.timezone == zone] or fitting
    plain = PLAIN.get(formats[0].kinds[0], formats[0])
    is_known = len(fitting) == 1 and (options.format is not None or not fitting[0].shared)
    if zone is None and is_known and fitting[0].timezone:
        zone, zone_by = fitting[0].timezone, "the format"
    if zone is None:
        proven = _proven(fitting, times, stamp, column, source)
        if proven is None:
            return _zone_question(formats, column, source)
        return proven._replace(stamp_known_by=stamp_by) if stamp else proven
    vendor = fitting[0] if is_known else plain
    if stamp is None and any(candidate.stamp == "" for candidate in fitting):
        return BadInput(
            f"{source}: the times of {' or '.join(candidate.name for candidate in fitting)} files may be bar "
            "opens or bar closes, and the file does not show which. Give --stamp close or --stamp open."
        )
    if stamp is None:
        stamp, stamp_by = vendor.stamp or "open", "the format" if vendor.stamp else "the default"
    return _Convention(vendor, zone, stamp, zone_by, stamp_by)


def _stated_zone(
    times: FileTimes, options: VendorOptions, column: str, source: str
) -> tuple[str | None, str]:
    """The zone that the times or the options state, and which of them does."""
    if times.zone is not None:
        if options.timezone not in (None, times.zone):
            raise BadInput(
                f"{source}: --timezone is for times without a zone, but {column} carries its own "
                f"({times.zone}), got --timezone {options.timezone}. Leave --timezone out."
            )
        return times.zone, "the times"
    if options.timezone is not None:
        return options.timezone, "--timezone"
    return ("UTC", "the times") if times.counted else (None, "")


def _proven(
    formats: Sequence[VendorFormat], times: FileTimes, stamp: str | None, column: str, source: str
) -> _Convention | None:
    """The only one of the formats whose zone and stamp the daily breaks of the file prove."""
    proven: list[tuple[np.ndarray, _Convention]] = []
    for vendor in formats:
        for tried in (stamp,) if stamp else (vendor.stamp,) if vendor.stamp else STAMPS:
            if vendor.timezone is None:
                continue
            try:
                opened = _opens(in_utc(times, vendor.timezone, column, source), tried).dropna()
            except BadInput:
                continue
            minutes = np.unique(wall_minutes(opened, NEW_YORK))
            if daily_breaks(SessionClock(minutes)) >= MIN_BREAKS:
                known_by = "its daily breaks"
                proven.append((minutes, _Convention(vendor, vendor.timezone, tried, known_by, known_by)))
    same = all(np.array_equal(minutes, proven[0][0]) for minutes, _ in proven)
    return proven[0][1] if proven and same else None


def _zone_question(formats: Sequence[VendorFormat], column: str, source: str) -> BadInput:
    named = [
        f"--format {vendor.name}{' --stamp close' if vendor.stamp == '' else ''}"
        f"{f' ({vendor.timezone})' if len(formats) > 1 else ''}"
        for vendor in formats
        if vendor.timezone
    ]
    other = f", or the vendor with {' or '.join(named)}" if named else ""
    return BadInput(
        f"{source}: the times in {column} must prove their time zone, got none. Name it with --timezone, for "
        f"example --timezone America/New_York{other}."
    )


def _are_last_seconds(times: FileTimes) -> bool:
    """True if nearly all times lie in the last second of a minute."""
    seconds = times.values.dropna().dt.second.to_numpy()
    return bool(len(seconds)) and float(np.mean(seconds == _LAST_SECOND)) > 1 - MAX_REJECTED


def _opens(times: pd.Series, stamp: str) -> pd.Series:
    """Bar opens from bar opens or closes; a last second stands for the close after it."""
    if stamp == "open":
        return times
    ends = times.where(times.dt.second != _LAST_SECOND, times.dt.ceil("min"))
    return ends - BAR_INTERVAL


def _raw_rows(
    read: FileColumns, columns: Mapping[str, str], contract: pd.Series | None, may_be_fixed: bool
) -> tuple[pd.DataFrame, list[CellFault], str]:
    """Prices, volume and contract of each row, the cells at fault, and why there is no volume."""
    frame = pd.DataFrame(
        {name: _points(read.values[name].to_numpy(), may_be_fixed) for name in PRICE_COLUMNS}
    )
    faults, note = [*read.faults], ""
    values = read.values.get("volume")
    volume = np.full(len(frame), np.nan) if values is None else values.to_numpy()
    known = ~np.isnan(volume)
    odd = known & ~((np.abs(volume) < MAX_VOLUME) & (volume == np.rint(volume)))
    if values is not None and odd.sum() > MAX_REJECTED * len(volume):
        note = f"left out, {columns['volume']} is no whole number of contracts ({volume[odd][0]:g})"
        known, odd = np.zeros(len(frame), bool), np.zeros(len(frame), bool)
    elif values is not None and odd.any():
        faults.append(CellFault(WHOLE_VOLUME, odd, columns["volume"], values))
    whole = np.where(known & ~odd, volume, 0).astype(np.int64)
    frame["volume"] = pd.Series(pd.arrays.IntegerArray(whole, mask=~known | odd))
    if contract is not None:
        frame["contract"] = contract
    return frame, faults, note


def _volume_note(note: str, table: Table, columns: Mapping[str, str], options: VendorOptions) -> str:
    if note or "volume" in columns:
        return note
    if options.columns.get("volume") == "":
        return "left out (--columns)"
    other = unused_volume(table, columns)
    return f"none found; {other} may hold it: --columns volume={other}" if other else "none in the file"


def time_column(columns: Mapping[str, str]) -> str:
    """Name of the time column, or of the date and clock columns, for errors."""
    return " and ".join(columns[role] for role in ("date", "time") if role in columns)


def _time_fault(times: pa.ChunkedArray, columns: Mapping[str, str], opened: pd.Series) -> list[CellFault]:
    """Cells that are neither empty nor a time."""
    broken = opened.isna().to_numpy() & times.is_valid().to_numpy()
    return [CellFault(NEEDS_TIME, broken, time_column(columns), times)] if broken.any() else []


def _points(prices: np.ndarray, may_be_fixed: bool) -> np.ndarray:
    if may_be_fixed and np.isfinite(prices).any() and np.nanmedian(prices) >= MAX_POINTS:
        return prices / FIXED_POINT
    return prices


def _refuse_other_symbols(
    table: Table, columns: Mapping[str, str], options: VendorOptions, instrument: str, source: str
) -> None:
    """Refuse bars that name another instrument: in a column, beside the header, or in the file's name."""
    if options.columns.get("contract") == "":
        return
    named = dict.fromkeys(text for text in table.symbols if is_clear_symbol(text))
    where = "its header"
    for column in symbol_columns(table, columns):
        texts, _ = table_values(table, [column], (), (), source)
        named |= dict.fromkeys(str(text) for text in texts.column(0).unique().to_pylist() if text is not None)
        where = column
    symbols = {text: symbol for text in named if (symbol := parse_symbol(text)) is not None and symbol.root}
    others = [text for text, symbol in symbols.items() if symbol.root != instrument]
    if others:
        root = symbols[others[0]].root
        alone = len({symbol.root for symbol in symbols.values()}) == 1
        remedy = (
            f"Give --instrument {root}"
            if alone and root in INSTRUMENTS
            else "Export one instrument, and name it with --instrument"
        )
        raise BadInput(
            f"{source}: the bars must be of instrument {instrument}, but {where} names "
            f"{', '.join(others[:3])}. {remedy}; --columns contract= leaves the symbols out."
        )
    by_name = file_instruments(source)
    if options.instrument is None and not symbols and by_name and instrument not in by_name:
        raise BadInput(
            f"{source}: the bars must be of instrument {instrument}, but the file's name says {by_name[0]}. "
            f"Give --instrument {by_name[0]} or --instrument {instrument}."
        )


def _contract(
    read: FileColumns, columns: dict[str, str], options: VendorOptions, instrument: str, source: str
) -> pd.Series | None:
    """Contract of each row, if the file has it; updates the contract column in `columns`.

    With one continuous symbol, as NQ.c.0, Databento's instrument id still changes at each roll.
    """
    values, ids = read.values.get("contract"), read.values.get(ID_ROLE)
    codes = None
    if values is not None:
        codes = _codes(values, columns["contract"], options, instrument, source)
    if codes is None and ids is not None and ids.null_count < len(ids):
        columns["contract"] = INSTRUMENT_ID
        return ids.cast(pa.string()).to_pandas().astype("str")
    if codes is None:
        columns.pop("contract", None)
    return codes


def _codes(
    values: pa.ChunkedArray, column: str, options: VendorOptions, instrument: str, source: str
) -> pd.Series | None:
    """Contract codes (n,) str of symbols; None for one continuous symbol.

    Raises:
        BadInput: If the symbols change and are no contracts.
    """
    coded = values.combine_chunks().dictionary_encode()
    texts = [str(text) for text in coded.dictionary.to_pylist()]
    symbols = [parse_symbol(text) or Symbol("", None) for text in texts]
    codes = [symbol.code(instrument) for symbol in symbols]
    is_named = "contract" in options.columns
    if None in codes and not is_named:
        if len({text.strip().upper() for text in texts}) > 1:
            unread = [text for text, code in zip(texts, codes, strict=True) if code is None]
            raise BadInput(
                f"{source}: {column} changes, so its contracts must be readable, as NQZ4, NQZ24, NQ 12-24 or "
                f"202412, got {unread[0]!r}. Take its values as they are with --columns contract={column}, "
                "or leave them out with --columns contract=."
            )
        return None
    if not codes:
        return None
    names = [text if code is None else code for text, code in zip(texts, codes, strict=True)]
    known = pa.array(names, pa.string()).take(coded.indices)
    return known.to_pandas().astype("str")


def _require_one_of(option: str, came: str | None, known: tuple[str, ...]) -> None:
    if came is not None and came not in known:
        raise BadInput(
            f"{option} must be {' or '.join(known)}, got {came!r}. Choose one of them, or leave it out."
        )
