"""Vendor formats: their columns, time zone and stamp, and how to recognize them."""

import re
from dataclasses import dataclass

from moola_pipeline.bars.csv_dialect import Layout
from moola_pipeline.bars.schema import PRICE_COLUMNS
from moola_pipeline.bars.sessions import NEW_YORK
from moola_pipeline.errors import BadInput

_BAR = (*PRICE_COLUMNS, "volume")
INSTRUMENT_ID = "instrument_id"
"""Column of Databento's contract number, in all its bar files."""
_DATABENTO_COLUMNS = {"ts_event", "rtype", INSTRUMENT_ID, *_BAR}
_ISO_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}(:\d{2})?")


@dataclass(frozen=True)
class VendorFormat:
    """Properties of a format; None means that the file or the user decides.

    Attributes:
        name: Value of `--format`.
        kinds: Kinds of files: parquet, csv, dbn.
        timezone: Zone of times without a zone.
        counts_are_utc: Whether counts since 1970 are in UTC.
        stamp: Whether a time is the bar's open or close; "" if the user chooses it on export.
        positions: Role of each column of a csv without header.
        first_row: Pattern of the first time cells of such a csv, joined by a blank.
    """

    name: str
    kinds: tuple[str, ...]
    timezone: str | None = None
    counts_are_utc: bool = False
    stamp: str | None = None
    positions: tuple[str, ...] = ()
    first_row: re.Pattern[str] | None = None


PARQUET = VendorFormat("parquet", ("parquet",))
CSV = VendorFormat("csv", ("csv",))
DATABENTO = VendorFormat("databento", ("dbn", "csv", "parquet"), "UTC", True, "open")
FIRSTRATE = VendorFormat("firstrate", ("csv",), NEW_YORK, False, "open", ("time", *_BAR), _ISO_TIME)
NINJATRADER = VendorFormat(
    "ninjatrader", ("csv",), "UTC", False, "", ("time", *_BAR), re.compile(r"\d{8} \d{6}")
)
METATRADER = VendorFormat(
    "metatrader",
    ("csv",),
    "Etc/GMT+5",
    False,
    "open",
    ("date", "time", *_BAR),
    re.compile(r"\d{4}\.\d{2}\.\d{2} \d{2}:\d{2}"),
)
TRADINGVIEW = VendorFormat("tradingview", ("csv", "parquet"), None, True, "open")
VENDOR_FORMATS = {
    vendor.name: vendor
    for vendor in (PARQUET, CSV, DATABENTO, FIRSTRATE, NINJATRADER, METATRADER, TRADINGVIEW)
}
_OTHER_NAMES = {"ninjatrader8": "ninjatrader", "histdata": "metatrader", "dbn": "databento"}


def format_name(claimed: str) -> str:
    """The name in VENDOR_FORMATS for a name or an alias, in any case."""
    return _OTHER_NAMES.get(claimed.lower(), claimed.lower())


def recognized_format(layout: Layout, claimed: str | None, source: str) -> VendorFormat:
    """The format that the file proves, or the claimed format if the file does not contradict it.

    Other vendors share FirstRate's layout, so FirstRate must be claimed.

    Raises:
        BadInput: If the file contradicts the claimed format.
    """
    proven = _proven_format(layout)
    if claimed is None or claimed == proven.name:
        return proven
    vendor = VENDOR_FORMATS[claimed]
    if layout.kind not in vendor.kinds or not _fits(layout, vendor):
        raise BadInput(
            f"{source}: --format is {claimed}, but the file is {_described(layout, proven)}. "
            "Leave --format out."
        )
    return vendor


def may_be_firstrate(layout: Layout) -> bool:
    """True if a csv has FirstRate's layout, which other vendors share."""
    if layout.kind != "csv" or layout.separator != ",":
        return False
    header = tuple(name.lower() for name in layout.names) == ("timestamp", *_BAR)
    naive = bool(layout.sample) and _ISO_TIME.fullmatch(layout.sample[0]) is not None
    return (header and naive) or _row_fits(layout, FIRSTRATE)


def _proven_format(layout: Layout) -> VendorFormat:
    if layout.kind == "dbn":
        return DATABENTO
    if set(layout.names) >= _DATABENTO_COLUMNS:
        return DATABENTO
    if layout.kind == "parquet":
        return PARQUET
    if layout.separator == ";" and _row_fits(layout, NINJATRADER):
        return NINJATRADER
    if layout.separator == "," and _row_fits(layout, METATRADER):
        return METATRADER
    return CSV


def _fits(layout: Layout, vendor: VendorFormat) -> bool:
    """True if the file does not contradict the format."""
    if layout.first_row:
        return not vendor.positions or _row_fits(layout, vendor)
    return vendor not in (NINJATRADER, METATRADER) and (
        vendor is not DATABENTO or _DATABENTO_COLUMNS - {"ts_event"} <= set(layout.names)
    )


def _row_fits(layout: Layout, vendor: VendorFormat) -> bool:
    n_cells, n_times = len(vendor.positions), len(vendor.positions) - len(_BAR)
    times = " ".join(layout.first_row[:n_times])
    matches = vendor.first_row is not None and vendor.first_row.fullmatch(times.strip()) is not None
    return matches and len(layout.first_row) >= n_cells and not any(layout.first_row[n_cells:])


def _described(layout: Layout, proven: VendorFormat) -> str:
    return proven.name + (" without a header line" if layout.first_row and proven is CSV else "")
