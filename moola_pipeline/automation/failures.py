"""Which runs failed, where and why: one line each, in a file of the home."""

from datetime import UTC, datetime
from pathlib import Path

import dagster as dg

from moola_pipeline.storage.atomic_write import locked, publish_bytes
from moola_pipeline.storage.home import Home

KEPT_LINES = 1000


def failure_file(home: Home) -> Path:
    """The log of failed runs."""
    return home.data / "failures.log"


def failure_lines(run: dg.DagsterRun, message: str, steps: list[dg.DagsterEvent]) -> list[str]:
    """What failed, and where: a line for each step, or one for a run that ended outside of any."""
    found = [(event.step_key or "", _cause(event)) for event in steps]
    return [
        " ".join(f"{run.job_name} {run.run_id} {step}: {why}".split())
        for step, why in found or [("outside of any step", message)]
    ]


def log_failures(home: Home, lines: list[str]) -> None:
    """Append lines to the home's log of failed runs, with the time in UTC; the oldest leave it."""
    path, when = failure_file(home), datetime.now(UTC)
    with locked(path):
        before = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        stamped = [f"{when:%Y-%m-%dT%H:%M:%SZ} {line}" for line in lines]
        publish_bytes(path, ("\n".join([*before, *stamped][-KEPT_LINES:]) + "\n").encode())


def _cause(event: dg.DagsterEvent) -> str:
    error = event.step_failure_data.error
    if error is None:
        return event.message or "no reason given"
    while error.cause is not None:
        error = error.cause
    return error.message.strip()
