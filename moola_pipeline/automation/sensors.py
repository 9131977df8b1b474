"""Sensors: one for the inbox and new bars, one for failed runs."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg

from moola_pipeline.automation.jobs import predict_job
from moola_pipeline.automation.requests import prediction_request
from moola_pipeline.bars.inbox import SETTLE_SECONDS, add_inbox_files
from moola_pipeline.bars.store import registered_store
from moola_pipeline.instrument_data import labels_follow_bars
from moola_pipeline.storage.atomic_write import atomic_write_bytes, locked
from moola_pipeline.storage.home import Home

KEPT_LINES = 1000


def failure_file(home: Home) -> Path:
    """The log of failed runs."""
    return home.data / "failures.log"


def failure_lines(run: dg.DagsterRun, message: str, steps: list[dg.DagsterEvent]) -> list[str]:
    """One line per failed step, or one line for a run that failed outside any step."""
    causes = [(event.step_key or "", _cause(event)) for event in steps]
    return [
        " ".join(f"{run.job_name} {run.run_id} {step}: {why}".split())
        for step, why in causes or [("outside any step", message)]
    ]


def log_failures(home: Home, lines: list[str]) -> None:
    """Append lines with a UTC time to the home's log of failed runs; drop the oldest lines."""
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


CHECK_SECONDS = 60
INBOX_SECONDS = 20.0
"""Limit for the inbox; a file in progress is still finished. Dagster allows a sensor one minute."""


@dg.sensor(
    job=predict_job,
    minimum_interval_seconds=CHECK_SECONDS,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="Adds files from data/inbox and marks new bars with the champion. Does not train.",
)
def new_bars_sensor(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """Add files from the inbox; request one run of predict_job per change of the registered bars."""
    messages = list(_take_inbox(context))
    request = prediction_request(context.instance)
    if isinstance(request, dg.SkipReason):
        return dg.SkipReason(" ".join([*messages, request.skip_message or ""]))
    return request


def _take_inbox(context: dg.SensorEvaluationContext) -> Iterator[str]:
    """Take the inbox; log and yield one line per file."""
    files = add_inbox_files(Home.resolve(), SETTLE_SECONDS, INBOX_SECONDS)
    if any(file.added for file in files):
        labels_follow_bars(registered_store(Home.resolve()))
    for file in files:
        log = context.log.warning if file.outcome == "refused" else context.log.info
        log(file.shown)
        yield f"{file.shown}."


@dg.run_failure_sensor(
    name="failure_log",
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Writes each failed run, its step and its reason to data/failures.log.",
)
def failure_log(context: dg.RunFailureSensorContext) -> None:
    """Log the failed steps and their errors, in the home and in Dagster."""
    run, message = context.dagster_run, context.failure_event.message or "no reason given"
    lines = failure_lines(run, message, list(context.get_step_failure_events()))
    log_failures(Home.resolve(), lines)
    for line in lines:
        context.log.error(line)
