"""What a column of times proves: its unit, its time zone, and the UTC instants it names."""

from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from moola_pipeline.errors import BadInput

EPOCH_UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
"""Ticks per second of each unit in which a vendor may count from 1970."""
EPOCH_SECONDS = (631_152_000, 4_102_444_800)
"""1990 to 2100: within it the size of a count leaves one unit only."""
DATE_LAYOUTS = ("%Y%m%d", "%Y.%m.%d", "%Y/%m/%d", "%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y")
"""Dates as vendors write them beside ISO 8601; text that fits two of them proves neither."""
CLOCK_LAYOUTS = ("%H%M%S", "%H:%M", "%H:%M:%S")


def require_zone(name: str) -> str:
    """`name` if it is a zone of the IANA database.

    Raises:
        BadInput: If it is not.
    """
    if not _is_zone(name):
        raise BadInput(
            f"--timezone must name a zone of the IANA database, got {name!r}. "
            "Give UTC, America/New_York or America/Chicago, for example."
        )
    return name


def proves_utc(column: str) -> bool:
    """True if the name of a column says that its times are UTC, as `ts_utc` does."""
    return column.lower().endswith("_utc")


def utc_instants(
    times: pa.ChunkedArray,
    *,
    column: str,
    timezone: str | None,
    source: str,
    remedy: str,
    usual_zone: str | None = None,
) -> tuple[pd.Series, str]:
    """The instants of a column of times, and the zone its values were read in.

    Args:
        times: (n,) timestamps, text in ISO 8601 or one of DATE_LAYOUTS, or whole counts since 1970.
        column: Name of the column; a name that ends in `_utc` proves the zone of naive times.
        timezone: IANA zone of naive times, where the user gave one.
        source: Name of the file, for errors.
        remedy: What a user whose naive times prove no zone has to do.
        usual_zone: Zone of naive times in the vendor's format, where the user gives none.

    Returns:
        (n,) datetime64[ns, UTC] with NaT where no time stands, and the zone.

    Raises:
        BadInput: If the values are no times, prove no zone, contradict the zone given, or name
            a local time that does not exist or exists twice.
    """
    stamps = _timestamps(times, column, source)
    if not isinstance(stamps.dtype, pd.DatetimeTZDtype):
        zone = _zone_of_naive(column, timezone, usual_zone, source, remedy)
        return _localized(stamps, zone, column, source), zone
    zone = times.type.tz if pa.types.is_timestamp(times.type) and _is_zone(times.type.tz) else "UTC"
    if timezone not in (None, zone):
        raise BadInput(
            f"{source}: --timezone is for times without a zone, but {column} carries its own ({zone}), "
            f"got --timezone {timezone}. Leave --timezone out."
        )
    return stamps, zone


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True


def _timestamps(times: pa.ChunkedArray, column: str, source: str) -> pd.Series:
    if pa.types.is_integer(times.type):
        times = _from_epoch(times, column, source)
    elif pa.types.is_string(times.type) or pa.types.is_large_string(times.type):
        times = _from_text(times, column, source)
    elif not pa.types.is_timestamp(times.type):
        raise _not_times(times, column, source)
    if times.type.tz is not None:
        times = times.cast(pa.timestamp(times.type.unit, "UTC"))  # the same instants under a zone that exists
    try:
        return times.to_pandas().dt.as_unit("ns")
    except pd.errors.OutOfBoundsDatetime:
        raise _not_times(times, column, source) from None


def _from_text(times: pa.ChunkedArray, column: str, source: str) -> pa.ChunkedArray:
    for kind in (pa.timestamp("ns"), pa.timestamp("ns", "UTC")):
        try:
            return times.cast(kind)
        except pa.ArrowInvalid:
            continue
    days = pc.unique(pc.list_element(pc.split_pattern(times.drop_null(), " "), 0)).to_pylist()  # type: ignore[attr-defined]
    written = [layout for layout in DATE_LAYOUTS if days and all(_is_date(day, layout) for day in days)]
    if len(written) > 1:
        raise BadInput(
            f"{source}: dates in {column} must be clear, but {days[0]} may be {' or '.join(written)}. "
            "Write them as 2024-01-31, or add more days."
        )
    for clock in CLOCK_LAYOUTS if written else ():
        try:
            return pc.strptime(times, format=f"{written[0]} {clock}", unit="s")  # type: ignore[attr-defined]
        except pa.ArrowInvalid:
            continue
    raise _not_times(times, column, source)


def _is_date(text: str, layout: str) -> bool:
    try:
        datetime.strptime(text, layout)
    except ValueError:
        return False
    return True


def _from_epoch(times: pa.ChunkedArray, column: str, source: str) -> pa.ChunkedArray:
    counts = times.drop_null().to_numpy()
    first, last = EPOCH_SECONDS
    for unit, ticks in EPOCH_UNITS.items():
        if len(counts) and counts.min() >= first * ticks and counts.max() < last * ticks:
            return times.cast(pa.int64()).cast(pa.timestamp(unit))
    raise _not_times(times, column, source)


def _not_times(times: pa.ChunkedArray, column: str, source: str) -> BadInput:
    came = times.drop_null()[:1].to_pylist()
    return BadInput(
        f"{source}: {column} must hold a date and a time (ISO 8601, or whole s, ms, us or ns since 1970), "
        f"got {str(came[0]) if came else 'nothing'!r}. Write the times so, or name another column."
    )


def _zone_of_naive(
    column: str, timezone: str | None, usual_zone: str | None, source: str, remedy: str
) -> str:
    if not proves_utc(column):
        zone = timezone or usual_zone
        if zone is None:
            raise BadInput(f"{source}: the times in {column} must prove their time zone, got none. {remedy}")
        return require_zone(zone)
    if timezone not in (None, "UTC"):
        raise BadInput(
            f"{source}: the name of {column} says UTC, got --timezone {timezone}. "
            "Leave --timezone out, or rename the column."
        )
    return "UTC"


def _localized(stamps: pd.Series, zone: str, column: str, source: str) -> pd.Series:
    if zone == "UTC":
        return stamps.dt.tz_localize("UTC")
    instants = stamps.dt.tz_localize(zone, ambiguous="NaT", nonexistent="NaT").dt.tz_convert("UTC")
    lost = np.flatnonzero(instants.isna() & stamps.notna())
    if len(lost):
        raise BadInput(
            f"{source}: each time in {column} must exist once in {zone}, but {len(lost):,} fall on a clock "
            f"change, the first {stamps.iloc[lost[0]]}. Name the right zone, or export the bars in UTC."
        )
    return instants
