"""What the suites count about themselves, and the page that shows it."""

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
    """Keep the counts of one suite's last run; a later one replaces them.

    Args:
        suite: What it does, in a few words.
        seconds: What it took.
        counts: By what was counted.
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
    """The counts of every suite that has run here, by name."""
    return [json.loads(path.read_bytes()) for path in sorted(FOLDER.glob("*.json"))]


def table(suites: list[dict[str, Any]]) -> str:
    """The counts as rows of a page; suites named `one: part` are summed to one row."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for one in suites:
        groups.setdefault(one["suite"].partition(":")[0], []).append(one)
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
    "crashes --full": "kills runs at every named point by SIGKILL, SIGTERM and an exception, and 50 at "
    "random times; each must come, by one more run, to what an undisturbed run makes",
    "fuzzing --cases 10000": "damages the files that every reader reads; `--minutes`, `--reader` and "
    "`--seed` go further",
    "broken_guards": "breaks one guard at a time in a copy of the code: the suite that must notice fails",
    "month": "plays a month of use, from the first champion to a home that moves",
    "gpu": "proves and measures what only a GPU can show",
    "freeze HOME OTHER": "compares every tensor, table and number that two homes hold, whatever they are "
    "named",
    "staleness.edits": "prints which edits of the code make which assets stale, and which do not",
    "staleness.witness": "records which files each asset executes, and holds them against what it depends on",
    "walks": "prints which rooms of the package a file and a label pass through",
    "package_size": "counts lines, modules, functions with many parameters, and circles of imports",
}
"""What `.ci/run` runs a part of, or nothing, and one command runs whole."""


def write_page(target: Path = PAGE) -> None:
    """Write the page anew from what the suites have recorded."""
    commands = [f"| `python -m moola_pipeline_tests.{one}` | {does} |" for one, does in COMMANDS.items()]
    parts = [
        "# How it is tested",
        "",
        "Written by the suites, from what each counted when it ran last: "
        "`python -m moola_pipeline_tests.counts`. `.ci/run` runs `make test` and the slow proofs; "
        "these by one command each:",
        "",
        "| command | does |",
        "|---|---|",
        *commands,
        "",
        table(recorded()),
    ]
    atomic_write_bytes(target, "\n".join(parts).encode())


if __name__ == "__main__":
    write_page()
