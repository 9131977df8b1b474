"""Schedules in New York time: predictions after a session close, and retraining."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import dagster as dg
import pandas as pd
import pytest
from dagster._utils.schedules import schedule_execution_time_iterator

from moola_pipeline.automation import requests
from moola_pipeline.automation.schedules import AFTER_CLOSE, daily_predictions, weekly_retrain
from moola_pipeline.bars.manifest import add_bars
from moola_pipeline.bars.sessions import NEW_YORK, session_schedule
from moola_pipeline.bars.store import registered_store
from moola_pipeline.labels.chosen_splits import write_split_choice
from moola_pipeline.labels.splits import SplitSettings
from moola_pipeline.staleness import fingerprints
from moola_pipeline.storage.home import Home
from moola_pipeline_tests.automation.answers import requested, skipped
from moola_pipeline_tests.homes import LABELS, LATER_BARS, instance_of, moola
from moola_pipeline_tests.staleness.edits import code, edited

TUESDAY, SATURDAY = datetime(2025, 7, 1, 17, 15), datetime(2025, 7, 5, 8, 0)


def tick(
    schedule: dg.ScheduleDefinition, instance: dg.DagsterInstance, at: datetime
) -> dg.RunRequest | dg.SkipReason:
    """The result of a schedule at a time in New York."""
    moment = at.replace(tzinfo=ZoneInfo(NEW_YORK)).astimezone(UTC)
    context = dg.build_schedule_context(instance, scheduled_execution_time=moment)
    result = schedule(context)
    assert isinstance(result, (dg.RunRequest, dg.SkipReason))
    return result


def due(first: str, days: int) -> list[str]:
    """Times of daily_predictions from a day on, UTC."""
    start = datetime.fromisoformat(first).replace(tzinfo=UTC)
    moments = schedule_execution_time_iterator(start.timestamp(), AFTER_CLOSE, NEW_YORK)
    times = [next(moments).astimezone(UTC) for _ in range(days)]
    return [f"{moment:%m-%d %H:%M}" for moment in times]


def test_the_utc_hour_follows_new_york_daylight_saving_time():
    assert daily_predictions.execution_timezone == weekly_retrain.execution_timezone == NEW_YORK
    assert due("2025-03-07", 3) == ["03-07 22:15", "03-10 21:15", "03-11 21:15"]
    assert due("2025-10-31", 3) == ["10-31 21:15", "11-03 22:15", "11-04 22:15"]


def test_every_session_of_two_years_has_closed_when_its_predictions_are_due():
    sessions = session_schedule(datetime(2024, 1, 1).date(), datetime(2025, 12, 31).date())
    local = pd.DatetimeIndex(sessions["session"]) + pd.Timedelta(hours=17, minutes=15)
    moments = local.tz_localize(NEW_YORK)
    assert (moments > pd.DatetimeIndex(sessions["closed_at"])).all()
    assert set(local.dayofweek) == set(range(5))


@pytest.mark.parametrize("day", ["2025-04-18", "2025-12-25", "2024-03-29", "2025-01-01"])
def test_on_a_holiday_nothing_is_due(day: str, isolated_home: Path):
    with instance_of(Home(isolated_home)) as instance:
        reason = skipped(tick(daily_predictions, instance, datetime.fromisoformat(f"{day} 17:15")))
    assert reason == f"{day} has no session: the exchange is closed."


@pytest.mark.parametrize("day", ["2025-03-07", "2025-03-10", "2025-10-31", "2025-11-03", "2025-07-03"])
def test_the_session_is_that_of_new_yorks_date(day: str, registered_copy: Home, registered_files: Path):
    add_bars(registered_store(registered_copy), registered_files / LATER_BARS)
    with instance_of(registered_copy) as instance:
        request = requested(tick(daily_predictions, instance, datetime.fromisoformat(f"{day} 17:15")))
    assert request.run_key == f"session {day}"


def test_up_to_date_predictions_start_no_run(registered_copy: Home):
    with instance_of(registered_copy) as instance:
        reason = skipped(tick(daily_predictions, instance, TUESDAY))
    assert reason == "latest_expansions is up to date: bars, labels and champion have not changed."


def test_new_bars_start_a_run_with_the_reason(registered_copy: Home, registered_files: Path):
    add_bars(registered_store(registered_copy), registered_files / LATER_BARS)
    with instance_of(registered_copy) as instance:
        request = requested(tick(daily_predictions, instance, TUESDAY))
    assert request.tags[requests.WHY].startswith("bars were added: 1,380 rows after the test period")
    assert request.run_config["resources"]["pipeline"]["config"]["profile"] == "smoke"


def test_a_new_champion_starts_a_run_on_the_same_bars(registered_copy: Home, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("moola_pipeline.resources.pipeline.champion_version", lambda home, name: "7")
    with instance_of(registered_copy) as instance:
        request = requested(tick(daily_predictions, instance, TUESDAY))
    assert request.tags[requests.WHY] == "champion: version 1 -> 7"


@pytest.fixture
def relabel(registered_files: Path, tmp_path: Path) -> Callable[[Home, int], None]:
    """Remove the label at a position from a home."""

    def without_label(home: Home, position: int) -> None:
        labels = pd.read_csv(registered_files / LABELS)
        removed = labels["window_id"].iloc[position]
        labels.loc[labels["window_id"] != removed].to_csv(tmp_path / LABELS, index=False)
        registered_store(home).labels.rename(tmp_path / "before")
        moola(home, "labels", "add", tmp_path / LABELS)

    return without_label


def test_a_new_day_of_bars_retrains_nothing(registered_copy: Home, registered_files: Path):
    add_bars(registered_store(registered_copy), registered_files / LATER_BARS)
    with instance_of(registered_copy) as instance:
        reason = skipped(tick(weekly_retrain, instance, SATURDAY))
    assert reason == (
        "Training rows and labels have not changed. Splits are fixed, to 2024-12-31, 2025-03-31, 2025-06-30: "
        'later labels never reach training. Run "moola run --rolling 3" for splits that follow the labels.'
    )


def test_labels_of_the_test_months_alone_retrain_nothing(
    registered_copy: Home, relabel: Callable[[Home, int], None]
):
    relabel(registered_copy, -1)
    with instance_of(registered_copy) as instance:
        assert skipped(tick(weekly_retrain, instance, SATURDAY)).startswith(
            "Training rows and labels have not"
        )


def test_changed_training_labels_retrain_what_depends_on_them(
    registered_copy: Home, relabel: Callable[[Home, int], None]
):
    relabel(registered_copy, 0)
    with instance_of(registered_copy) as instance:
        request = requested(tick(weekly_retrain, instance, SATURDAY))
    assert request.run_key == "week to 2025-07-05"
    assert request.tags[requests.WHY] == "changed: labels.train"
    chosen = {key.to_user_string() for key in request.asset_selection or ()}
    assert {"finetuned_classifier", "bootstrap_ci_report", "registered_model"} <= chosen
    assert not {"raw_nq_bars", "relativity_features", "pretrained_encoder"} & chosen


def choose_rolling(home: Home, months: int) -> None:
    choice = SplitSettings(rule="rolling", rolling_test_months=months, rolling_validation_months=months)
    write_split_choice(registered_store(home).root, choice)


def test_labels_of_a_new_month_move_rolling_splits_and_retrain(
    registered_copy: Home, registered_files: Path, tmp_path: Path
):
    choose_rolling(registered_copy, 1)
    with instance_of(registered_copy) as instance:
        reason = skipped(tick(weekly_retrain, instance, SATURDAY))
    assert reason.startswith("Training rows and labels have not changed. Splits are rolling: the newest 1 ")
    add_bars(registered_store(registered_copy), registered_files / LATER_BARS)
    july = pd.DataFrame(
        {
            "window_id": ["july 1", "july 2"],
            "window_start": ["2025-07-01T14:00:00Z", "2025-07-01T18:00:00Z"],
            "label": ["consolidation", "retracement"],
            "expansion_start": [40, 50],
            "expansion_end": [45, 56],
        }
    )
    labels = pd.read_csv(registered_files / LABELS)
    pd.concat([labels, july]).to_csv(tmp_path / LABELS, index=False)
    registered_store(registered_copy).labels.rename(tmp_path / "before")
    moola(registered_copy, "labels", "add", tmp_path / LABELS)
    with instance_of(registered_copy) as instance:
        request = requested(tick(weekly_retrain, instance, SATURDAY))
    assert "labels.train" in request.tags[requests.WHY]
    assert request.asset_selection is not None
    assert dg.AssetKey("pretrained_encoder") in request.asset_selection


def test_changed_code_is_no_reason_to_retrain(registered_copy: Home, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fingerprints, "package_code", lambda: edited("training/pretrain.py", code))
    with instance_of(registered_copy) as instance:
        assert skipped(tick(weekly_retrain, instance, SATURDAY)).startswith(
            "Training rows and labels have not"
        )


def test_the_first_training_is_never_automatic(registered_copy: Home):
    for database in registered_copy.dagster.rglob("*.db"):
        database.unlink()
    with instance_of(registered_copy) as instance:
        reason = skipped(tick(weekly_retrain, instance, SATURDAY))
    assert reason == 'No model was trained on this market and profile yet. Run "moola run" once.'


def test_too_few_labeled_months_for_rolling_splits_are_the_reason(registered_copy: Home):
    choose_rolling(registered_copy, 9)
    with instance_of(registered_copy) as instance:
        assert "A rolling split must leave a labeled month" in skipped(
            tick(weekly_retrain, instance, SATURDAY)
        )


def test_schedules_are_off_by_default():
    for schedule in (daily_predictions, weekly_retrain):
        assert schedule.default_status is dg.DefaultScheduleStatus.STOPPED
