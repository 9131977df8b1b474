"""Two runs at once: the second one waits and reports it."""

from pathlib import Path

import dagster as dg
import pytest
import yaml

from moola_pipeline.resources import instance as instances
from moola_pipeline.resources.instance import await_runs
from moola_pipeline.storage.home import PROJECT_ROOT, Home
from moola_pipeline_tests.homes import instance_of


@dg.job
def some_job() -> None:
    """Nothing."""


def test_a_run_that_dagster_started_is_waited_for_and_named_once(
    isolated_home: Path, monkeypatch: pytest.MonkeyPatch
):
    lines: list[str] = []
    with instance_of(Home(isolated_home)) as instance:
        run = instance.create_run_for_job(some_job, status=dg.DagsterRunStatus.STARTED)
        looks = []

        def look(seconds: float) -> None:
            looks.append(seconds)
            if len(looks) == 3:
                instance.report_run_failed(run)

        monkeypatch.setattr(instances.time, "sleep", look)
        await_runs(instance, lines.append)
        assert len(looks) == 3
        assert lines == ["A run of some_job is using this home (see moola ui). Waiting for it to finish ..."]
        await_runs(instance, lines.append)
    assert len(lines) == 1


def test_dagsters_queue_allows_one_run_at_a_time():
    settings = yaml.safe_load((PROJECT_ROOT / "dagster.yaml").read_text())
    assert settings["concurrency"]["runs"] == {"max_concurrent_runs": 1}
    assert settings["concurrency"]["pools"] == {"default_limit": 1}
