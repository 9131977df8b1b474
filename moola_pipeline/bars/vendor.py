"""Read bars from a vendor's file."""

from pathlib import Path

from moola_pipeline.bars.bar_reader import (
    VendorBars,
    checked,
    in_trading_hours,
    read_table,
)
from moola_pipeline.bars.columns import header_names
from moola_pipeline.bars.csv_tables import Table
from moola_pipeline.bars.decompress import file_content
from moola_pipeline.bars.instruments import NQ
from moola_pipeline.bars.session_clock import session_clock
from moola_pipeline.bars.table_reader import file_table
from moola_pipeline.bars.vendor_options import VendorOptions


def read_vendor_file(
    path: Path, options: VendorOptions | None = None, instrument: str = NQ.name
) -> VendorBars:
    """Read, clean and check one file of one-minute bars.

    Args:
        path: parquet, DBN, JSON, or text with `,`, `;`, `|` or tabs between the cells, plain or compressed.
        options: The user's options.
        instrument: The instrument if neither the options nor the file name another.

    Returns:
        Bars in UTC, stamped at their open, strictly increasing in time.

    Raises:
        BadInput: If the file cannot be read without a guess, or its bars contradict how they were read; the
            text names the remedy.
    """
    options = options or VendorOptions()
    bars = read_table(_opened(path, options), options, path.name, instrument)
    return checked(bars, path.name)


def read_recorded_file(path: Path, options: VendorOptions) -> VendorBars:
    """Read a registered file; whether its bars are plausible is not checked again.

    Raises:
        BadInput: If the file cannot be read as bars.
    """
    bars = read_table(_opened(path, options), options, path.name, NQ.name)
    return in_trading_hours(bars, session_clock(bars.frame), path.name)


def _opened(path: Path, options: VendorOptions) -> Table:
    return file_table(file_content(path, path.name), path.name, header_names(options.columns))
