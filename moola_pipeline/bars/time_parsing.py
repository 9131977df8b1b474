"""Times written as text, in the notations of vendors."""

import re
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as _compute

from moola_pipeline.errors import BadInput

pc: Any = _compute  # its functions are made at run time
DATE_LAYOUTS = (
    *("%Y-%m-%d", "%Y%m%d", "%Y.%m.%d", "%Y/%m/%d", "%d.%m.%Y", "%d.%m.%y"),
    *("%m/%d/%Y", "%d/%m/%Y", "%m-%d-%Y", "%d-%m-%Y", "%m/%d/%y", "%d/%m/%y", "%m-%d-%y", "%d-%m-%y"),
    *(
        "%d%b%Y",
        "%d%b%y",
        "%d-%b-%Y",
        "%d-%b-%y",
        "%d %b %Y",
        "%b %d %Y",
        "%d %B %Y",
        "%B %d %Y",
        "%Y-%b-%d",
        "%Y %b %d",
    ),
)
"""Date layouts of vendors; text that fits two of them is ambiguous."""
YEAR_FIRST = ("%y-%m-%d", "%y/%m/%d")
"""Rare: read only if it brings the days of a file nearer to each other than any other layout."""
READ_TIMES = (
    "2025-01-31 18:00 (also with / or . between the parts), 20250131 180000, 01/31/2025 06:00 PM, "
    "01/31/25 18:00, 31.01.2025 18:00, 31-Jan-2025 18:00, Jan 31 2025 18:00, each also with Z, -05:00, "
    "EST or a zone's name behind it, and whole s, ms, us or ns since 1970"
)
"""Times that are read, for errors."""
_FIXED_HOURS = {"Z": 0, "UTC": 0, "GMT": 0, "BST": 1, "CET": 1, "CEST": 2, "JST": 9} | {
    f"{area}{kind}": hours + (kind == "DT")
    for area, hours in {"E": -5, "C": -6, "M": -7, "P": -8}.items()
    for kind in ("ST", "DT")
}
"""Hours from UTC of abbreviations behind a time."""
_NAMED_ZONES = {"ET": "America/New_York", "CT": "America/Chicago", "PT": "America/Los_Angeles"}
_COLON_CLOCK = r"\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?: ?(?:[AaPp][Mm]\b|[AaPp]\.[Mm]\.))?"
_ZONED = (
    rf"^(?P<rest>.*{_COLON_CLOCK}|\d{{8}}[Tt_ ]?\d{{4,6}}) ?(?P<zone>(?:UTC|GMT)?[+-]\d{{1,2}}(?::?\d{{2}})?|"
    rf"(?i:{'|'.join([*_FIXED_HOURS, *_NAMED_ZONES])})|[A-Za-z]+/[A-Za-z_/]+)$"
)
_USUAL_FORM = (
    (r"[\x{a0}\x{202f}]", " "),
    (r"^'|^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,? +| *\([^)]*\)$|\[[A-Za-z_/]+\]$", ""),
    (r",? at +", " "),
    (r"([+-]\d\d:?\d\d) +[A-Z]{3,4}$", r"\1"),
    (r"^([A-Za-z]{3} +\d{1,2}) +(\d\d:\d\d:\d\d) *([A-Z]{3,4})? +(\d{4})$", r"\1 \4 \2 \3"),
    (r"^(\d{1,2}:\d\d(?::\d\d)?) +(\S+[./-]\S+)$", r"\2 \1"),
    (r"^(\d{4}-\d\d-\d\d|\d{1,2}[A-Za-z]{3}\d{2,4})[_:-](\d\d)[:-]?(\d\d)", r"\1 \2:\3"),
    (r" (\d\d)[.-](\d\d)[.-](\d\d)\b", r" \1:\2:\3"),
    (r"(\d:\d\d:\d\d):(\d{3})$", r"\1.\2"),
    (r"(:\d\d) ?([AaPp])$", r"\1 \2M"),
)
"""Rarer notations and how they are rewritten, in order."""
_PARTS = rf"^(?P<day>\S.*?)(?:[Tt]|,? +)(?P<clock>{_COLON_CLOCK}|\d{{1,6}})$"
_DIGITS = rf"^(?P<day>\d{{8}})[-_Tt]?(?P<clock>{_COLON_CLOCK}|\d{{4}}|\d{{6}})$"
_CLOCK = re.compile(r"(\d{1,2}):?(\d\d)(?::?(\d\d)(?:[.,](\d{1,6})\d*)?)? ?(?:([AaPp])\.?[Mm]\.?)?")
_OFFSET = re.compile(r"([+-])(\d{1,2}):?(\d\d)?")
_DAY = 24 * 60
_MIN_FITTING = 0.5
"""Least share of cells that must be times: below it the column holds something else."""


def text_times(texts: pa.ChunkedArray, column: str, source: str) -> tuple[pa.ChunkedArray | None, str | None]:
    """Parse times from text: null where a cell is not a time, None if most are not; and the zone's name.

    Args:
        texts: (n,) text as in READ_TIMES.
        column: Its name, for errors.
        source: Name of the file, for errors.

    Raises:
        BadInput: If the dates fit two layouts equally well, or afternoons look like nights.
    """
    for kind in (pa.timestamp("ns"), pa.timestamp("ns", "UTC")):
        try:
            times = texts.cast(kind)
        except pa.ArrowInvalid:
            continue
        _refuse_half_days(pc.cast(times, pa.timestamp("us"), safe=False).to_numpy(), column, source)
        return times, None
    texts = pc.utf8_trim_whitespace(texts)
    for pattern, usual in _USUAL_FORM:
        texts = pc.replace_substring_regex(texts, pattern, usual)
    texts = pc.utf8_trim_whitespace(texts)
    parts = pc.extract_regex(texts, _ZONED)
    zones = pc.struct_field(parts, "zone")
    n_known, zone = len(texts) - texts.null_count, None
    if 2 * (len(zones) - zones.null_count) > n_known:
        times, zone = _zoned_times(pc.struct_field(parts, "rest"), zones, column, source)
    else:
        times = _naive_times(pc.if_else(pc.is_null(zones), texts, None), column, source)
    n_times = int((~np.isnat(times)).sum())
    if not n_times or n_times < _MIN_FITTING * n_known:
        return None, None
    kind = pa.timestamp("us", "UTC" if zone == "UTC" else None)
    return pa.chunked_array([pa.array(times, mask=np.isnat(times)).cast(kind)]), zone


def _zoned_times(
    texts: pa.ChunkedArray, zones: pa.ChunkedArray, column: str, source: str
) -> tuple[np.ndarray, str]:
    """Instants if the zones are offsets, else wall clock in the most frequent zone; NaT in another zone."""
    coded = zones.combine_chunks().dictionary_encode()
    names = [str(name) for name in coded.dictionary.to_pylist()]
    codes = pc.fill_null(coded.indices, -1).to_numpy()
    times = _naive_times(texts, column, source)
    usual = names[np.bincount(codes[codes >= 0]).argmax()]
    named = _NAMED_ZONES.get(usual.upper(), usual)
    if "/" in named and is_zone(named):
        same = [_NAMED_ZONES.get(name.upper(), name) == named for name in names]
        times[~np.append(same, False)[codes]] = np.datetime64("NaT")
        return times, named
    offsets = np.array([_offset(name) for name in [*names, ""]], "m8[us]")
    return times - offsets[codes], "UTC"


def _offset(zone: str) -> timedelta | None:
    """Distance from UTC of a zone that is not a name: Z, EST, -05:00, GMT-0500."""
    if (hours := _FIXED_HOURS.get(zone.upper())) is not None:
        return timedelta(hours=hours)
    match = _OFFSET.search(zone)
    if match is None:
        return None
    size = timedelta(hours=int(match[2]), minutes=int(match[3] or 0))
    return -size if match[1] == "-" else size


def _naive_times(texts: pa.ChunkedArray, column: str, source: str) -> np.ndarray:
    """Wall clock (n,) datetime64[us], NaT where a cell is not a time."""
    digits, parts = (pc.extract_regex(texts, pattern) for pattern in (_DIGITS, _PARTS))
    days, clocks = (
        pc.coalesce(pc.struct_field(digits, name), pc.struct_field(parts, name)) for name in ("day", "clock")
    )
    days = pc.replace_substring_regex(days, r"[, ]+", " ")
    day = _by_distinct(days, lambda distinct: _dates(distinct, column, source))
    times = day.astype("M8[us]") + _by_distinct(clocks, _clocks)
    if not pc.any(pc.match_substring_regex(clocks, "[AaPp]")).as_py():
        _refuse_half_days(times, column, source)
    return times


def _refuse_half_days(times: np.ndarray, column: str, source: str) -> None:
    """Refuse a clock of 12 hours without AM and PM: within a day, 12:59 is followed by 1:00.

    Args:
        times: (n,) datetime64[us] in the order of the file, NaT where a cell is not a time.
        column: Its name, for errors.
        source: Name of the file, for errors.
    """
    minutes = times[~np.isnat(times)].astype("M8[m]").astype(np.int64)
    clock = minutes % _DAY
    if not len(clock) or clock.min() < 60 or clock.max() >= 13 * 60:
        return
    steps = np.diff(minutes)
    steps = -steps if np.median(steps if len(steps) else [0]) < 0 else steps  # the newest bar first
    back = -steps[steps < 0]
    if len(back) and np.mean((back > 11 * 60) & (back <= 12 * 60)) > _MIN_FITTING:
        raise BadInput(
            f"{source}: times in {column} must be on a 24-hour clock, or say AM or PM, but after 12:59 comes "
            "1:00 of the same day. Export them so."
        )


def _by_distinct(texts: pa.ChunkedArray, parse: Callable[[list[str]], np.ndarray]) -> np.ndarray:
    """Parse the distinct texts and expand the result to rows; NaT where a text is null."""
    coded = texts.combine_chunks().dictionary_encode()
    values = parse(coded.dictionary.to_pylist())
    codes = pc.fill_null(coded.indices, -1).to_numpy()
    return np.append(values, np.array(["NaT"], values.dtype))[codes]


def _dates(days: Sequence[str], column: str, source: str) -> np.ndarray:
    parsed = {layout: [_date(day, layout) for day in days] for layout in (*DATE_LAYOUTS, *YEAR_FIRST)}
    fits = {layout: sum(day is not None for day in dates) for layout, dates in parsed.items()}
    most = max(fits.values())
    best = [layout for layout, count in fits.items() if count == most] if most else []
    usual, rare = ([each for each in best if (each in YEAR_FIRST) is rare] for rare in (False, True))
    near = [each for each in rare if all(_reach(parsed[each]) < _reach(parsed[other]) for other in usual)]
    best = near or usual
    if len(best) > 1 and any(parsed[best[0]] != parsed[layout] for layout in best[1:]):
        first = next(i for i, day in enumerate(parsed[best[0]]) if day is not None)
        raise BadInput(
            f"{source}: dates in {column} must be unambiguous, but {days[first]} may be "
            f"{' or '.join(_readable(layout) for layout in best)}. "
            "Write them as 2024-01-31, or include days after the 12th."
        )
    dates = parsed[best[0]] if best else [None] * len(days)
    return np.array([day and day.date() for day in dates], "M8[D]")


def _reach(days: Sequence[datetime | None]) -> timedelta:
    """From the first day to the last."""
    known = [day for day in days if day is not None]
    return max(known) - min(known)


def _date(text: str, layout: str) -> datetime | None:
    if layout == "%Y%m%d" and not re.fullmatch(r"\d{8}", text):
        return None  # strptime reads 2025112 too
    try:
        return datetime.strptime(text, layout)
    except ValueError:
        return None


def _clocks(clocks: Sequence[str]) -> np.ndarray:
    """Time since midnight; 24:00 is the end of the day.

    Numbers may lack leading zeros, as 930 does: the longest decides between HHMM and HHMMSS.
    """
    width = max((4 if len(clock) <= 4 else 6 for clock in clocks if clock.isdecimal()), default=0)
    padded = [clock.zfill(width) if clock.isdecimal() else clock for clock in clocks]
    return np.array([_clock(text) for text in padded], "m8[us]")


def _clock(text: str) -> timedelta | None:
    match = _CLOCK.fullmatch(text)
    if match is None:
        return None
    hour, minute, second = int(match[1]), int(match[2]), int(match[3] or 0)
    if match[5]:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + 12 * (match[5] in "Pp")
    since = timedelta(
        hours=hour, minutes=minute, seconds=second, microseconds=int((match[4] or "0").ljust(6, "0"))
    )
    return since if minute < 60 and second < 60 and since <= timedelta(days=1) else None


def _readable(layout: str) -> str:
    for part, name in (("%m", "month"), ("%d", "day"), ("%Y", "year"), ("%y", "year"), ("%b", "month")):
        layout = layout.replace(part, name)
    return layout


def is_zone(name: str) -> bool:
    """True for a zone of the IANA database."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True
