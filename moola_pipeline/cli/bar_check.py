"""`moola bars check`: the registered bars against the calendar, and their segments and windows."""

from collections.abc import Iterator
from typing import Any

import click
import numpy as np
import pandas as pd

from moola_pipeline.bars.coverage import SegmentStarts, segment_starts, session_coverage
from moola_pipeline.bars.manifest import read_bars
from moola_pipeline.bars.rolls import registered_rolls
from moola_pipeline.bars.schema import MAX_GAP, nanoseconds
from moola_pipeline.bars.store import read_manifest, registered_store
from moola_pipeline.cli.next_steps import ADD_ROLLS, lacks_rolls
from moola_pipeline.cli.output import emit, iso_time, json_option, shown_time
from moola_pipeline.errors import IntegrityError
from moola_pipeline.storage.home import Home
from moola_pipeline.windows.dense import crossing_segments, pretraining_windows, scan_windows

HEADINGS = ("year", "sessions", "minutes", "missing", "outside", "halts", "early closes", "holidays")
WIDTHS = (12, 9, 9, 18, 18, 18)
"""Of the columns from `minutes` on."""
SUMMED = {
    "minutes": "expected",
    "missing": "missing",
    "outside": "outside",
    "halts": "has_halt",
    "halts_kept": "halt_kept",
    "early_closes": "closes_early",
    "early_closes_kept": "close_kept",
}
"""Name of each sum, and the column of `session_coverage` that is summed."""


@click.command()
@json_option
@click.pass_obj
def check(home: Home, as_json: bool) -> None:
    """Compare the registered bars with the calendar, year by year.

    "missing" counts session minutes without a bar, "outside" bars at other minutes. A halt or an
    early close is kept if no bar lies in it and bars lie around it, a holiday if it has no bar.
    Exits 1 if a window crosses the end of its segment.
    """
    store = registered_store(home)
    bars = read_bars(store)
    coverage = session_coverage(bars)
    facts = {
        "instrument": read_manifest(store).files[0].instrument,
        "bars": len(bars),
        "first": iso_time(bars["timestamp"].iloc[0]),
        "last": iso_time(bars["timestamp"].iloc[-1]),
        "years": [
            {"year": int(str(year))} | _counts(days)
            for year, days in coverage.groupby(coverage["session"].dt.year)
        ],
        "total": _counts(coverage) | _missing_a_session(coverage),
        "segments": segment_starts(bars)._asdict(),
        "rolls": _rolls(bars, registered_rolls(store), lacks_rolls(store)),
        "windows": _windows(bars["segment"].to_numpy()),
    }
    emit(facts, _lines(bars, facts), as_json)
    if n_leaving := facts["windows"]["leaving_a_segment"]:
        raise IntegrityError(
            f"No window may cross the end of its segment, but {n_leaving:,} do. Please report this bug."
        )


def _counts(days: pd.DataFrame) -> dict[str, int]:
    """Sums over some days of a `session_coverage`."""
    held, has_bars = days["held"].to_numpy(), days["bars"].to_numpy() > 0
    return {
        "sessions": int(held.sum()),
        "without_bars": int((held & ~has_bars).sum()),
        **{name: int(days[column].to_numpy().sum()) for name, column in SUMMED.items()},
        "holidays": int((~held).sum()),
        "holidays_kept": int((~held & ~has_bars).sum()),
    }


def _missing_a_session(coverage: pd.DataFrame) -> dict[str, Any]:
    held = coverage["held"].to_numpy()
    sessions = coverage["session"].dt.strftime("%Y-%m-%d").to_numpy()[held]
    missing = coverage["missing"].to_numpy()[held]
    return {
        "median_missing": float(np.median(missing)),
        "most_missing": int(missing.max()),
        "missing_by_session": {session: int(n) for session, n in zip(sessions, missing, strict=True) if n},
    }


def _rolls(bars: pd.DataFrame, rolls: pd.DataFrame | None, lacking: bool) -> dict[str, Any]:
    """Count the rolls that are registered, that lie within the bars, and that begin a segment."""
    contract = pd.factorize(bars["contract"])[0]
    facts = {"lacking": lacking, "contract_changes": int((np.diff(contract) != 0).sum())}
    if rolls is None:
        return facts | {"registered": 0, "within_bars": 0, "applied": 0}
    rows = np.searchsorted(nanoseconds(bars), nanoseconds(rolls, "time"))
    rows = rows[(rows > 0) & (rows < len(bars))]
    segment = bars["segment"].to_numpy()
    applied = (contract[rows] != contract[rows - 1]) & (segment[rows] != segment[rows - 1])
    return facts | {"registered": len(rolls), "within_bars": len(rows), "applied": int(applied.sum())}


def _windows(segment: np.ndarray) -> dict[str, int]:
    """Count the windows of pretraining and scanning, and those that cross the end of a segment."""
    tiled, scanned = pretraining_windows(segment, len(segment)), scan_windows(segment)[0]
    leaving = sum(int(crossing_segments(bar0, segment).sum()) for bar0 in (tiled, scanned))
    return {"pretraining": len(tiled), "scanning": len(scanned), "leaving_a_segment": leaving}


def _lines(bars: pd.DataFrame, facts: dict[str, Any]) -> Iterator[str]:
    first, last = bars["timestamp"].iloc[[0, -1]]
    yield f"{facts['instrument']}  {len(bars):,} bars  {shown_time(first)} to {shown_time(last)} UTC"
    yield _row(HEADINGS)
    for year in facts["years"]:
        yield _row(_cells(str(year["year"]), year))
    yield _row(_cells("all", facts["total"]))
    total = facts["total"]
    by_session = total["missing_by_session"]
    most = max(by_session, key=by_session.__getitem__, default=None)
    yield (
        f"missing   {total['missing']:,} minutes in {len(by_session):,} sessions; per session: median "
        f"{total['median_missing']:g}, maximum {total['most_missing']:,}{f' ({most})' if most else ''}"
    )
    starts = SegmentStarts(**facts["segments"])
    yield (
        f"segments  {sum(starts):,}: {starts.session:,} begin with a session, {starts.roll:,} at a roll "
        f"inside one, {starts.halt:,} after a halt, {starts.other_gap:,} after another gap of more than "
        f"{MAX_GAP.total_seconds() / 60:g} minutes"
    )
    yield f"rolls     {_rolls_line(facts['rolls'])}"
    windows = facts["windows"]
    yield (
        f"windows   {windows['pretraining']:,} to pretrain on, {windows['scanning']:,} to scan; "
        f"{windows['leaving_a_segment']:,} cross the end of their segment"
    )


def _rolls_line(rolls: dict[str, Any]) -> str:
    if rolls["lacking"]:
        return f"{ADD_ROLLS['why']}. Run: {ADD_ROLLS['command']}"
    return (
        f"{rolls['registered']:,} registered, {rolls['within_bars']:,} of them between the first bar and the "
        f"last, {rolls['applied']:,} applied; the contract changes {rolls['contract_changes']:,} times"
    )


def _cells(name: str, counts: dict[str, Any]) -> tuple[str, ...]:
    present = counts["sessions"] - counts["without_bars"]
    kept_cells = (
        f"{counts[f'{pause}_kept']:,} of {counts[pause]:,} kept"
        for pause in ("halts", "early_closes", "holidays")
    )
    minute_cells = (f"{counts[column]:,}" for column in ("minutes", "missing", "outside"))
    return (name, f"{present:,} of {counts['sessions']:,}", *minute_cells, *kept_cells)


def _row(cells: tuple[str, ...]) -> str:
    return f"{cells[0]:<6}{cells[1]:>14}" + "".join(
        f"{cell:>{width}}" for cell, width in zip(cells[2:], WIDTHS, strict=True)
    )
