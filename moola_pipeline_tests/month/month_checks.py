"""What must hold in a home after a month in use."""

import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import pandas as pd

from moola_pipeline.bars.manifest import add_bars, read_bars
from moola_pipeline.bars.schema import nanoseconds
from moola_pipeline.bars.store import registered_store
from moola_pipeline.labels.registry import open_judgments
from moola_pipeline.storage.atomic_write import files_below
from moola_pipeline.storage.home import Home
from moola_pipeline_tests.homes import run_moola
from moola_pipeline_tests.month.moves import require

if TYPE_CHECKING:
    from moola_pipeline_tests.month.installation import Installation

MOST_GROWTH = 1.2
"""Memory and open files of the last third of days over those of the first third, by their medians."""
FEWEST_DAYS = 9
"""Days for a judgment: one day's memory says little, it depends on what runs at the moment."""


def intact(month: "Installation") -> str:
    """Every file of the home has its checksum."""
    return run_moola(month.home.root, "verify").splitlines()[-1]


def same_bars(month: "Installation") -> str:
    """The registered bars equal those of one registration of all files."""
    with tempfile.TemporaryDirectory() as folder:
        direct = registered_store(Home(Path(folder)))
        for name in month.arrived:
            add_bars(direct, month.files / name)
        expected, bars = read_bars(direct), read_bars(registered_store(month.home))
    require(bars.equals(expected), f"{len(expected):,} bars must be registered, got {len(bars):,} or others")
    return f"{len(bars):,} bars of {len(month.arrived)} files"


def kept_labels(month: "Installation") -> str:
    """Every window of the label files and every judged window is in the journal."""
    store = registered_store(month.home)
    journal = open_judgments(store.labels, nanoseconds(read_bars(store))).journal
    known = {judgment.window_id for judgment in journal.judgments}
    sent = {name for file in month.added for name in pd.read_csv(month.files / file)["window_id"]}
    lost = {*sent, *month.judge.saved} - known
    require(not lost, f"all labels must be in the journal, but {len(lost)} are not: {sorted(lost)[:3]}")
    return f"{len(sent)} windows of {len(month.added)} files, {len(month.judge.saved)} judged on the page"


def no_run_left(month: "Installation") -> str:
    """No run is queued, started or cancelling."""
    statuses = Counter(status.lower() for _, status in month.ui.runs())
    words = ", ".join(f"{count} {status}" for status, count in statuses.items())
    require(not month.ui.is_busy(), f"no run must be left, got {words}")
    return words


def all_marked(month: "Installation") -> str:
    """Every session day was marked: on the day, or on one that is named."""
    never = [session for session, on in month.marked.items() if on is None]
    require(not never, f"every session day must be marked, but these are not: {', '.join(map(str, never))}")
    late = [f"{session} on {on}" for session, on in month.marked.items() if on != session]
    punctual = len(month.marked) - len(late)
    return f"{punctual} of {len(month.marked)} on the day; later: {', '.join(late) or 'none'}"


def reaches_last_day(month: "Installation") -> str:
    """The last marks reach the last session day."""
    marked, last = month.ui.marked_to(), max(month.marked)
    require(marked.endswith(f"to {last}"), f"the marks must reach {last}, got {marked}")
    return marked


def flat(month: "Installation") -> str:
    """Memory and open files do not grow; not judged after few days."""
    require(bool(month.used), "a day must have ended well to be measured, but none did")
    judged = len(month.used) >= FEWEST_DAYS
    third, words = max(len(month.used) // 3, 1), []
    for place, name in enumerate(("MB resident", "open files")):
        numbers = [day[place] for day in month.used]
        first, last = median(numbers[:third]), median(numbers[-third:])
        words.append(f"{first:.0f} to {last:.0f} {name}")
        require(
            last <= MOST_GROWTH * first or not judged, f"{name} must stay flat, but went from {words[-1]}"
        )
    return ", ".join(words) + ("" if judged else f"; not judged: fewer than {FEWEST_DAYS} days")


def no_traceback(month: "Installation") -> str:
    """Both commands end without a traceback."""
    said = month.ui.stop() + month.labeler.stop()
    require("Traceback" not in said, f"no traceback must be shown, got: {said}")
    return " ".join(said.split()) or "nothing was said"


CHECKS: dict[str, Callable[["Installation"], str]] = {
    "no run is left": no_run_left,
    "the marks reach the last day": reaches_last_day,
    "every session day was marked": all_marked,
    "memory and open files are flat": flat,
    "both commands end without a traceback": no_traceback,
    "moola verify finds every file intact": intact,
    "the bars are those of one registration": same_bars,
    "every label is in the journal": kept_labels,
}
"""In order: those that ask `moola ui` first."""


def sizes(home: Home) -> dict[str, int]:
    """Bytes of Dagster's and MLflow's databases, and of Dagster's folder."""
    places = {"Dagster's databases": home.dagster, "MLflow's": home.tracking}
    found = {name: _bytes(folder, "*.db*") for name, folder in places.items()}
    return {**found, ".dagster": _bytes(home.dagster, "*")}


def growth(before: dict[str, int], after: dict[str, int]) -> str:
    """Sizes before and after."""
    return ", ".join(f"{name} {before[name] / 1e6:.1f} to {after[name] / 1e6:.1f} MB" for name in before)


def _bytes(folder: Path, pattern: str) -> int:
    return sum(path.stat().st_size for path in files_below(folder, pattern))
