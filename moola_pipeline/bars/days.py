"""What bars prove about their dates: none lies in the future, and few on days without a session."""

from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from moola_pipeline.bars.evidence import Reading
from moola_pipeline.bars.sessions import session_of, session_schedule
from moola_pipeline.errors import BadInput

CLOCK_ERROR = timedelta(minutes=10)
"""How far the clock of the machine may be behind that of the exchange."""
FARTHEST_ZONES = timedelta(hours=26)
"""What lies between the earliest zone and the latest: a wrong zone puts bars no farther into the future."""
MOST_ON_HOLIDAYS = 0.5
FEWEST_SESSIONS = 10
"""In so many sessions most bars cannot lie on holidays: only shorter files are compared with the calendar."""


def refuse_future(bars: pd.DataFrame, rows: np.ndarray, reading: Reading, now: datetime) -> None:
    """Refuse bars that open after `now`.

    It depends on when it is asked, so such rows are never set aside: the same file would hold
    other bars later.

    Args:
        bars: RAW_COLUMNS, UTC bar opens, increasing.
        rows: (n,) the row of each in the file, from 1.
        reading: How the times were read.
        now: Aware; bars up to CLOCK_ERROR later pass.

    Raises:
        BadInput: If there is one: the text names the first row and the likely cause.
    """
    late = np.flatnonzero(bars["timestamp"] > now + CLOCK_ERROR)
    if not len(late):
        return
    first = late[rows[late].argmin()]
    if bars["timestamp"].iloc[-1] > now + FARTHEST_ZONES:
        remedy = "Correct the dates (year, order of day and month), or remove those rows."
    elif reading.zone_is_stated:
        remedy = "The zone in the file is wrong: export it again."
    else:
        remedy = "Give the right --timezone."
    raise BadInput(
        f"{reading.source}: a bar must open before now ({now:%Y-%m-%d %H:%M} UTC by this machine's clock), "
        f"but {len(late):,} of {len(bars):,} do not, read as {reading.zone}, first in row {rows[first]:,} "
        f"({bars['timestamp'].iloc[first]:%Y-%m-%d %H:%M} UTC). {remedy}"
    )


def refuse_holidays(bars: pd.DataFrame, reading: Reading) -> None:
    """Refuse a short file most of whose bars lie on days without a session.

    Args:
        bars: With `timestamp`: UTC bar opens, increasing.
        reading: How the times were read.

    Raises:
        BadInput: If they do.
    """
    sessions = pd.DatetimeIndex(session_of(pd.DatetimeIndex(bars["timestamp"])))
    if sessions.nunique() > FEWEST_SESSIONS:
        return
    first, last = sessions.to_numpy()[[0, -1]].astype("M8[D]").tolist()
    shut = ~sessions.isin(pd.DatetimeIndex(session_schedule(first, last)["session"]))
    if shut.mean() > MOST_ON_HOLIDAYS:
        raise BadInput(
            f"{reading.source}: bars must lie on trading days, but {shut.sum():,} of {len(bars):,} do not, "
            f"first on {sessions[shut].min():%Y-%m-%d}. Correct the dates, or add the bars in one file "
            "with the days around them."
        )
