"""The parent run: one for all assets of a Dagster run, with its settings, data and status."""

import shutil
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dagster as dg
import pytest

from moola_pipeline.storage.home import HOME_VARIABLE, Home
from moola_pipeline.tracking.runs import Tracking
from moola_pipeline.tracking.tracked_run import DataInput, code_state
from moola_pipeline_tests.cli.calls import start
from moola_pipeline_tests.tracking.contexts import RUN, context, logged_runs, named, parent_of, track

BOTH = ("a", "b")


def test_assets_that_start_at_once_find_one_parent(home: Home):
    assets = ["a", "b", "c", "d"]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda asset: track(asset, planned=assets), assets))
    parent = parent_of(home)
    children = [run for run in logged_runs(home) if run.info.run_id != parent.info.run_id]
    assert {run.info.run_name for run in children} == set(assets)
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    assert parent.info.status == "FINISHED"


def test_assets_in_processes_of_their_own_share_a_parent(home: Home):
    code = (
        "import sys; from moola_pipeline_tests.tracking.contexts import track\n"
        "track(sys.argv[1], planned=['a', 'b'])"
    )
    processes = [start(code, asset) for asset in BOTH]
    outputs = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert parent_of(home).info.status == "FINISHED"
    assert len(logged_runs(home)) == 3


def test_another_dagster_run_has_a_parent_of_its_own(home: Home):
    track("a", "first")
    track("a", "second")
    assert parent_of(home, "first").info.run_id != parent_of(home, "second").info.run_id


def test_a_parent_says_what_runs_when_and_from_which_commit(home: Home):
    track("a")
    parent = parent_of(home)
    words = str(parent.info.run_name).split()
    assert (words[0], words[-1]) == ("smoke", "simulated")
    assert len(words) == 4
    assert parent.data.tags["mlflow.source.git.commit"] == code_state()[0]
    assert (parent.data.tags["mlflow.source.name"], parent.data.tags["mlflow.source.type"]) == (
        "moola",
        "LOCAL",
    )


def test_a_parent_runs_until_the_last_planned_asset_is_built(home: Home):
    track("a", planned=BOTH)
    assert parent_of(home).info.status == "RUNNING"
    assert parent_of(home).info.end_time is None
    track("b", planned=BOTH)
    assert parent_of(home).info.status == "FINISHED"


def test_a_run_of_some_steps_ends_with_them(home: Home):
    track("b", planned=BOTH, steps=["b"])
    assert parent_of(home).info.status == "FINISHED"


def failing(asset: str, fault: BaseException) -> None:
    with Tracking().run(context(asset, planned=BOTH), "market", {}, {"simulated": True}):
        raise fault


def test_a_failing_asset_leaves_a_failed_run_and_parent_with_the_error(home: Home):
    with pytest.raises(ValueError, match="no such bar"):
        failing("a", ValueError("no such bar"))
    run = named(home, "a")
    assert (run.info.status, run.data.tags["fault"]) == ("FAILED", "no such bar")
    assert run.data.tags["simulated"] == "True"
    parent = parent_of(home)
    assert parent.info.status == "FAILED"
    assert parent.data.tags["mlflow.note.content"] == (
        f"[a](#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}?workflowType=machine_learning) "
        "failed: no such bar"
    )


def test_an_interrupted_asset_ends_the_parent(home: Home):
    with pytest.raises(KeyboardInterrupt):
        failing("a", KeyboardInterrupt())
    assert parent_of(home).info.status == "FAILED"


def test_a_retried_asset_that_succeeds_makes_the_run_a_success(home: Home):
    with pytest.raises(OSError, match="disk full"):
        failing("a", OSError("disk full"))
    track("a", planned=BOTH)
    assert parent_of(home).info.status == "RUNNING"
    track("b", planned=BOTH)
    assert parent_of(home).info.status == "FINISHED"


def test_a_failed_integrity_check_fails_the_parent_and_a_score_check_does_not(home: Home):
    for check, ended in (("target_f1", "RUNNING"), ("baselines_present", "FAILED")):
        about = context("bootstrap_ci_report", check, planned=("bootstrap_ci_report", "registered_model"))
        with Tracking().run(about, "market", {}, {}) as run:
            run.set_tags({f"check.{check}": "FAILED"})
        assert parent_of(home, check).info.status == ended


def test_a_parent_has_the_settings_of_all_its_assets_under_dotted_names(home: Home):
    track("a", params={"pretrain": {"epochs": 3, "warmup": {"share": 0.1}}}, planned=BOTH)
    track("b", params={"finetune": {"seeds": [0, 1]}}, planned=BOTH)
    assert named(home, "a").data.params == {"pretrain.epochs": "3", "pretrain.warmup.share": "0.1"}
    assert parent_of(home).data.params == {
        "profile": "smoke",
        "market": "simulated",
        "pretrain.epochs": "3",
        "pretrain.warmup.share": "0.1",
        "finetune.seeds": "[0, 1]",
    }


def test_a_parent_names_its_data_once(home: Home):
    inputs = [DataInput("bars", "0123456789abcdef" * 4, "data/manifest.json", {"rows": 3}, "training")]
    for asset in BOTH:
        with Tracking().run(context(asset, planned=BOTH), "market", {}, {}, inputs):
            pass
    given = parent_of(home).inputs
    assert given is not None
    [one] = given.dataset_inputs
    assert (one.dataset.name, [tag.value for tag in one.tags]) == ("bars", ["training"])


KILLED_INSIDE = (
    "import os, signal; from moola_pipeline.tracking.runs import Tracking\n"
    "from moola_pipeline_tests.tracking.contexts import context\n"
    "tags = {'profile': 'smoke'}\n"
    "with Tracking().run(context('a', 'first'), 'market', {}, tags) as run, run.child('seed 0', {}):\n"
    "    os.kill(os.getpid(), signal.SIGKILL)"
)


@pytest.fixture(scope="module")
def killed_home(fresh_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home whose only run was killed; read-only."""
    home = Home(tmp_path_factory.mktemp("killed"))
    shutil.copytree(fresh_store, home.tracking)
    with pytest.MonkeyPatch.context() as surroundings:
        surroundings.setenv(HOME_VARIABLE, str(home.root))
        process: subprocess.Popen[str] = start(KILLED_INSIDE)
    process.communicate()
    assert process.returncode == -9
    return home


@pytest.fixture
def killed(isolated_home: Path, killed_home: Home) -> Callable[[dg.DagsterRunStatus | None], dict[str, str]]:
    """Starts another run after the killed one, and gives the status of the killed runs by name."""
    home = Home(isolated_home)
    shutil.copytree(killed_home.tracking, home.tracking)

    def ended(recorded: dg.DagsterRunStatus | None) -> dict[str, str]:
        assert parent_of(home, "first").info.status == "RUNNING"
        track("a", "second", states={} if recorded is None else {"first": recorded})
        assert parent_of(home, "second").info.status == "FINISHED"
        runs = [run for run in logged_runs(home) if run.data.tags["dagster.run_id"] == "first"]
        return {run.data.tags.get("role", str(run.info.run_name)): run.info.status for run in runs}

    return ended


@pytest.mark.parametrize(
    ("recorded", "status"),
    [(dg.DagsterRunStatus.FAILURE, "FAILED"), (dg.DagsterRunStatus.CANCELED, "KILLED")],
)
def test_the_next_run_ends_what_a_killed_one_left_open(
    killed: Callable[[dg.DagsterRunStatus | None], dict[str, str]],
    recorded: dg.DagsterRunStatus,
    status: str,
):
    assert killed(recorded) == {"parent": status, "a": "KILLED", "seed 0": "KILLED"}


@pytest.mark.parametrize("recorded", [dg.DagsterRunStatus.STARTED, None], ids=["at work", "elsewhere"])
def test_a_run_that_may_be_alive_stays_open(
    killed: Callable[[dg.DagsterRunStatus | None], dict[str, str]], recorded: dg.DagsterRunStatus | None
):
    assert killed(recorded) == dict.fromkeys(("parent", "a", "seed 0"), "RUNNING")


def test_runs_begin_with_the_id_of_their_dagster_run(home: Home):
    track("a")
    assert {run.data.tags["dagster.run_id"] for run in logged_runs(home)} == {RUN}
