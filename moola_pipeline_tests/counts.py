"""Counts of the test suites, and the page docs/how_it_is_tested.md."""

import json
import os
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from moola_pipeline.storage.atomic_write import atomic_write_bytes, atomic_write_json
from moola_pipeline.storage.home import PROJECT_ROOT

FOLDER = PROJECT_ROOT / ".counts"
PAGE = PROJECT_ROOT / "docs" / "how_it_is_tested.md"


def record(suite: str, *, seconds: float, **counts: int) -> None:
    """Save the counts of a suite's last run; a later run replaces them.

    Args:
        suite: Short description.
        seconds: Duration.
        counts: Numbers by name.
    """
    name = "".join(sign if sign.isalnum() else "_" for sign in suite)
    day = f"{datetime.now(UTC):%Y-%m-%d}"
    facts = {
        "suite": suite,
        "counts": counts,
        "seconds": round(seconds, 1),
        "day": day,
        "cores": os.cpu_count(),
    }
    atomic_write_json(FOLDER / f"{name}.json", facts)


def recorded() -> list[dict[str, Any]]:
    """The saved counts of all suites, sorted by name."""
    return [json.loads(path.read_bytes()) for path in sorted(FOLDER.glob("*.json"))]


def table(suites: list[dict[str, Any]]) -> str:
    """The counts as a Markdown table; suites named `suite: part` are summed to one row."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for suite in suites:
        groups.setdefault(suite["suite"].partition(":")[0], []).append(suite)
    rows = []
    for name, parts in groups.items():
        counts: Counter[str] = Counter()
        for part in parts:
            counts.update(part["counts"])
        kinds = [f"{len(parts)} kinds"] if len(parts) > 1 else []
        counted = ", ".join(kinds + [f"{number:,} {what}" for what, number in counts.items()])
        seconds, day = sum(part["seconds"] for part in parts), min(part["day"] for part in parts)
        rows.append(f"| {name} | {counted} | {seconds:,.1f} | {day} |")
    return "\n".join(["| suite | counted | seconds | day |", "|---|---|---|---|", *rows]) + "\n"


COMMANDS = {
    "crashes --full": "kills runs at every crash point by SIGKILL, SIGTERM and an exception, and 50 at "
    "random times; after one more run, each home must have the outputs of an uninterrupted run",
    "fuzzing --cases 10000": "damages the input files of every reader; options `--minutes`, `--reader`, "
    "`--seed`",
    "broken_guards": "breaks one guard at a time in a copy of the code; its tests must fail",
    "mutation --count 400": "changes one operator, number or condition at a time in the modules that results "
    "depend on; their tests must fail",
    "month": "simulates a month of use, from the first champion to moving the home",
    "month.installation": "plays a month of `moola ui` and `moola label` under a moved clock, with a full "
    "disk, kills during runs and three days of sleep; options `--days`, `--home`",
    "gpu": "runs the tests and measurements that need a GPU",
    "freeze HOME OTHER": "compares every tensor, table and number of two homes, independent of names",
    "staleness.edits": "prints which code edits make which assets stale",
    "staleness.witness": "records the files that each asset executes and compares them with its dependencies",
    "walks": "prints the rooms of the package that a file and a label pass through",
    "labels.planted_label_faults": "plants faults in label sets, and prints how many are found and how many "
    "sound sets raise an alarm",
    "portability": "lists calls that macOS or Windows lack, and pinned packages without a wheel for them; "
    "needs the internet",
    "package_size": "counts lines, modules, functions with many parameters, and import cycles",
}
"""Commands that `.ci/run` runs in part or not at all."""


def write_page(target: Path = PAGE) -> None:
    """Write the page from the saved counts."""
    commands = [
        f"| `python -m moola_pipeline_tests.{command}` | {text} |" for command, text in COMMANDS.items()
    ]
    parts = [
        "# How it is tested",
        "",
        "Written by `python -m moola_pipeline_tests.counts` from the counts of each suite's last run. "
        "`.ci/run` runs `make test` and the slow tests. Other suites have a command each:",
        "",
        "| command | what it does |",
        "|---|---|",
        *commands,
        "",
        table(recorded()),
    ]
    atomic_write_bytes(target, "\n".join(parts).encode())


if __name__ == "__main__":
    write_page()
