"""Raw bars (a vendor's file or a DataFrame) to the canonical table."""

from collections.abc import Mapping

import pandas as pd
import pyarrow as pa

from moola_pipeline.bars.cleaning import clean_bars
from moola_pipeline.bars.columns import REQUIRED_ROLES
from moola_pipeline.bars.instruments import instrument_named
from moola_pipeline.bars.raw import MAX_VOLUME, WHOLE_VOLUME
from moola_pipeline.bars.schema import DATE_NAME, FRAME_NAMES, KNOWN_NAMES, PRICE_COLUMNS
from moola_pipeline.bars.stamps import utc_instants
from moola_pipeline.bars.table import build_table
from moola_pipeline.bars.vendor import VendorBars
from moola_pipeline.errors import BadInput
from moola_pipeline.windows.window_geometry import BARS_BEFORE, WINDOW_BARS

FRAME = "bars"
"""Source name of a DataFrame in error messages."""
NEEDED_BARS = BARS_BEFORE + WINDOW_BARS


def table_from_bars(bars: VendorBars, source: str, rolls: pd.DataFrame | None = None) -> pd.DataFrame:
    """Build the canonical table of one file; `rolls` give the contracts where the file has none.

    Raises:
        BadInput: If there are too few bars for one window.
    """
    return _enough(build_table(bars.frame, rolls), source)


def table_from_frame(
    frame: pd.DataFrame, instrument: str, timezone: str | None = None, rolls: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Build the canonical table of a DataFrame of raw one-minute bars.

    Args:
        frame: Time as a column (timestamp, time, datetime, date, ts, ...) or as the index or a level
            of it; open, high, low, close in index points; volume and contract are optional; other
            columns are ignored. Column names match in any case.
        instrument: Its tick grid must hold all prices.
        timezone: IANA zone of naive times; ignored where times have a zone.
        rolls: From `bars.rolls.read_rolls`, for bars without a contract.

    Raises:
        BadInput: If a column is missing or ambiguous, times are naive and no zone is given, a bar
            is not valid, or there are too few bars for one window.
    """
    named = _by_role(frame)
    aware = isinstance(named["time"].dtype, pd.DatetimeTZDtype)
    times, _ = utc_instants(
        _as_arrow(named["time"]),
        column=str(named["time"].name),
        timezone=None if aware else timezone,
        source=FRAME,
        remedy='Pass params={"timezone": "America/New_York"}, or localize the times.',
    )
    raw = pd.DataFrame({"timestamp": times.array})
    for name in PRICE_COLUMNS:
        raw[name] = _numbers(named[name]).to_numpy()
    raw["volume"] = (
        _volumes(named["volume"]).array if "volume" in named else pd.array([pd.NA] * len(raw), "Int64")
    )
    if "contract" in named:
        raw["contract"] = named["contract"].astype("str").to_numpy()
    clean, _ = clean_bars(raw, instrument_named(instrument), FRAME)
    return _enough(build_table(clean, rolls), FRAME)


def _by_role(frame: pd.DataFrame) -> dict[str, pd.Series]:
    titles = [str(name).strip().lower() for name in frame.columns]
    if repeated := [name for name in FRAME_NAMES if titles.count(name) > 1]:
        raise BadInput(f"{FRAME}: each column must occur once, got {repeated[0]} more than once. Drop one.")
    columns = {title: pd.Series(frame.iloc[:, i]) for i, title in enumerate(titles)}
    by_role = {}
    for role, names in KNOWN_NAMES.items():
        matches = [name for name in names if name in columns]
        if len(matches) > 1:
            raise BadInput(f"{FRAME}: one column must hold the {role}, got {', '.join(matches)}. Drop one.")
        if matches:
            by_role[role] = columns[matches[0]]
    if "time" not in by_role and (times := _other_times(frame, columns)) is not None:
        by_role["time"] = times
    if missing := [role for role in REQUIRED_ROLES if role not in by_role]:
        raise BadInput(
            f"{FRAME}: columns must hold {', '.join(REQUIRED_ROLES)} (time may be the index), "
            f"got {', '.join(columns) or 'none'}. Add {', '.join(missing)}."
        )
    return by_role


def _other_times(frame: pd.DataFrame, columns: Mapping[str, pd.Series]) -> pd.Series | None:
    """Times from the index or a level of it, else from `date`, else from text in the index."""
    levels = [frame.index.get_level_values(level) for level in range(frame.index.nlevels)]
    if time_levels := [level for level in levels if isinstance(level, pd.DatetimeIndex)]:
        return time_levels[0].to_series(frame.index, name=time_levels[0].name or "index")
    if DATE_NAME in columns:
        return columns[DATE_NAME]
    texts = [level for level in levels if pd.api.types.is_string_dtype(level.dtype)]
    return (
        texts[0].to_series(frame.index, name=texts[0].name or "index") if len(levels) == 1 and texts else None
    )


def _as_arrow(times: pd.Series) -> pa.ChunkedArray:
    try:
        return pa.chunked_array([pa.array(times)])
    except (pa.ArrowException, TypeError, OverflowError, UnicodeError):
        raise BadInput(
            f"{FRAME}: {times.name} must hold times of one kind (timestamps, text, or whole counts since "
            f"1970), got mixed kinds ({times.dtype}). Convert them to one kind."
        ) from None


def _numbers(column: pd.Series) -> pd.Series:
    """A column as float64; NaN where empty."""
    try:
        return pd.Series(pd.to_numeric(column), column.index).astype("float64")
    except (ValueError, TypeError, OverflowError):
        raise BadInput(f"{FRAME}: {column.name} must hold numbers, got {column.dtype}.") from None


def _volumes(column: pd.Series) -> pd.Series:
    numbers = _numbers(column)
    whole = (numbers.abs() < MAX_VOLUME) & (numbers == numbers.round())
    invalid = (numbers.notna() & ~whole).to_numpy(bool)
    if invalid.any():
        raise BadInput(
            f"{FRAME}: a bar must {WHOLE_VOLUME}, got {numbers.to_numpy()[invalid][0]:g}. "
            f"Correct it, or drop {column.name}."
        )
    return numbers.astype("Int64")


def _enough(table: pd.DataFrame, source: str) -> pd.DataFrame:
    longest = int(table["segment"].value_counts().max())
    if longest < NEEDED_BARS:
        raise BadInput(
            f"{source}: one window needs {NEEDED_BARS} bars of one segment ({BARS_BEFORE} before it, "
            f"{WINDOW_BARS} in it, no gap over 10 minutes), got {longest}. Give more bars."
        )
    return table
