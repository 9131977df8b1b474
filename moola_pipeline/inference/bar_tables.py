"""Raw bars (a vendor's file or a DataFrame) to the canonical table."""

import logging

import pandas as pd

from moola_pipeline.bars.bar_reader import FRAME, VendorBars, read_frame
from moola_pipeline.bars.instruments import NQ
from moola_pipeline.bars.table import build_table
from moola_pipeline.bars.vendor_options import VendorOptions
from moola_pipeline.errors import BadInput
from moola_pipeline.windows.window_geometry import BARS_BEFORE, WINDOW_BARS

NEEDED_BARS = BARS_BEFORE + WINDOW_BARS
log = logging.getLogger(__name__)


def table_from_bars(bars: VendorBars, source: str, rolls: pd.DataFrame | None = None) -> pd.DataFrame:
    """Build the canonical table of one file; `rolls` give the contracts where the file has none.

    Raises:
        BadInput: If there are too few bars for one window.
    """
    return _enough(build_table(bars.frame, rolls), source)


def table_from_frame(
    frame: pd.DataFrame,
    options: VendorOptions | None = None,
    instrument: str = NQ.name,
    rolls: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Build the canonical table of a DataFrame of raw one-minute bars, read and checked as a file is.

    Args:
        frame: Time as a column or as the index or a level of it; open, high, low, close in index points;
            volume and contract are optional; other columns are ignored.
        options: As for a file; the zone is ignored where times have one.
        instrument: The instrument if the options name none.
        rolls: From `bars.rolls.read_rolls`, for bars without a contract.

    Raises:
        BadInput: As `read_vendor_file`, or if there are too few bars for one window.
    """
    bars = read_frame(frame, options or VendorOptions(), instrument)
    if n_left_out := bars.counts.read - bars.counts.kept:
        log.warning(f"{FRAME}: {n_left_out:,} of {bars.counts.read:,} rows are left out")
    return table_from_bars(bars, FRAME, rolls)


def _enough(table: pd.DataFrame, source: str) -> pd.DataFrame:
    longest = int(table["segment"].value_counts().max())
    if longest < NEEDED_BARS:
        raise BadInput(
            f"{source}: one window needs {NEEDED_BARS} bars of one segment ({BARS_BEFORE} before it, "
            f"{WINDOW_BARS} in it, no gap over 10 minutes), got {longest}. Give more bars."
        )
    return table
