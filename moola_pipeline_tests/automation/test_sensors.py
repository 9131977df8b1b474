"""The sensors: one prediction run per change of the bars, no training, and the failure log."""

import shutil
from pathlib import Path

import dagster as dg
import pytest

from moola_pipeline.automation import sensors
from moola_pipeline.automation.jobs import PREDICTING, predict_job
from moola_pipeline.automation.sensors import (
    KEPT_LINES,
    failure_file,
    failure_log,
    log_failures,
    new_bars_sensor,
)
from moola_pipeline.bars.manifest import add_bars
from moola_pipeline.bars.store import read_manifest, registered_store
from moola_pipeline.definitions import defs
from moola_pipeline.errors import BadInput, IntegrityError
from moola_pipeline.storage.home import Home
from moola_pipeline_tests.automation.answers import requested, skipped
from moola_pipeline_tests.bars.examples import made_up_bars, wall_clock, write_csv
from moola_pipeline_tests.homes import BARS, LATER_BARS, instance_of

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@pytest.fixture(autouse=True)
def without_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sensors, "SETTLE_SECONDS", 0.0)


def drop(home: Home, file: Path) -> Path:
    inbox = home.data / "inbox"
    inbox.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(file, inbox))


def evaluate(instance: dg.DagsterInstance) -> dg.RunRequest | dg.SkipReason:
    with dg.build_sensor_context(instance, sensor_name="new_bars_sensor", definitions=defs) as context:
        result = new_bars_sensor(context)
    assert isinstance(result, (dg.RunRequest, dg.SkipReason))
    return result


def carry_out(instance: dg.DagsterInstance, request: dg.RunRequest) -> list[str]:
    """Execute the requested run; return the assets that it built."""
    job = defs.resolve_job_def(predict_job.name)
    result = job.execute_in_process(instance=instance, run_config={**request.run_config, **QUIET})
    return [event.asset_key.to_user_string() for event in result.get_asset_materialization_events()]  # pyright: ignore


def registered(home: Home) -> list[str]:
    return [entry.file for entry in read_manifest(registered_store(home)).files]


def test_a_new_day_in_the_inbox_is_added_and_marked_once_and_trains_nothing(
    registered_copy: Home, registered_files: Path
):
    with instance_of(registered_copy) as instance:
        assert skipped(evaluate(instance)).startswith("No new bars since latest_expansions was built, 20")
        drop(registered_copy, registered_files / LATER_BARS)
        request = requested(evaluate(instance))
        assert registered(registered_copy) == [BARS, LATER_BARS]
        assert requested(evaluate(instance)).run_key == request.run_key  # Dagster starts one run per key
        assert carry_out(instance, request) == list(PREDICTING)
        assert skipped(evaluate(instance)).startswith("No new bars since")
        drop(registered_copy, registered_files / LATER_BARS)
        assert skipped(evaluate(instance)).startswith(
            f"{LATER_BARS}: unchanged, 1,380 bars. No new bars since"
        )


def test_the_run_keeps_the_profile_of_the_last_training(registered_copy: Home, registered_files: Path):
    drop(registered_copy, registered_files / LATER_BARS)
    with instance_of(registered_copy) as instance:
        config = requested(evaluate(instance)).run_config["resources"]["pipeline"]["config"]
    assert config == {"profile": "smoke", "market": "registered", "scenario": "none"}


def test_bars_added_by_hand_start_predictions_as_well(registered_copy: Home, registered_files: Path):
    add_bars(registered_store(registered_copy), registered_files / LATER_BARS)
    with instance_of(registered_copy) as instance:
        assert requested(evaluate(instance)).run_key is not None


def test_a_refused_file_starts_nothing_and_is_named_with_its_reason(registered_copy: Home, tmp_path: Path):
    path = write_csv(tmp_path / "nq.csv", wall_clock(made_up_bars(), "America/New_York"))
    drop(registered_copy, path)
    with instance_of(registered_copy) as instance:
        reason = skipped(evaluate(instance))
    assert reason.startswith("nq.csv: refused, ")
    assert "--timezone America/New_York" in reason
    assert (registered_copy.data / "inbox/refused/nq.csv.reason.txt").exists()


def test_two_files_at_once_one_of_them_refused_start_one_run(
    registered_copy: Home, registered_files: Path, tmp_path: Path
):
    drop(registered_copy, write_csv(tmp_path / "a.csv", made_up_bars().head(0)))
    drop(registered_copy, registered_files / LATER_BARS)
    with instance_of(registered_copy) as instance:
        requested(evaluate(instance))
    assert registered(registered_copy) == [BARS, LATER_BARS]
    assert (registered_copy.data / "inbox/refused/a.csv").exists()


def test_a_half_written_file_waits_and_starts_nothing(
    registered_copy: Home, registered_files: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sensors, "SETTLE_SECONDS", 30.0)
    dropped = drop(registered_copy, registered_files / LATER_BARS)
    with instance_of(registered_copy) as instance:
        assert skipped(evaluate(instance)).startswith(f"{LATER_BARS}: waiting, it was written ")
    assert dropped.exists()
    assert registered(registered_copy) == [BARS]


def test_an_empty_home_has_nothing_to_do(isolated_home: Path):
    with instance_of(Home(isolated_home)) as instance:
        assert skipped(evaluate(instance)) == "No bars are registered, and simulated bars never change."


def test_bars_without_labels_wait_for_them(isolated_home: Path, registered_files: Path):
    drop(Home(isolated_home), registered_files / LATER_BARS)
    with instance_of(Home(isolated_home)) as instance:
        reason = skipped(evaluate(instance))
    assert reason.startswith(
        f"{LATER_BARS}: registered, 1,380 bars. Labels must be registered beside the bars"
    )


def test_without_a_champion_no_run_starts(registered_copy: Home, registered_files: Path):
    drop(registered_copy, registered_files / LATER_BARS)
    (registered_copy.tracking / "mlflow.db").unlink()
    with instance_of(registered_copy) as instance:
        reason = skipped(evaluate(instance))
    assert reason.endswith('moola-nq has no champion yet. Run "moola run" once.')


def test_broken_options_or_a_broken_manifest_fail_the_sensor(registered_copy: Home):
    (registered_copy.data / "inbox").mkdir()
    (registered_copy.data / "inbox/options.json").write_text("{")
    with instance_of(registered_copy) as instance:
        with pytest.raises(BadInput, match="options.json must be a JSON object"):
            evaluate(instance)
        (registered_copy.data / "inbox/options.json").unlink()
        registered_store(registered_copy).manifest.write_text("{")
        with pytest.raises(IntegrityError, match="manifest.json must list the registered files"):
            evaluate(instance)


def fail_and_log(home: Home, fault: Exception) -> list[str]:
    @dg.asset
    def faulty() -> None:
        raise fault

    job = dg.define_asset_job("predict_job", selection=[faulty])
    alone = dg.Definitions(assets=[faulty], jobs=[job], executor=dg.in_process_executor)
    with instance_of(home) as instance:
        result = alone.resolve_job_def("predict_job").execute_in_process(
            instance=instance, run_config=QUIET, raise_on_error=False
        )
        [failed] = [event for event in result.all_events if event.is_run_failure]
        context = dg.build_run_status_sensor_context(
            sensor_name="failure_log",
            dagster_event=failed,
            dagster_instance=instance,
            dagster_run=result.dagster_run,
        )
        failure_log(context.for_run_failure())
    assert result.run_id in failure_file(home).read_text()
    return failure_file(home).read_text().replace(result.run_id, "RUN").splitlines()


def test_a_failed_run_is_logged_with_when_where_and_why(isolated_home: Path):
    [line] = fail_and_log(Home(isolated_home), OSError("No space left\non device"))
    when, _, rest = line.partition(" ")
    assert when.endswith("Z")
    assert rest == "predict_job RUN faulty: OSError: No space left on device"


def test_the_log_of_failures_keeps_the_newest(isolated_home: Path):
    log_failures(Home(isolated_home), [f"line {number}" for number in range(KEPT_LINES + 2)])
    log_failures(Home(isolated_home), ["last"])
    lines = failure_file(Home(isolated_home)).read_text().splitlines()
    assert len(lines) == KEPT_LINES
    assert lines[0].endswith(" line 3")
    assert lines[-1].endswith(" last")


def test_only_the_failure_log_is_on_by_default():
    assert new_bars_sensor.default_status is dg.DefaultSensorStatus.STOPPED
    assert failure_log.default_status is dg.DefaultSensorStatus.RUNNING
