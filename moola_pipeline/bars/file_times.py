"""Times of a file: text, counts since 1970 or typed times, and their instants in UTC."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as _compute

from moola_pipeline.bars.time_parsing import READ_TIMES, is_zone, text_times
from moola_pipeline.errors import BadInput

pc: Any = _compute  # its functions are made at run time
EPOCH_UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
"""Ticks per second of each unit of counts since 1970."""
EPOCH_SECONDS = (631_152_000, 4_102_444_800)
"""1990 to 2100: in this range a count fits one unit only."""
NS_SECONDS = (-9_222_768_000, 9_222_768_000)
"""1677 to 2262: the range of int64 nanoseconds, less a week for zones and sessions."""


@dataclass(frozen=True)
class FileTimes:
    """The times of a file.

    Attributes:
        values: (n,) datetime64[ns], UTC if they are instants, else wall clock; NaT where a cell is empty or
            not a time.
        zone: Zone that the file states; None if it states none.
        counted: True for counts since 1970: they are in UTC unless the user says otherwise.
    """

    values: pd.Series
    zone: str | None
    counted: bool = False


def require_zone(name: str) -> str:
    """Return `name` if it is a zone of the IANA database.

    Raises:
        BadInput: If it is not.
    """
    if not is_zone(name):
        raise BadInput(
            f"--timezone must name a zone of the IANA database, got {name!r}. "
            "Give UTC, America/New_York or America/Chicago, for example."
        )
    return name


def proves_utc(column: str) -> bool:
    """True if a column's name says that its times are UTC, as `ts_utc`, `Gmt time` or `DateTime (UTC)` do."""
    return not {"utc", "gmt"}.isdisjoint(re.findall(r"[a-z]+", column.lower()))


def read_times(times: pa.ChunkedArray, column: str, source: str) -> FileTimes:
    """Read a column of times.

    Args:
        times: (n,) timestamps, text as in READ_TIMES, or whole counts since 1970.
        column: Its name; one that says UTC states the zone of times without one.
        source: Name of the file, for errors.

    Raises:
        BadInput: If most cells are not times, or the dates fit two layouts equally well.
    """
    parsed: pa.ChunkedArray | None = times
    zone, counted = None, False
    if pa.types.is_floating(times.type):
        parsed = times = _whole(times)
    if pa.types.is_string(times.type) and pc.all(pc.match_substring_regex(times, r"^\d{10,18}$")).as_py():
        times = times.cast(pa.int64())
    if pa.types.is_integer(times.type):
        parsed = _from_epoch(times)
        counted = parsed is not None
    if parsed is None or pa.types.is_string(times.type) or pa.types.is_large_string(times.type):
        parsed, zone = text_times(times.cast(pa.string()), column, source)
    if parsed is None or not pa.types.is_timestamp(parsed.type):
        raise _not_times(times, column, source)
    stated = _zone_name(parsed.type)
    if stated is not None:
        zone = stated if stated and is_zone(stated) else "UTC"
        parsed = parsed.cast(pa.timestamp(parsed.type.unit, "UTC"))  # same instants, valid zone
    elif proves_utc(column):
        zone = "UTC"
    return FileTimes(_in_range(parsed).to_pandas().dt.as_unit("ns"), zone, counted)


def in_utc(times: FileTimes, zone: str, column: str, source: str) -> pd.Series:
    """The instants of the times, read in `zone` where they are wall clock, (n,) datetime64[ns, UTC].

    Raises:
        BadInput: If a local time does not exist or exists twice.
    """
    values = times.values
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        return values
    if zone == "UTC":
        return values.dt.tz_localize("UTC")
    instants = values.dt.tz_localize(zone, ambiguous="NaT", nonexistent="NaT").dt.tz_convert("UTC")
    invalid = np.flatnonzero(instants.isna() & values.notna())
    if len(invalid):
        raise BadInput(
            f"{source}: each time in {column} must exist once in {zone}, but {len(invalid):,} fall on a "
            f"clock change, the first in row {invalid[0] + 1:,} ({values.iloc[invalid[0]]}). "
            "Name the right zone, or export the bars in UTC."
        )
    return instants


def _zone_name(kind: pa.TimestampType) -> str | None:
    """Zone of a column's type; "" if its bytes are not text, None if it has none."""
    try:
        return kind.tz
    except UnicodeDecodeError:
        return ""


def _in_range(times: pa.ChunkedArray) -> pa.ChunkedArray:
    """The times, null outside the range of nanoseconds."""
    first, last = (second * EPOCH_UNITS[times.type.unit] for second in NS_SECONDS)
    counts = times.cast(pa.int64())
    sound = pc.and_(pc.greater(counts, first), pc.less(counts, last))
    return pc.if_else(sound, times, pa.scalar(None, times.type))


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
        sound = pc.and_(pc.greater_equal(times, first * ticks), pc.less(times, last * ticks))
        n_sound = pc.sum(sound).as_py() or 0
        if n_sound and 2 * n_sound >= len(times) - times.null_count:
            counts = pc.if_else(sound, times, pa.scalar(None, pa.int64()))
            return counts.cast(pa.timestamp(unit))
    return None


def _not_times(times: pa.ChunkedArray, column: str, source: str) -> BadInput:
    came = times.drop_null()[:1].to_pylist()
    return BadInput(
        f"{source}: {column} must hold a date and a time, got {str(came[0]) if came else 'nothing'!r}. "
        f"Write it in one of these ways, or name another column with --columns time=NAME: {READ_TIMES}."
    )
