"""What the suites count about themselves, and the page that shows it."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from moola_pipeline.home import PROJECT_ROOT
from moola_pipeline.publish import publish_bytes, publish_json

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
    publish_json(FOLDER / f"{name}.json", facts)


def recorded() -> list[dict[str, Any]]:
    """The counts of every suite that has run here, by name."""
    return [json.loads(path.read_bytes()) for path in sorted(FOLDER.glob("*.json"))]


def table(suites: list[dict[str, Any]]) -> str:
    """The counts as rows of a page."""
    rows = [
        f"| {one['suite']} | {', '.join(f'{number:,} {name}' for name, number in one['counts'].items())} "
        f"| {one['seconds']:,} | {one['day']} |"
        for one in suites
    ]
    return "\n".join(["| suite | counted | seconds | day |", "|---|---|---|---|", *rows]) + "\n"


def write_page(target: Path = PAGE) -> None:
    """Write the page anew from what the suites have recorded."""
    head = (
        "# How it is tested\n\nWritten by the suites themselves: `python -m moola_pipeline_tests.counts`.\n\n"
    )
    publish_bytes(target, (head + table(recorded())).encode())


if __name__ == "__main__":
    write_page()
