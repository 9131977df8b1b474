"""Read a table into clean one-minute bars in UTC."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

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
from moola_pipeline.bars.columns import ID_ROLE, FileColumns, find_columns, read_columns, unused_volume
from moola_pipeline.bars.contracts import read_contracts, refuse_other_symbols
from moola_pipeline.bars.conventions import bar_opens, find_convention
from moola_pipeline.bars.csv_tables import Table
from moola_pipeline.bars.file_times import in_utc, read_times
from moola_pipeline.bars.formats import DATABENTO, INSTRUMENT_ID, fitting_formats, format_name
from moola_pipeline.bars.instruments import NQ, instrument_named
from moola_pipeline.bars.plausibility import refuse_implausible
from moola_pipeline.bars.row_rules import NEEDS_TIME, CellFault
from moola_pipeline.bars.schema import PRICE_COLUMNS
from moola_pipeline.bars.session_clock import (
    SessionClock,
    TimeConvention,
    is_empty_filler,
    is_filler,
    session_clock,
)
from moola_pipeline.bars.table_columns import frame_table
from moola_pipeline.bars.vendor_options import VendorFacts, VendorOptions
from moola_pipeline.errors import BadInput

FRAME = "bars"
"""Source name of a DataFrame in errors."""
MAX_VOLUME = 2**53
WHOLE_VOLUME = "have a volume that is a whole number of contracts"
FIXED_POINT = 1e9
"""Fixed-point units of an index point in Databento's csv, if its prices are not decimal."""
MAX_POINTS = 1e8
"""Greater prices are in fixed point: no index is so high."""


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
    reading = TimeConvention(facts.timezone, facts.stamp, is_stated, bars.stamp_known_by == "--stamp", source)
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
    refuse_other_symbols(table, read, options, instrument, source)
    column, contract = read_contracts(read, columns, options, instrument, source)
    columns = {role: name for role, name in (columns | {"contract": column}).items() if name}
    times = read_times(read.values["time"], _time_column(columns), source)
    raw, faults, volume = _raw_rows(read, columns, contract, is_databento and table.kind == "csv")
    volume = _volume_note(volume, table, columns, options)

    def sifted(zone: str, stamp: str) -> SiftedBars:
        opened = bar_opens(in_utc(times, zone, _time_column(columns), source), stamp)
        rows = raw.copy(deep=False)
        rows.insert(0, "timestamp", opened)
        missing = _time_fault(read.values["time"], columns, opened)
        empty = is_empty_filler(rows)
        if not empty.any():
            return sift_bars(rows, instrument_named(instrument), source, faults=[*faults, *missing])
        return _sifted_but(empty, rows, [*faults, *missing], instrument, source)

    convention = find_convention(formats, times, options, _time_column(columns), source)
    if isinstance(convention, BadInput):
        sifted("UTC", "open")  # raises if the prices are wrong in any zone
        raise convention
    kept = sifted(convention.zone, convention.stamp)
    kept = without_filler(kept, is_filler(kept.bars, instrument_named(instrument).calendar))
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


def _raw_rows(
    read: FileColumns, columns: Mapping[str, str], contract: pd.Series | None, may_be_fixed: bool
) -> tuple[pd.DataFrame, list[CellFault], str]:
    """Prices, volume and contract of each row, the cells at fault, and why there is no volume."""
    frame = pd.DataFrame(
        {name: _points(read.values[name].to_numpy(), may_be_fixed) for name in PRICE_COLUMNS}
    )
    frame["volume"], faults, note = _volume(read, columns.get("volume"))
    if contract is not None:
        frame["contract"] = contract
    return frame, faults, note


def _volume(read: FileColumns, column: str | None) -> tuple[pd.Series, list[CellFault], str]:
    """The volume (n,) Int64, the cells at fault, and why there is no volume.

    Where over MAX_REJECTED of the cells are no volume, none is read.
    """
    n_rows, faults, values = len(read.values["close"]), [*read.faults], read.values.get("volume")
    if values is None or column is None:
        return _whole(np.zeros(n_rows), np.zeros(n_rows, bool)), faults, ""
    volume = values.to_numpy()
    texts = [fault for fault in faults if fault.column == column]
    known = ~np.isnan(volume)
    odd = known & ~((np.abs(volume) < MAX_VOLUME) & (volume == np.rint(volume)))
    invalid = np.logical_or.reduce([odd, known & (volume < 0), *(fault.broken for fault in texts)])
    if invalid.sum() > MAX_REJECTED * n_rows:
        first = int(invalid.argmax())
        came = f"{volume[first]:g}" if known[first] else repr(texts[0].cells[first].as_py())
        others = [fault for fault in faults if fault.column != column]
        note = f"left out, {column} is no whole number of contracts ({came})"
        return _whole(volume, np.zeros(n_rows, bool)), others, note
    if odd.any():
        faults.append(CellFault(WHOLE_VOLUME, odd, column, values))
    return _whole(volume, known & ~odd), faults, "" if known.any() else f"none, {column} is empty"


def _whole(volume: np.ndarray, known: np.ndarray) -> pd.Series:
    whole = np.where(known, volume, 0).astype(np.int64)
    return pd.Series(pd.arrays.IntegerArray(whole, mask=~known))


def _volume_note(note: str, table: Table, columns: Mapping[str, str], options: VendorOptions) -> str:
    if note or "volume" in columns:
        return note
    if options.columns.get("volume") == "":
        return "left out (--columns)"
    other = unused_volume(table, columns)
    return f"none found; {other} may hold it: --columns volume={other}" if other else "none in the file"


def _time_column(columns: Mapping[str, str]) -> str:
    """Name of the time column, or of the date and clock columns, for errors."""
    names = [columns[role] for role in ("date", "time") if role in columns]
    numbered = f"column{'s' * (len(names) > 1)} " if all(name.isdecimal() for name in names) else ""
    return numbered + " and ".join(names)


def _time_fault(times: pa.ChunkedArray, columns: Mapping[str, str], opened: pd.Series) -> list[CellFault]:
    """Cells that are neither empty nor a time."""
    broken = opened.isna().to_numpy() & times.is_valid().to_numpy()
    return [CellFault(NEEDS_TIME, broken, _time_column(columns), times)] if broken.any() else []


def _points(prices: np.ndarray, may_be_fixed: bool) -> np.ndarray:
    if may_be_fixed and np.isfinite(prices).any() and np.nanmedian(prices) >= MAX_POINTS:
        return prices / FIXED_POINT
    return prices
