"""The freshness policy of bars and predictions."""

from datetime import date, timedelta

import dagster as dg

from moola_pipeline.automation.jobs import FRESH_ASSETS, FRESHNESS, LATE_AFTER
from moola_pipeline.bars.sessions import session_schedule
from moola_pipeline.definitions import defs


def test_only_bars_and_predictions_have_a_freshness_policy():
    specs = {spec.key.to_user_string(): spec for spec in defs.resolve_all_asset_specs()}
    late = {name for name, spec in specs.items() if spec.freshness_policy is not None}
    assert late == set(FRESH_ASSETS) == {"raw_nq_bars", "latest_expansions"}
    assert specs["raw_nq_bars"].freshness_policy == FRESHNESS


def test_bars_added_after_each_close_are_never_late_in_five_years():
    closed = session_schedule(date(2020, 9, 1), date(2025, 6, 30))["closed_at"]
    longest = closed.diff().max().to_pytimedelta()
    assert timedelta(days=4) <= longest < LATE_AFTER


def test_definitions_hold_all_jobs_sensors_and_schedules():
    jobs = defs.resolve_all_job_defs()
    assert {"train_job", "predict_job"} <= {job.name for job in jobs}
    assert {sensor.name for sensor in defs.sensors or ()} == {"new_bars_sensor", "failure_log"}
    schedules = [it for it in defs.schedules or () if isinstance(it, dg.ScheduleDefinition)]
    assert {schedule.name for schedule in schedules} == {"daily_predictions", "weekly_retrain"}
