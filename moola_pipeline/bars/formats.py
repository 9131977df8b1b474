"""The vendors' formats: what each fixes about columns, zone and stamp, and how a file proves its own."""

import re
from dataclasses import dataclass

from moola_pipeline.bars.csv_dialect import Layout
from moola_pipeline.bars.schema import PRICE_COLUMNS
from moola_pipeline.bars.sessions import NEW_YORK
from moola_pipeline.errors import BadInput

_BAR = (*PRICE_COLUMNS, "volume")
INSTRUMENT_ID = "instrument_id"
"""Databento's number of a contract, in every file of its bars."""
_DATABENTO_COLUMNS = {"ts_event", "rtype", INSTRUMENT_ID, *_BAR}
_ISO_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}(:\d{2})?")


@dataclass(frozen=True)
class VendorFormat:
    """What a format fixes; None leaves it to the file or to the user.

    Attributes:
        name: As `--format` names it.
        kinds: Layouts it comes in: parquet, csv, dbn.
        timezone: Zone of its times that carry none.
        counts_are_utc: Whether counts since 1970 are in UTC.
        stamp: Whether a time is the bar's open or close; "" where that is an export option.
        positions: Role of each column of a csv without header.
        first_row: Shape of the first line of such a csv, cells joined by a blank.
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
    found.name: found for found in (PARQUET, CSV, DATABENTO, FIRSTRATE, NINJATRADER, METATRADER, TRADINGVIEW)
}
_OTHER_NAMES = {"ninjatrader8": "ninjatrader", "histdata": "metatrader", "dbn": "databento"}


def format_name(claimed: str) -> str:
    """The name under which a format is known, of any name a user may call it by."""
    return _OTHER_NAMES.get(claimed.lower(), claimed.lower())


def recognized_format(layout: Layout, claimed: str | None, source: str) -> VendorFormat:
    """The format that a file proves, or that the user names and the file does not contradict.

    FirstRate's layout proves no vendor, so it is never recognized here, only taken at its name.

    Raises:
        BadInput: If the file is not what the user claims.
    """
    proven = _proven_format(layout)
    if claimed is None or claimed == proven.name:
        return proven
    wanted = VENDOR_FORMATS[claimed]
    if layout.kind not in wanted.kinds or not _fits(layout, wanted):
        raise BadInput(
            f"{source}: --format says {claimed}, but the file is {_shown(layout, proven)}. "
            "Leave --format out."
        )
    return wanted


def may_be_firstrate(layout: Layout) -> bool:
    """True if a csv is laid out as FirstRate lays it out, which others do too."""
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


def _fits(layout: Layout, wanted: VendorFormat) -> bool:
    """True if the file does not contradict the format the user names."""
    if layout.first_row:
        return not wanted.positions or _row_fits(layout, wanted)
    return wanted not in (NINJATRADER, METATRADER) and (
        wanted is not DATABENTO or _DATABENTO_COLUMNS - {"ts_event"} <= set(layout.names)
    )


def _row_fits(layout: Layout, wanted: VendorFormat) -> bool:
    n_cells, n_times = len(wanted.positions), len(wanted.positions) - len(_BAR)
    times = " ".join(layout.first_row[:n_times])
    shaped = wanted.first_row is not None and wanted.first_row.fullmatch(times.strip()) is not None
    return shaped and len(layout.first_row) >= n_cells and not any(layout.first_row[n_cells:])


def _shown(layout: Layout, proven: VendorFormat) -> str:
    return proven.name + (" without a header line" if layout.first_row and proven is CSV else "")
