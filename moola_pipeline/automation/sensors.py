"""What watches: the inbox and the bars, and the runs that fail."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg

from moola_pipeline.automation.jobs import predict_job
from moola_pipeline.automation.requests import prediction_request
from moola_pipeline.bars.inbox import SETTLE_SECONDS, take_inbox
from moola_pipeline.storage.atomic_write import atomic_write_bytes, locked
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
        atomic_write_bytes(path, ("\n".join([*before, *stamped][-KEPT_LINES:]) + "\n").encode())


def _cause(event: dg.DagsterEvent) -> str:
    error = event.step_failure_data.error
    if error is None:
        return event.message or "no reason given"
    while error.cause is not None:
        error = error.cause
    return error.message.strip()


LOOK_SECONDS = 60
TAKING_SECONDS = 20.0
"""Dagster gives an evaluation a minute; the file at work when this is over is still finished."""


@dg.sensor(
    job=predict_job,
    minimum_interval_seconds=LOOK_SECONDS,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="Adds what lies in data/inbox, and marks new bars with the champion; trains nothing.",
)
def new_bars_sensor(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """Add what lies in the inbox; one run of predict_job for each change of the registered bars."""
    said = list(_take_inbox(context))
    found = prediction_request(context.instance)
    if isinstance(found, dg.SkipReason):
        return dg.SkipReason(" ".join([*said, found.skip_message or ""]))
    return found


def _take_inbox(context: dg.SensorEvaluationContext) -> Iterator[str]:
    """What became of each file, to be logged and shown."""
    for file in take_inbox(Home.resolve(), SETTLE_SECONDS, TAKING_SECONDS):
        log = context.log.warning if file.outcome == "refused" else context.log.info
        log(file.shown)
        yield f"{file.shown}."


@dg.run_failure_sensor(
    name="failure_log",
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Writes each failed run, its step and its reason to data/failures.log.",
)
def failure_log(context: dg.RunFailureSensorContext) -> None:
    """Log what failed and where, in the home and in Dagster."""
    run, message = context.dagster_run, context.failure_event.message or "no reason given"
    lines = failure_lines(run, message, list(context.get_step_failure_events()))
    log_failures(Home.resolve(), lines)
    for line in lines:
        context.log.error(line)
