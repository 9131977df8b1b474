"""Options of the commands that read a bar file, and their report on the file."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from moola_pipeline.bars.bar_reader import VendorBars
from moola_pipeline.bars.instruments import INSTRUMENTS
from moola_pipeline.bars.manifest import AddedBars
from moola_pipeline.bars.quality import BarReview
from moola_pipeline.bars.store import BarStore
from moola_pipeline.bars.vendor_options import FORMATS, STAMPS, VendorOptions, column_mapping
from moola_pipeline.cli.output import iso_time, shown_time

_OPTIONS = (
    click.option(
        "--format",
        metavar="NAME",
        help=f"Vendor or layout, if the file does not prove it: {', '.join(FORMATS)}.",
    ),
    click.option(
        "--timezone", metavar="ZONE", help="IANA time zone, if neither the times nor the format contain one."
    ),
    click.option(
        "--stamp",
        metavar="|".join(STAMPS),
        help="Whether times are bar opens or closes. Default: open; required for NinjaTrader.",
    ),
    click.option(
        "--columns",
        metavar="ROLE=NAME,...",
        help="Column of each role by name or number, for example time=ts,close=5; volume= leaves it out.",
    ),
    click.option(
        "--instrument",
        metavar="|".join(INSTRUMENTS),
        help="Instrument of the bars. Default: that of the registered bars, else NQ.",
    ),
)


def vendor_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command --format, --timezone, --stamp, --columns and --instrument."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def chosen_options(
    format: str | None, timezone: str | None, stamp: str | None, columns: str | None, instrument: str | None
) -> VendorOptions:
    """The values of the options of `vendor_options`.

    Raises:
        BadInput: If a value is invalid.
    """
    named = {} if columns is None else column_mapping(columns)
    return VendorOptions(format, timezone, stamp, named, instrument)


SHOWN_DIGITS = 12
SHOWN_MOST = 3
DUPLICATE = "exact duplicate"
FILLER = "filler: the last close repeated without volume in hours without trading"


def added_facts(store: BarStore, path: Path, added: AddedBars, review: BarReview) -> dict[str, Any]:
    """Facts about an added file, for JSON."""
    entry, bars, missing = added.entry, added.bars, review.missing
    return {
        "source": path.name,
        "outcome": added.outcome,
        "file": entry.file,
        "sha256": entry.sha256,
        "rows": row_facts(bars),
        "quarantine": _quarantine(store, added),
        "format": entry.format,
        "interval_minutes": 1,
        "timezone": entry.timezone,
        "timezone_known_by": bars.zone_known_by,
        "stamp": entry.stamp,
        "stamp_known_by": bars.stamp_known_by,
        "columns": entry.columns,
        "instrument": entry.instrument,
        "first": iso_time(entry.first),
        "last": iso_time(entry.last),
        "volume": bars.volume or "read",
        "cut_short": list(added.cut_short),
        "missing": {
            "minutes": missing.minutes,
            "expected": missing.expected,
            "by_session": missing.sessions,
            "bars_outside_sessions": missing.outside,
        },
        "spikes": [
            {"timestamp": iso_time(spike.timestamp), "points": spike.points} for spike in review.spikes
        ],
    }


def added_lines(store: BarStore, path: Path, added: AddedBars, review: BarReview) -> Iterator[str]:
    """The same facts as text, with long lists shortened."""
    entry, bars = added.entry, added.bars
    name = "" if entry.file == path.name else f" as {entry.file}"
    yield f"{path.name}: {added.outcome}{name}"
    yield f"  rows    {rows_line(bars)}"
    if place := _quarantine(store, added):
        yield f"  set aside in {place}, each with its reason; {first_rejected(bars)}"
    yield f"  read    {reading_line(bars)}"
    yield f"  columns {', '.join(f'{role}={name}' for role, name in entry.columns.items())}"
    if bars.volume:
        yield f"  volume  {bars.volume}"
    yield f"  bars    {shown_time(entry.first)} to {shown_time(entry.last)} UTC (bar opens)"
    yield f"  missing {_missing(review)}"
    if review.spikes:
        yield f"  spikes  {_spikes(review)}"
    for cut in added.cut_short:
        yield f"  the last bar of {cut} was incomplete: the bar of the file that continues replaces it"
    yield f"  sha256  {entry.sha256[:SHOWN_DIGITS]}..."


def row_facts(bars: VendorBars) -> dict[str, Any]:
    """Row counts of a file, for JSON."""
    first = bars.rejected[["row", "reason", "found"]].head(SHOWN_MOST)
    return {
        "read": bars.counts.read,
        "kept": bars.counts.kept,
        "dropped": _dropped(bars),
        "first_rejected": [
            {"row": int(row), "reason": str(reason), "found": str(found)}
            for row, reason, found in first.itertuples(index=False)
        ],
        "sorted_in": bars.counts.out_of_order,
    }


def rows_line(bars: VendorBars) -> str:
    """The same counts as text."""
    counts = bars.counts
    why = "; ".join(f"{count:,} {reason}" for reason, count in _dropped(bars).items())
    late = f"; {counts.out_of_order:,} out of order, sorted" if counts.out_of_order else ""
    return (
        f"{counts.read:,} read, {counts.kept:,} kept, {counts.read - counts.kept:,} dropped"
        f"{f' ({why})' if why else ''}{late}"
    )


def first_rejected(bars: VendorBars) -> str:
    """The first rejected row of a file, and its faulty cell."""
    first = bars.rejected.iloc[0]
    return f"first row {first['row']:,}" + (f", where {first['found']}" if first["found"] else "")


def reading_line(bars: VendorBars) -> str:
    """How a file was read, and the source of each fact."""
    facts = bars.facts
    return (
        f"as {facts.instrument}, {facts.format}, one-minute bars, "
        f"times in {facts.timezone} ({bars.zone_known_by}), bar {facts.stamp} ({bars.stamp_known_by})"
    )


def _dropped(bars: VendorBars) -> dict[str, int]:
    """Dropped rows by reason."""
    counted = {DUPLICATE: bars.counts.duplicates, FILLER: bars.counts.filler}
    reasons = bars.rejected["reason"].value_counts()
    return {reason: n for reason, n in counted.items() if n} | {
        str(reason): int(count) for reason, count in reasons.items()
    }


def _quarantine(store: BarStore, added: AddedBars) -> str | None:
    if not added.entry.rejected:
        return None
    return str(store.quarantined(added.entry).relative_to(store.root.parents[1]))


def _missing(review: BarReview) -> str:
    missing = review.missing
    outside = f"; {missing.outside:,} bars outside the calendar's sessions" if missing.outside else ""
    if not missing.minutes:
        return f"none of the {missing.expected:,} session minutes{outside}"
    most = sorted(missing.sessions.items(), key=lambda item: (-item[1], item[0]))[:SHOWN_MOST]
    listed = ", ".join(f"{session} ({count:,})" for session, count in most)
    return (
        f"{missing.minutes:,} of the {missing.expected:,} session minutes, "
        f"in {len(missing.sessions):,} sessions, most in {listed}{outside}"
    )


def _spikes(review: BarReview) -> str:
    largest = sorted(review.spikes, key=lambda spike: -spike.points)[:SHOWN_MOST]
    listed = ", ".join(f"{shown_time(spike.timestamp)} ({spike.points:g} points)" for spike in largest)
    return f"{len(review.spikes):,} flagged and kept, largest {listed}"
