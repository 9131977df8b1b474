"""Convert a column of times to UTC: unit, time zone and instants."""

from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from moola_pipeline.bars.dates import text_times
from moola_pipeline.errors import BadInput

EPOCH_UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
"""Ticks per second of each unit of counts since 1970."""
EPOCH_SECONDS = (631_152_000, 4_102_444_800)
"""1990 to 2100: in this range a count fits one unit only."""
NS_SECONDS = (-9_222_768_000, 9_222_768_000)
"""1677 to 2262: the range of int64 nanoseconds, less a week for zones and sessions."""


def require_zone(name: str) -> str:
    """Return `name` if it is a zone of the IANA database.

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
    """True if the column name marks its times as UTC, as `ts_utc` does."""
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
    """Convert a column of times to UTC; return the instants and the zone of the values.

    Args:
        times: (n,) timestamps, text as `text_times` reads it, or whole counts since 1970.
        column: Name of the column; a name that ends in `_utc` means that naive times are UTC.
        timezone: IANA zone of naive times, if the user gave one.
        source: Name of the file, for errors.
        remedy: Remedy in the error if the zone is unknown.
        usual_zone: Zone of naive times in the vendor's format, if the user gave none.

    Returns:
        (n,) datetime64[ns, UTC] with NaT where a cell is empty or not a time, and the zone.

    Raises:
        BadInput: If most values are not times, their zone is unknown or contradicts `timezone`, or
            a local time does not exist or exists twice.
    """
    stamps = _timestamps(times, column, source)
    if not isinstance(stamps.dtype, pd.DatetimeTZDtype):
        zone = _zone_of_naive(column, timezone, usual_zone, source, remedy)
        return _localized(stamps, zone, column, source), zone
    named = _zone_name(times.type) if pa.types.is_timestamp(times.type) else None
    zone = named if named and _is_zone(named) else "UTC"
    if timezone not in (None, zone):
        raise BadInput(
            f"{source}: --timezone is for times without a zone, but {column} carries its own ({zone}), "
            f"got --timezone {timezone}. Leave --timezone out."
        )
    return stamps, zone


def _zone_name(kind: pa.TimestampType) -> str | None:
    """Zone of a column's type; "" if its bytes are not text, None if it has none."""
    try:
        return kind.tz
    except UnicodeDecodeError:
        return ""


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True


def _timestamps(times: pa.ChunkedArray, column: str, source: str) -> pd.Series:
    parsed: pa.ChunkedArray | None = times
    if pa.types.is_floating(times.type):
        parsed = times = _whole(times)
    if pa.types.is_integer(times.type):
        parsed = _from_epoch(times)
    if parsed is None or pa.types.is_string(times.type) or pa.types.is_large_string(times.type):
        parsed = text_times(times.cast(pa.string()), column, source)
    if parsed is None or not pa.types.is_timestamp(parsed.type):
        raise _not_times(times, column, source)
    if _zone_name(parsed.type) is not None:
        parsed = parsed.cast(pa.timestamp(parsed.type.unit, "UTC"))  # same instants, valid zone
    return _in_range(parsed).to_pandas().dt.as_unit("ns")


def _in_range(times: pa.ChunkedArray) -> pa.ChunkedArray:
    """The times, null outside the range of nanoseconds."""
    first, last = (second * EPOCH_UNITS[times.type.unit] for second in NS_SECONDS)
    counts = times.cast(pa.int64())
    sound = pc.and_(pc.greater(counts, first), pc.less(counts, last))  # type: ignore[attr-defined]
    return pc.if_else(sound, times, pa.scalar(None, times.type))  # type: ignore[attr-defined]


def _whole(times: pa.ChunkedArray) -> pa.ChunkedArray:
    """Counts written with a decimal point, as integers if all are whole."""
    try:
        return times.cast(pa.int64())
    except pa.ArrowInvalid:
        return times


def _from_epoch(times: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """Counts since 1970 in the unit that fits most, null for the others; None if no unit does."""
    times = times.cast(
        pa.int64(), safe=False
    )  # an unsigned overflow becomes negative, which is no valid count
    first, last = EPOCH_SECONDS
    for unit, ticks in EPOCH_UNITS.items():
        sound = pc.and_(pc.greater_equal(times, first * ticks), pc.less(times, last * ticks))  # type: ignore[attr-defined]
        n_sound = pc.sum(sound).as_py() or 0  # type: ignore[attr-defined]
        if n_sound and 2 * n_sound >= len(times) - times.null_count:
            counts = pc.if_else(sound, times, pa.scalar(None, pa.int64()))  # type: ignore[attr-defined]
            return counts.cast(pa.timestamp(unit))
    return None


def _not_times(times: pa.ChunkedArray, column: str, source: str) -> BadInput:
    came = times.drop_null()[:1].to_pylist()
    return BadInput(
        f"{source}: {column} must hold a date and a time (ISO 8601, or whole s, ms, us or ns since 1970), "
        f"got {str(came[0]) if came else 'nothing'!r}. Write the times in this form, or name another column."
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
            f"{source}: the column name {column} means UTC, got --timezone {timezone}. "
            "Leave --timezone out, or rename the column."
        )
    return "UTC"


def _localized(stamps: pd.Series, zone: str, column: str, source: str) -> pd.Series:
    if zone == "UTC":
        return stamps.dt.tz_localize("UTC")
    instants = stamps.dt.tz_localize(zone, ambiguous="NaT", nonexistent="NaT").dt.tz_convert("UTC")
    invalid = np.flatnonzero(instants.isna() & stamps.notna())
    if len(invalid):
        raise BadInput(
            f"{source}: each time in {column} must exist once in {zone}, but {len(invalid):,} fall on a "
            f"clock change, the first in row {invalid[0] + 1:,} ({stamps.iloc[invalid[0]]}). "
            "Name the right zone, or export the bars in UTC."
        )
    return instants
