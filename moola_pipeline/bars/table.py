"""The canonical bar table: each bar with its session, its contract and its segment."""

import numpy as np
import pandas as pd

from moola_pipeline.bars.schema import BAR_COLUMNS, MAX_GAP, RAW_COLUMNS, nanoseconds
from moola_pipeline.bars.sessions import session_of


def build_table(raw: pd.DataFrame, rolls: pd.DataFrame | None) -> pd.DataFrame:
    """Add session, contract and segment to clean bars.

    A segment ends where the session or the contract changes, or two bar opens are more than
    MAX_GAP apart. A bar keeps its contract code; missing codes come from the rolls.

    Args:
        raw: RAW_COLUMNS and optionally `contract`; timestamps in UTC, strictly increasing.
        rolls: As `read_rolls` returns them, or None if unknown.

    Returns:
        BAR_COLUMNS, numbered from 0.

    Raises:
        ValueError: If the timestamps do not strictly increase.
    """
    steps = np.diff(nanoseconds(raw))  # (n_bars - 1,) ns
    if (steps <= 0).any():
        late = raw["timestamp"].iloc[int(np.argmax(steps <= 0)) + 1]
        raise ValueError(f"timestamps must strictly increase, got {late} after an equal or later time")
    contract = _contracts(raw, rolls)
    session = session_of(pd.DatetimeIndex(raw["timestamp"]))
    table = raw[list(RAW_COLUMNS)].reset_index(drop=True).assign(session=session, contract=contract)
    breaks = steps > pd.Timedelta(MAX_GAP).value
    breaks |= np.diff(nanoseconds(table, "session")) != 0
    breaks |= np.diff(pd.factorize(contract)[0]) != 0
    segment = np.concatenate([[0], np.cumsum(breaks)])[: len(table)]
    return table.assign(segment=segment.astype(np.int32)).loc[:, list(BAR_COLUMNS)]


def contract_of(timestamps: pd.Series, rolls: pd.DataFrame) -> pd.Series:
    """The contract of each bar: `new` from the time of a roll on, `old` before the first.

    Args:
        timestamps: (n,) datetime64[ns, UTC], bar opens, in any order.
        rolls: At least one row, as `read_rolls` returns them.

    Returns:
        (n,) str, on the index of `timestamps`.
    """
    names = pd.array([rolls["old"].iloc[0], *rolls["new"]], dtype="str")
    opened_at = timestamps.astype("int64").to_numpy()
    n_rolled = np.searchsorted(nanoseconds(rolls, "time"), opened_at, side="right")
    return pd.Series(names.take(n_rolled), index=timestamps.index, name="contract")


def _contracts(raw: pd.DataFrame, rolls: pd.DataFrame | None) -> pd.Series:
    """Contract of each bar (n_bars,), null if neither the bar nor a roll has it."""
    timestamps = pd.Series(raw["timestamp"].array)
    known = pd.Series(raw["contract"].array if "contract" in raw else np.nan, timestamps.index, dtype="str")
    if rolls is None or not known.hasnans:
        return known
    return known.where(known.notna(), contract_of(timestamps, rolls))
