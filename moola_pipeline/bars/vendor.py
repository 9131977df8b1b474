"""A vendor's file in, clean one-minute bars in UTC out: by what the file proves, and the user says."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from moola_pipeline.bars.cleaning import RowCounts, known_instrument, sift_bars
from moola_pipeline.bars.columns import COLUMN_ROLES, Layout, file_layout, find_columns, read_columns
from moola_pipeline.bars.containers import file_content
from moola_pipeline.bars.evidence import FEWEST_BREAKS, daily_breaks, refuse_contradictions
from moola_pipeline.bars.formats import (
    DATABENTO,
    FIRSTRATE,
    VENDOR_FORMATS,
    VendorFormat,
    format_name,
    may_be_firstrate,
    recognized_format,
)
from moola_pipeline.bars.schema import BAR_INTERVAL, PRICE_COLUMNS
from moola_pipeline.bars.stamps import require_zone, utc_instants
from moola_pipeline.errors import BadInput

FORMATS = tuple(VENDOR_FORMATS)
STAMPS = ("open", "close")
CONTRACT_CODE = re.compile(r"([A-Z0-9]{1,4})[FGHJKMNQUVXZ]\d{1,4}")
"""Root, month letter and year, as in NQH5: what tells a contract from a continuous symbol."""
LARGEST_VOLUME = 2**53
WHOLE_VOLUME = "have a volume that is a whole number of contracts"
FIXED_POINT = 1e9
"""Units of a point in the prices of Databento's csv, unless it was asked for decimal ones."""
LARGEST_POINTS = 1e8
"""No index stands so high: greater prices are in fixed point."""


@dataclass(frozen=True)
class VendorOptions:
    """What the user says about a file; None leaves it to what the file proves.

    Attributes:
        format: One of FORMATS, or another name of one.
        timezone: IANA zone of times that carry none.
        stamp: Whether a time is that of the bar's open or of its close; None means what the
            format says, else open.
        columns: Name in the file of each role: time, open, high, low, close, volume, contract,
            and date where `time` is a time of day. Columns without a header count from 1.
        instrument: Whose tick grid the prices lie on.
    """

    format: str | None = None
    timezone: str | None = None
    stamp: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    instrument: str = "NQ"

    def __post_init__(self) -> None:
        _require_one_of("--format", self.format and format_name(self.format), FORMATS)
        _require_one_of("--stamp", self.stamp, STAMPS)
        known_instrument(self.instrument)
        if len(set(self.columns.values())) < len(self.columns):
            raise BadInput(
                "--columns must give each role a column of its own, got one column twice. Write each once."
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
    """How a file was read; the same values as VendorOptions read it the same way again."""

    format: str
    timezone: str
    stamp: str
    columns: dict[str, str]
    instrument: str


@dataclass(frozen=True)
class VendorBars:
    """Clean bars of one file, and how it was read.

    Attributes:
        frame: RAW_COLUMNS, and `contract` (str) where the file proves it.
        facts: How it was read.
        counts: What became of its rows.
        rejected: Rows that are no bars: `row`, `reason`, and the row as it was read.
        zone_known_by: What settled the zone: the times, the format, daily breaks or --timezone.
        stamp_known_by: What settled the stamp: the format, the default or --stamp.
    """

    frame: pd.DataFrame
    facts: VendorFacts
    counts: RowCounts
    rejected: pd.DataFrame
    zone_known_by: str
    stamp_known_by: str


def column_mapping(text: str) -> dict[str, str]:
    """The mapping in an option such as `time=ts,close=Last`.

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
    """Read one file of one-minute bars, prove what it says, and clean it.

    Args:
        path: parquet, DBN, or text with `,`, `;` or tabs between the cells, plain or packed.
        options: What the user says about the file.

    Returns:
        Bars in UTC, stamped at their open, strictly increasing in time.

    Raises:
        BadInput: If the file cannot be read as bars without a guess, or its bars contradict the
            zone or stamp it was read with; the text says what must hold, what came, and the
            option that settles it.
    """
    bars = read_recorded_file(path, options or VendorOptions())
    facts = bars.facts
    zone_is_stated = bars.zone_known_by == "the times" or facts.format == DATABENTO.name
    refuse_contradictions(bars.frame, facts.timezone, facts.stamp, zone_is_stated, path.name)
    return bars


def read_recorded_file(path: Path, options: VendorOptions) -> VendorBars:
    """Read a file as `read_vendor_file` does, but take zone and stamp as settled.

    Raises:
        BadInput: If the file cannot be read as bars.
    """
    source = path.name
    content = file_content(path, source)
    layout = file_layout(content, source)
    claimed = options.format and format_name(options.format)
    found = recognized_format(layout, claimed, source)
    if claimed is None and options.timezone is None and options.stamp != "close" and may_be_firstrate(layout):
        bars = _proven_firstrate(content, layout, options, source)
        if bars is not None:
            return bars
    return _read(content, layout, found, options, source)


def _read(
    content: bytes, layout: Layout, found: VendorFormat, options: VendorOptions, source: str
) -> VendorBars:
    stamp = options.stamp or (found.stamp if found.stamp is not None else "open")
    if not stamp:
        raise BadInput(
            f"{source}: {found.name} exports may be stamped at the bar's open or its close, and the file "
            "does not say which. Name it with --stamp close or --stamp open."
        )
    positions = found.positions if layout.first_row else ()
    columns = find_columns(layout, positions, options.columns, source)
    table = read_columns(content, layout, columns, source)
    counts_are_utc = found.counts_are_utc and pa.types.is_integer(table["time"].type)
    timestamps, zone = utc_instants(
        table["time"],
        column=columns["time"],
        timezone=options.timezone,
        source=source,
        remedy=_zone_remedy(layout),
        usual_zone="UTC" if counts_are_utc else found.timezone,
    )
    if stamp == "close":
        timestamps = timestamps - BAR_INTERVAL
    in_fixed_point = found is DATABENTO and layout.kind == "csv"
    prices = {name: _points(table[name].to_numpy(), in_fixed_point) for name in PRICE_COLUMNS}
    frame = pd.DataFrame({"timestamp": timestamps, **prices})
    frame["volume"], odd_volume = _volume(table, len(frame))
    contract = _contract(table, "contract" in options.columns, options.instrument, source)
    if contract is None:
        columns.pop("contract", None)
    else:
        frame["contract"] = contract
    sifted = sift_bars(
        frame,
        known_instrument(options.instrument),
        source,
        interval_is_proven=layout.kind == "dbn",
        also_broken={WHOLE_VOLUME: odd_volume},
    )
    facts = VendorFacts(found.name, zone, stamp, columns, options.instrument)
    by_format = "the format" if counts_are_utc or found.timezone == zone else "the times"
    return VendorBars(
        sifted.bars,
        facts,
        sifted.counts,
        sifted.rejected,
        "--timezone" if options.timezone else by_format,
        "--stamp" if options.stamp else "the format" if found.stamp else "the default",
    )


def _proven_firstrate(
    content: bytes, layout: Layout, options: VendorOptions, source: str
) -> VendorBars | None:
    """The bars read as FirstRate's, if their daily breaks prove New York time and bar opens."""
    try:
        bars = _read(content, layout, FIRSTRATE, options, source)
    except BadInput:
        return None  # read as what it is, it is refused in words that do not presume a vendor
    if bars.zone_known_by == "the times" or daily_breaks(bars.frame) < FEWEST_BREAKS:
        return None
    return replace(bars, zone_known_by="its daily breaks", stamp_known_by="its daily breaks")


def _zone_remedy(layout: Layout) -> str:
    vendor = ", or the vendor with --format firstrate" if may_be_firstrate(layout) else ""
    return f"Name it with --timezone, for example --timezone America/New_York{vendor}."


def _require_one_of(option: str, came: str | None, known: tuple[str, ...]) -> None:
    if came is not None and came not in known:
        raise BadInput(
            f"{option} must be {' or '.join(known)}, got {came!r}. Choose one of them, or leave it out."
        )


def _points(prices: np.ndarray, may_be_fixed: bool) -> np.ndarray:
    if may_be_fixed and np.isfinite(prices).any() and np.nanmedian(prices) >= LARGEST_POINTS:
        return prices / FIXED_POINT
    return prices


def _volume(table: dict[str, pa.ChunkedArray], n_rows: int) -> tuple[pd.Series, np.ndarray]:
    """Whole volumes, null where unknown, and True (n_rows,) where one is not whole."""
    if "volume" not in table:
        return pd.Series(pd.NA, range(n_rows), dtype="Int64"), np.zeros(n_rows, bool)
    volume = table["volume"].to_numpy()
    known = ~np.isnan(volume)
    odd = known & ~((np.abs(volume) < LARGEST_VOLUME) & (volume == np.rint(volume)))
    whole = np.where(known & ~odd, volume, 0).astype(np.int64)
    return pd.Series(pd.arrays.IntegerArray(whole, mask=~known | odd)), odd


def _contract(
    table: dict[str, pa.ChunkedArray], named: bool, instrument: str, source: str
) -> pd.Series | None:
    """Contract codes, unless the column holds something else, such as one continuous symbol."""
    if "contract" not in table:
        return None
    codes = table["contract"].to_pandas().astype("str")
    found = [CONTRACT_CODE.fullmatch(code) for code in codes.dropna().unique()]
    roots = {code[1] for code in found if code}
    if None in found or not found:
        return codes if named and codes.notna().any() else None
    if roots != {instrument}:
        raise BadInput(
            f"{source}: its contracts must be of instrument {instrument}, got {', '.join(sorted(roots))}. "
            "Name the right one with --instrument, or keep one in the file."
        )
    return codes
