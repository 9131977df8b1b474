"""Time zone and stamp of a file: as its times, its format or its daily breaks show them, or the user says."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from moola_pipeline.bars.cleaning import MAX_REJECTED
from moola_pipeline.bars.file_times import FileTimes, in_utc
from moola_pipeline.bars.formats import PLAIN, VendorFormat
from moola_pipeline.bars.schema import BAR_INTERVAL
from moola_pipeline.bars.session_clock import MIN_BREAKS, SessionClock, daily_breaks, wall_minutes
from moola_pipeline.bars.sessions import NEW_YORK
from moola_pipeline.bars.vendor_options import STAMPS, VendorOptions
from moola_pipeline.errors import BadInput

_LAST_SECOND = 59


class Convention(NamedTuple):
    """Format, zone and stamp of a file, and the source of zone and stamp."""

    vendor: VendorFormat
    zone: str
    stamp: str
    zone_known_by: str
    stamp_known_by: str


def find_convention(
    formats: Sequence[VendorFormat], times: FileTimes, options: VendorOptions, column: str, source: str
) -> Convention | BadInput:
    """Zone and stamp as the file proves them or the user says; else the question to ask.

    Raises:
        BadInput: If the file contradicts an option.
    """
    stamp, stamp_by = options.stamp, "--stamp"
    if _are_last_seconds(times):
        if stamp == "open":
            raise BadInput(
                f"{source}: times at second 59 are the last seconds of bars, got --stamp open. "
                "Give --stamp close."
            )
        stamp, stamp_by = "close", "the seconds"
    fitting = [vendor for vendor in formats if stamp is None or vendor.stamp in (None, "", stamp)]
    fitting = fitting or [*formats]
    zone, zone_by = _stated_zone(times, options, column, source)
    if zone is not None:
        fitting = [vendor for vendor in fitting if vendor.timezone == zone] or fitting
    plain = PLAIN.get(formats[0].kinds[0], formats[0])
    is_known = len(fitting) == 1 and (options.format is not None or not fitting[0].shared)
    if zone is None and is_known and fitting[0].timezone:
        zone, zone_by = fitting[0].timezone, "the format"
    if zone is None:
        proven = _proven(fitting, times, stamp, column, source)
        if proven is None:
            return _zone_question(formats, column, source)
        return proven._replace(stamp_known_by=stamp_by) if stamp else proven
    vendor = fitting[0] if is_known else plain
    if stamp is None and any(candidate.stamp == "" for candidate in fitting):
        return BadInput(
            f"{source}: the times of {' or '.join(candidate.name for candidate in fitting)} files may be bar "
            "opens or bar closes, and the file does not show which. Give --stamp close or --stamp open."
        )
    if stamp is None:
        stamp, stamp_by = vendor.stamp or "open", "the format" if vendor.stamp else "the default"
    return Convention(vendor, zone, stamp, zone_by, stamp_by)


def bar_opens(times: pd.Series, stamp: str) -> pd.Series:
    """Bar opens from bar opens or closes; a last second stands for the close after it."""
    if stamp == "open":
        return times
    ends = times.where(times.dt.second != _LAST_SECOND, times.dt.ceil("min"))
    return ends - BAR_INTERVAL


def _stated_zone(
    times: FileTimes, options: VendorOptions, column: str, source: str
) -> tuple[str | None, str]:
    """The zone that the times or the options state, and which of them does."""
    if times.zone is not None:
        if options.timezone not in (None, times.zone):
            raise BadInput(
                f"{source}: --timezone is for times without a zone, but {column} carries its own "
                f"({times.zone}), got --timezone {options.timezone}. Leave --timezone out."
            )
        return times.zone, "the times"
    if (
        times.counted
        and options.timezone not in (None, "UTC")
        and not _breaks(times, options, column, source)
    ):
        raise BadInput(
            f"{source}: counts since 1970 are in UTC, got --timezone {options.timezone}, and the bars do not "
            "show that zone. Leave --timezone out, or export the times as text."
        )
    if options.timezone is not None:
        return options.timezone, "--timezone"
    return ("UTC", "the times") if times.counted else (None, "")


def _breaks(times: FileTimes, options: VendorOptions, column: str, source: str) -> bool:
    """True if the daily breaks prove the zone that the user states."""
    stamps = (options.stamp,) if options.stamp else STAMPS
    zone = str(options.timezone)
    opened = [bar_opens(in_utc(times, zone, column, source), stamp).dropna() for stamp in stamps]
    clocks = [SessionClock(np.unique(wall_minutes(times, NEW_YORK))) for times in opened]
    return any(daily_breaks(clock) >= MIN_BREAKS for clock in clocks)


def _proven(
    formats: Sequence[VendorFormat], times: FileTimes, stamp: str | None, column: str, source: str
) -> Convention | None:
    """The only one of the formats whose zone and stamp the daily breaks of the file prove."""
    proven: list[tuple[np.ndarray, Convention]] = []
    for vendor in formats:
        for tried in (stamp,) if stamp else (vendor.stamp,) if vendor.stamp else STAMPS:
            if vendor.timezone is None:
                continue
            try:
                opened = bar_opens(in_utc(times, vendor.timezone, column, source), tried).dropna()
            except BadInput:
                continue
            minutes = np.unique(wall_minutes(opened, NEW_YORK))
            if daily_breaks(SessionClock(minutes)) >= MIN_BREAKS:
                known_by = "its daily breaks"
                proven.append((minutes, Convention(vendor, vendor.timezone, tried, known_by, known_by)))
    same = all(np.array_equal(minutes, proven[0][0]) for minutes, _ in proven)
    return proven[0][1] if proven and same else None


def _zone_question(formats: Sequence[VendorFormat], column: str, source: str) -> BadInput:
    named = [
        f"--format {vendor.name}{' --stamp close' if vendor.stamp == '' else ''}"
        f"{f' ({vendor.timezone})' if len(formats) > 1 else ''}"
        for vendor in formats
        if vendor.timezone
    ]
    other = f", or the vendor with {' or '.join(named)}" if named else ""
    return BadInput(
        f"{source}: the times in {column} must prove their time zone, got none. Name it with --timezone, for "
        f"example --timezone America/New_York{other}."
    )


def _are_last_seconds(times: FileTimes) -> bool:
    """True if nearly all times lie in the last second of a minute."""
    seconds = times.values.dropna().dt.second.to_numpy()
    return bool(len(seconds)) and float(np.mean(seconds == _LAST_SECOND)) > 1 - MAX_REJECTED
