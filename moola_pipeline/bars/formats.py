"""Vendor formats as data: their columns, time zone and stamp, and the rows that show them."""

import re
from dataclasses import dataclass

from moola_pipeline.bars.csv_tables import Table
from moola_pipeline.bars.schema import PRICE_COLUMNS
from moola_pipeline.bars.sessions import NEW_YORK
from moola_pipeline.errors import BadInput

_BAR = (*PRICE_COLUMNS, "volume")
INSTRUMENT_ID = "instrument_id"
"""Column of Databento's contract number, in all its bar files."""
EST = "Etc/GMT+5"
"""Eastern standard time all year."""


@dataclass(frozen=True)
class RowLayout:
    """The rows of a file without a header.

    Attributes:
        separator: Between the cells; "" for JSON.
        times: Pattern of the first cells, joined by a blank.
        roles: Role of each column.
    """

    separator: str
    times: re.Pattern[str]
    roles: tuple[str, ...] = ("time", *_BAR)

    def fits(self, table: Table) -> bool:
        """True if the first row of a table without a header is such a row."""
        n_cells, n_times = len(self.roles), len(self.roles) - len(_BAR)
        times = " ".join(table.sample[:n_times]).strip()
        same = not table.has_header and (table.separator == self.separator or table.kind == "json")
        rest = table.sample[n_cells:]
        return same and len(table.sample) >= n_cells and bool(self.times.fullmatch(times)) and not any(rest)


@dataclass(frozen=True)
class VendorFormat:
    """Properties of a format; None means that the file or the user decides.

    Attributes:
        name: Value of `--format`.
        kinds: Kinds of tables.
        timezone: Zone of times without a zone.
        stamp: Whether a time is the bar's open or close; "" if the user chooses it on export.
        layouts: Rows without a header.
        header: Column names that show the format, in lower case.
        shared: True if other vendors, with other zones, write the same rows.
    """

    name: str
    kinds: tuple[str, ...]
    timezone: str | None = None
    stamp: str | None = None
    layouts: tuple[RowLayout, ...] = ()
    header: frozenset[str] = frozenset()
    shared: bool = False

    def fits(self, table: Table) -> bool:
        """True if the table looks like the format."""
        if table.kind not in self.kinds:
            return False
        if any(layout.fits(table) for layout in self.layouts):
            return True
        return bool(self.header) and self.header <= {name.lower() for name in table.names}


_ISO = RowLayout(",", re.compile(r"\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}(:\d{2})?"))
_SEMICOLONS = RowLayout(";", re.compile(r"\d{8} \d{6}"))
_DOTTED = RowLayout(",", re.compile(r"\d{4}\.\d{2}\.\d{2} \d{2}:\d{2}"), ("date", "time", *_BAR))
_COUNTED = RowLayout("", re.compile(r"\d{10,19}"))
PLAIN = {kind: VendorFormat(kind, (kind,)) for kind in ("parquet", "csv", "frame")}
"""Tables of no vendor, by kind."""
DATABENTO = VendorFormat(
    "databento",
    ("dbn", "csv", "parquet"),
    "UTC",
    "open",
    header=frozenset({"rtype", INSTRUMENT_ID, *_BAR}),
)
VENDOR_FORMATS = {
    vendor.name: vendor
    for vendor in (
        PLAIN["parquet"],
        PLAIN["csv"],
        VendorFormat("json", ("json",), None, None, (_COUNTED,)),
        DATABENTO,
        VendorFormat(
            "firstrate", ("csv",), NEW_YORK, "open", (_ISO,), frozenset({"timestamp", *_BAR}), shared=True
        ),
        VendorFormat("ninjatrader", ("csv",), "UTC", "", (_SEMICOLONS,)),
        VendorFormat("histdata", ("csv",), EST, "open", (_SEMICOLONS, _DOTTED)),
        VendorFormat("metatrader", ("csv",), None, "open", (_DOTTED,)),
        VendorFormat("tradingview", ("csv", "parquet"), None, "open"),
    )
}
_OTHER_NAMES = {"ninjatrader8": "ninjatrader", "dbn": "databento"}


def format_name(claimed: str) -> str:
    """The name in VENDOR_FORMATS for a name or an alias, in any case."""
    return _OTHER_NAMES.get(claimed.lower(), claimed.lower())


def fitting_formats(table: Table, claimed: str | None, source: str) -> tuple[VendorFormat, ...]:
    """The formats that a table looks like: the claimed one, else all that fit, else a plain one.

    Raises:
        BadInput: If the table contradicts the claimed format.
    """
    fitting = tuple(vendor for vendor in VENDOR_FORMATS.values() if vendor.fits(table))
    plain = (VENDOR_FORMATS.get(table.kind) or PLAIN.get(table.kind) or DATABENTO,)
    if claimed is None:
        return fitting or plain
    vendor = VENDOR_FORMATS[claimed]
    has_rows = table.has_header or not vendor.layouts or vendor in fitting
    has_names = vendor in fitting or vendor is not DATABENTO or table.kind == "dbn"
    headless = vendor.layouts and not vendor.header and table.has_header and vendor.name != "metatrader"
    if table.kind not in vendor.kinds or not has_rows or not has_names or headless:
        shown = [vendor for vendor in fitting if not vendor.shared] or plain
        names = " or ".join(vendor.name for vendor in shown)
        without = "" if table.has_header or fitting else " without a header line"
        raise BadInput(
            f"{source}: --format is {claimed}, but the file is {names}{without}. Leave --format out."
        )
    return (vendor,)
