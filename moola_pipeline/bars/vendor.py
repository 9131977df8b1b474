"""Read a vendor's file into clean one-minute bars in UTC."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pyarrow as pa

from moola_pipeline.bars.cleaning import IN_TRADING_HOURS, RowCounts, SiftedBars, sift_bars, without_bars
from moola_pipeline.bars.columns import COLUMN_ROLES, ID_ROLE, FileColumns, find_columns, read_columns
from moola_pipeline.bars.csv_dialect import Layout, file_layout
from moola_pipeline.bars.decompress import file_content
from moola_pipeline.bars.formats import (
    DATABENTO,
    FIRSTRATE,
    INSTRUMENT_ID,
    VENDOR_FORMATS,
    VendorFormat,
    format_name,
    may_be_firstrate,
    recognized_format,
)
from moola_pipeline.bars.instruments import instrument_named
from moola_pipeline.bars.raw import contract_codes, raw_rows, time_column
from moola_pipeline.bars.schema import BAR_INTERVAL
from moola_pipeline.bars.stamps import require_zone, utc_instants
from moola_pipeline.bars.timezone_inference import (
    MIN_BREAKS,
    TimeConvention,
    daily_breaks,
    new_york_clock,
    refuse_contradictions,
    refuse_future,
    refuse_holidays,
)
from moola_pipeline.errors import BadInput

FORMATS = tuple(VENDOR_FORMATS)
STAMPS = ("open", "close")


@dataclass(frozen=True)
class VendorOptions:
    """The user's options for reading a file; None means that the file decides.

    Attributes:
        format: One of FORMATS, or an alias of one.
        timezone: IANA zone of times without a zone.
        stamp: Whether a time is the bar's open or close; None means the stamp of the format, else
            open.
        columns: Column name of each role: time, open, high, low, close, volume, contract, and date
            if `time` is a time of day. Without a header columns are numbered from 1.
        instrument: Instrument of the bars.
    """

    format: str | None = None
    timezone: str | None = None
    stamp: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    instrument: str = "NQ"

    def __post_init__(self) -> None:
        _require_one_of("--format", self.format and format_name(self.format), FORMATS)
        _require_one_of("--stamp", self.stamp, STAMPS)
        instrument_named(self.instrument)
        if len(set(self.columns.values())) < len(self.columns):
            raise BadInput(
                "--columns must give each role a different column, got one column twice. Write each once."
            )
        if self.timezone is not None:
            require_zone(self.timezone)
        if unknown := set(self.columns) - set(COLUMN_ROLES):
            raise BadInput(
                f"--columns must name roles among {', '.join(COLUMN_ROLES)}, "
                f"got {', '.join(sorted(unknown))}. Write role=NAME, for example time=ts,close=Last."
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
        zone_known_by: Source of the zone: the times, the format, daily breaks or --timezone.
        stamp_known_by: Source of the stamp: the format, the default or --stamp.
    """

    sifted: SiftedBars
    facts: VendorFacts
    zone_known_by: str
    stamp_known_by: str

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


def column_mapping(text: str) -> dict[str, str]:
    """Parse a mapping such as `time=ts,close=Last`.

    Raises:
        BadInput: If a part is not role=NAME, or a role comes twice.
    """
    mapping: dict[str, str] = {}
    for part in text.split(","):
        role, equals, name = (piece.strip() for piece in part.partition("="))
        if not (role and equals and name) or role in mapping:
            raise BadInput(
                f"--columns must hold each role once as role=NAME, got {part!r}. Write time=ts,close=Last."
            )
        mapping[role] = name
    return mapping


def read_vendor_file(path: Path, options: VendorOptions | None = None) -> VendorBars:
    """Read, clean and check one file of one-minute bars.

    Args:
        path: parquet, DBN, or text with `,`, `;`, `|` or tabs between the cells, plain or compressed.
        options: The user's options.

    Returns:
        Bars in UTC, stamped at their open, strictly increasing in time.

    Raises:
        BadInput: If the file cannot be read without a guess, or its bars contradict the zone or
            stamp they were read with; the text names the remedy.
    """
    bars = _read_file(path, options or VendorOptions())
    facts, sifted = bars.facts, bars.sifted
    zone_is_stated = bars.zone_known_by == "the times" or facts.format == DATABENTO.name
    reading = TimeConvention(facts.timezone, facts.stamp, zone_is_stated, path.name)
    refuse_future(sifted.bars, sifted.rows, reading, datetime.now(UTC))
    refuse_contradictions(sifted.bars, sifted.rows, reading)
    refuse_holidays(sifted.bars, reading)
    return _in_trading_hours(bars, path.name)


def read_recorded_file(path: Path, options: VendorOptions) -> VendorBars:
    """Read a registered file; its dates, zone and stamp are not checked again.

    Raises:
        BadInput: If the file cannot be read as bars.
    """
    return _in_trading_hours(_read_file(path, options), path.name)


def _in_trading_hours(bars: VendorBars, source: str) -> VendorBars:
    outside = new_york_clock(bars.frame).shut
    return replace(bars, sifted=without_bars(bars.sifted, outside, IN_TRADING_HOURS, source))


def _read_file(path: Path, options: VendorOptions) -> VendorBars:
    """The bars of a file, including those outside trading hours."""
    source = path.name
    content = file_content(path, source)
    layout = file_layout(content, source)
    claimed = options.format and format_name(options.format)
    vendor = recognized_format(layout, claimed, source)
    if claimed is None and options.timezone is None and options.stamp != "close" and may_be_firstrate(layout):
        bars = _proven_firstrate(content, layout, options, source)
        if bars is not None:
            return bars
    return _read(content, layout, vendor, options, source)


def _read(
    content: bytes, layout: Layout, vendor: VendorFormat, options: VendorOptions, source: str
) -> VendorBars:
    stamp = options.stamp or (vendor.stamp if vendor.stamp is not None else "open")
    if not stamp:
        raise BadInput(
            f"{source}: the times of {vendor.name} files may be bar opens or bar closes, and the file does "
            "not show which. Give --stamp close or --stamp open."
        )
    positions = vendor.positions if layout.first_row else ()
    columns = find_columns(layout, positions, options.columns, source)
    ids = {ID_ROLE: INSTRUMENT_ID} if vendor is DATABENTO and "contract" not in options.columns else {}
    read = read_columns(content, layout, columns | ids, source)
    times = read.values["time"]
    counts_are_utc = vendor.counts_are_utc and pa.types.is_integer(times.type)
    timestamps, zone = utc_instants(
        times,
        column=time_column(columns),
        timezone=options.timezone,
        source=source,
        remedy=_zone_remedy(layout),
        usual_zone="UTC" if counts_are_utc else vendor.timezone,
    )
    if stamp == "close":
        timestamps = timestamps - BAR_INTERVAL
    contract = _contract(read, columns, options, source)
    raw = raw_rows(read, columns, timestamps, contract, vendor is DATABENTO and layout.kind == "csv")
    sifted = sift_bars(
        raw.frame,
        instrument_named(options.instrument),
        source,
        interval_is_proven=layout.kind == "dbn",
        faults=raw.faults,
    )
    facts = VendorFacts(vendor.name, zone, stamp, columns, options.instrument)
    by_format = "the format" if counts_are_utc or vendor.timezone == zone else "the times"
    return VendorBars(
        sifted,
        facts,
        "--timezone" if options.timezone else by_format,
        "--stamp" if options.stamp else "the format" if vendor.stamp else "the default",
    )


def _proven_firstrate(
    content: bytes, layout: Layout, options: VendorOptions, source: str
) -> VendorBars | None:
    """The bars read as FirstRate's, if daily breaks prove New York time and bar opens."""
    try:
        bars = _read(content, layout, FIRSTRATE, options, source)
    except BadInput:
        return None  # the error then comes from the generic format
    if bars.zone_known_by == "the times" or daily_breaks(bars.frame) < MIN_BREAKS:
        return None
    return replace(bars, zone_known_by="its daily breaks", stamp_known_by="its daily breaks")


def _zone_remedy(layout: Layout) -> str:
    other = ", or the vendor with --format firstrate" if may_be_firstrate(layout) else ""
    return f"Name it with --timezone, for example --timezone America/New_York{other}."


def _require_one_of(option: str, came: str | None, known: tuple[str, ...]) -> None:
    if came is not None and came not in known:
        raise BadInput(
            f"{option} must be {' or '.join(known)}, got {came!r}. Choose one of them, or leave it out."
        )


def _contract(
    read: FileColumns, columns: dict[str, str], options: VendorOptions, source: str
) -> pd.Series | None:
    """Contract of each row, if the file has it; updates the contract column in `columns`.

    With one continuous symbol, as NQ.c.0, Databento's instrument id still changes at each roll.
    """
    values, named = read.values.get("contract"), "contract" in options.columns
    codes = None if values is None else contract_codes(values, named, options.instrument, source)
    ids = read.values.get(ID_ROLE)
    if codes is None and ids is not None and ids.null_count < len(ids):
        columns["contract"] = INSTRUMENT_ID
        return ids.cast(pa.string()).to_pandas().astype("str")
    if codes is None:
        columns.pop("contract", None)
    return codes
