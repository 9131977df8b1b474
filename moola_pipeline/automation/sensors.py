"""What watches: the inbox and the bars, and the runs that fail."""

from collections.abc import Iterator

import dagster as dg

from moola_pipeline.automation.failures import failure_lines, log_failures
from moola_pipeline.automation.jobs import predict_job
from moola_pipeline.automation.requests import prediction_request
from moola_pipeline.bars.inbox import SETTLE_SECONDS, take_inbox
from moola_pipeline.bars.store import BarStore
from moola_pipeline.storage.home import Home

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
    store = BarStore(Home.resolve().data, simulated=False)
    for file in take_inbox(store, SETTLE_SECONDS, TAKING_SECONDS):
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
