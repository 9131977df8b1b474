"""Schedules in New York time, in which the sessions close."""

from zoneinfo import ZoneInfo

import dagster as dg

from moola_pipeline.automation.jobs import predict_job, train_job
from moola_pipeline.automation.requests import marks_request, retraining_request
from moola_pipeline.bars.sessions import NEW_YORK, session_schedule

AFTER_CLOSE = "15 17 * * 1-5"
"""Sessions close at 17:00 or earlier; the 15 minutes are for the export."""
ON_SATURDAYS = "0 8 * * 6"


@dg.schedule(
    cron_schedule=AFTER_CLOSE,
    job=predict_job,
    execution_timezone=NEW_YORK,
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Marks expansions in new bars with the champion after each session close. Does not train.",
)
def daily_predictions(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """A run that marks the session that has closed, unless its marks are up to date."""
    session = context.scheduled_execution_time.astimezone(ZoneInfo(NEW_YORK)).date()
    if session_schedule(session, session).empty:
        return dg.SkipReason(f"{session} has no session: the exchange is closed.")
    return marks_request(context.instance, run_key=f"session {session}")


@dg.schedule(
    cron_schedule=ON_SATURDAYS,
    job=train_job,
    execution_timezone=NEW_YORK,
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Retrains if training bars or training labels have changed. Builds only stale assets.",
)
def weekly_retrain(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """A run that retrains if training bars or training labels have changed."""
    week = context.scheduled_execution_time.astimezone(ZoneInfo(NEW_YORK)).date()
    return retraining_request(context.instance, run_key=f"week to {week}")
