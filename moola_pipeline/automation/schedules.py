"""What is due by the clock of New York, where the sessions close."""

from zoneinfo import ZoneInfo

import dagster as dg

from moola_pipeline.automation.jobs import predict_job, train_job
from moola_pipeline.automation.requests import marks_request, retraining_request
from moola_pipeline.bars.sessions import NEW_YORK, session_schedule

AFTER_CLOSE = "15 17 * * 1-5"
"""A session closes at 17:00 at the latest; the quarter of an hour is for the export."""
ON_SATURDAYS = "0 8 * * 6"


@dg.schedule(
    cron_schedule=AFTER_CLOSE,
    job=predict_job,
    execution_timezone=NEW_YORK,
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="After the close of each session: new bars and the champion's marks; trains nothing.",
)
def daily_predictions(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """The marks of the session that has closed, unless they are made already."""
    session = context.scheduled_execution_time.astimezone(ZoneInfo(NEW_YORK)).date()
    if session_schedule(session, session).empty:
        return dg.SkipReason(f"{session} is no session: the exchange is shut.")
    return marks_request(context.instance, run_key=f"session {session}")


@dg.schedule(
    cron_schedule=ON_SATURDAYS,
    job=train_job,
    execution_timezone=NEW_YORK,
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Trains again if rows or labels that training may see have changed; makes what is stale.",
)
def weekly_retrain(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """A training on what is new to it; none on bars or labels it may not see."""
    week = context.scheduled_execution_time.astimezone(ZoneInfo(NEW_YORK)).date()
    return retraining_request(context.instance, run_key=f"week to {week}")
