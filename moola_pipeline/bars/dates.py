"""Times written as text: find the layout of dates and clocks from all cells, and parse them."""

import re
from collections.abc import Callable, Sequence
from datetime import datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from moola_pipeline.errors import BadInput

DATE_LAYOUTS = (
    *("%Y-%m-%d", "%Y%m%d", "%Y.%m.%d", "%Y/%m/%d", "%d.%m.%Y", "%d-%b-%Y"),
    *("%m/%d/%Y", "%d/%m/%Y", "%m-%d-%Y", "%d-%m-%Y"),
)
"""Date layouts of vendors; text that fits two of them is ambiguous."""
CLOCK_LAYOUTS = ("%H:%M", "%H:%M:%S", "%H:%M:%S.%f", "%H%M", "%H%M%S", "%I:%M %p", "%I:%M:%S %p")
_PARTS = r"^(?P<day>\S+?)(?:[Tt]|,? +)(?P<clock>\d[^ ]*(?: [AaPp][Mm])?)$"
_DIGITS = r"^(?P<day>\d{8})(?P<clock>\d{4}|\d{6})$"
_ZONED = r"\d:\d\d(:\d\d(\.\d+)?)?( ?(UTC|GMT|[zZ])|[+-]\d\d(:?\d\d)?)$"
_MIN_FITTING = 0.5
"""Least share of cells that must be times: below it the column holds something else."""


def text_times(texts: pa.ChunkedArray, column: str, source: str) -> pa.ChunkedArray | None:
    """Parse times from text; null where a cell is not a time, None if most are not.

    Args:
        texts: (n,) ISO 8601, with or without a zone, or a date in DATE_LAYOUTS and a clock.
        column: Its name, for errors.
        source: Name of the file, for errors.

    Raises:
        BadInput: If the dates fit two layouts equally well.
    """
    for kind in (pa.timestamp("ns"), pa.timestamp("ns", "UTC")):
        try:
            return texts.cast(kind)
        except pa.ArrowInvalid:
            continue
    texts = pc.utf8_trim_whitespace(texts)  # type: ignore[attr-defined]
    zoned = pc.fill_null(pc.match_substring_regex(texts, _ZONED), False)  # type: ignore[attr-defined]
    n_known, n_zoned = len(texts) - texts.null_count, pc.sum(zoned).as_py() or 0  # type: ignore[attr-defined]
    if 2 * n_zoned > n_known:
        times = _zoned_times(pc.if_else(zoned, texts, pa.scalar(None, pa.string())))  # type: ignore[attr-defined]
    else:
        times = _naive_times(texts, column, source)
    n_times = len(times) - times.null_count
    return times if n_times and n_times >= _MIN_FITTING * n_known else None


def _zoned_times(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    plain = pc.replace_substring_regex(texts, r" ?(UTC|GMT|[zZ])$", "+00:00")  # type: ignore[attr-defined]
    times = pd.to_datetime(plain.to_pandas(), format="ISO8601", errors="coerce", utc=True)
    instants = times.dt.tz_localize(None).to_numpy("M8[us]")
    return pa.chunked_array([pa.array(instants, mask=np.isnat(instants)).cast(pa.timestamp("us", "UTC"))])


def _naive_times(texts: pa.ChunkedArray, column: str, source: str) -> pa.ChunkedArray:
    parts = pc.extract_regex(texts, _PARTS)  # type: ignore[attr-defined]
    digits = pc.extract_regex(texts, _DIGITS)  # type: ignore[attr-defined]
    days, clocks = (
        pc.coalesce(pc.struct_field(parts, name), pc.struct_field(digits, name))  # type: ignore[attr-defined]
        for name in ("day", "clock")
    )
    clocks = pc.replace_substring_regex(clocks, r"(\.\d{6})\d+$", r"\1")  # type: ignore[attr-defined]
    day = _by_distinct(days, lambda distinct: _dates(distinct, column, source))
    clock = _by_distinct(clocks, _clocks)
    times = day.astype("M8[us]") + clock
    return pa.chunked_array([pa.array(times, pa.timestamp("us"), mask=np.isnat(times))])


def _by_distinct(texts: pa.ChunkedArray, parse: Callable[[list[str]], np.ndarray]) -> np.ndarray:
    """Parse the distinct texts and expand the result to rows; NaT where a text is null."""
    coded = texts.combine_chunks().dictionary_encode()
    values = parse(coded.dictionary.to_pylist())
    codes = pc.fill_null(coded.indices, -1).to_numpy()  # type: ignore[attr-defined]
    return np.append(values, np.array(["NaT"], values.dtype))[codes]


def _dates(days: Sequence[str], column: str, source: str) -> np.ndarray:
    parsed = {layout: [_parsed(day, layout) for day in days] for layout in DATE_LAYOUTS}
    fits = {layout: sum(day is not None for day in dates) for layout, dates in parsed.items()}
    most = max(fits.values())
    best = [layout for layout, count in fits.items() if count == most] if most else []
    if len(best) > 1 and any(parsed[best[0]] != parsed[layout] for layout in best[1:]):
        first = next(i for i, day in enumerate(parsed[best[0]]) if day is not None)
        raise BadInput(
            f"{source}: dates in {column} must be unambiguous, but {days[first]} may be "
            f"{' or '.join(_readable(layout) for layout in best)}. "
            "Write them as 2024-01-31, or include days after the 12th."
        )
    dates = parsed[best[0]] if best else [None] * len(days)
    return np.array([day and day.date() for day in dates], "M8[D]")


def _clocks(clocks: Sequence[str]) -> np.ndarray:
    """Time since midnight of clocks in any of CLOCK_LAYOUTS; a text has one value in all that it fits.

    Numbers may lack leading zeros, as 930 does: the longest decides between HHMM and HHMMSS.
    """
    width = max((4 if len(clock) <= 4 else 6 for clock in clocks if clock.isdecimal()), default=0)
    padded = [clock.zfill(width) if clock.isdecimal() else clock for clock in clocks]
    parsed = [
        next(filter(None, (_parsed(text, layout) for layout in CLOCK_LAYOUTS)), None) for text in padded
    ]
    midnight = datetime(1900, 1, 1)
    return np.array([clock and clock - midnight for clock in parsed], "m8[us]")


def _parsed(text: str, layout: str) -> datetime | None:
    n_digits = {"%H%M": 4, "%H%M%S": 6, "%Y%m%d": 8}.get(layout)
    if n_digits is not None and not re.fullmatch(rf"\d{{{n_digits}}}", text):
        return None  # strptime reads 930 as 09:30 and as 9:3:0
    try:
        return datetime.strptime(text, layout)
    except ValueError:
        return None


def _readable(layout: str) -> str:
    return layout.replace("%m", "month").replace("%d", "day").replace("%Y", "year")
