"""MLflow runs: one store for many processes, one parent for many assets, and recorded errors."""

import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from moola_pipeline.errors import IntegrityError
from moola_pipeline.storage.home import Home
from moola_pipeline.tracking.runs import (
    DATABASE_NAME,
    TrackedRun,
    Tracking,
    experiment_id,
    open_store,
    tracking_uri,
)
from moola_pipeline_tests.cli.calls import start


@dataclass(frozen=True)
class DagsterRun:
    run_id: str


@dataclass(frozen=True)
class Context:
    """The parts of an asset's context that tracking reads."""

    run: DagsterRun
    asset_key: dg.AssetKey


def context(asset: str, run: str = "0123456789ab") -> dg.AssetExecutionContext:
    return Context(DagsterRun(run), dg.AssetKey(asset))  # pyright: ignore[reportReturnType]


@pytest.fixture(scope="module")
def fresh_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an empty store; creating one takes seconds."""
    made = Home(tmp_path_factory.mktemp("store"))
    open_store(made)
    return made.tracking


@pytest.fixture
def home(isolated_home: Path, fresh_store: Path) -> Home:
    """A home with its own empty store."""
    shutil.copytree(fresh_store, Home(isolated_home).tracking)
    return Home(isolated_home)


def track(asset: str, run: str = "0123456789ab", params: dict | None = None) -> str:
    with Tracking().run(context(asset, run), "market", params or {}, {}) as tracked:
        return tracked.id


def runs(home: Home) -> list[Run]:
    client = MlflowClient(tracking_uri(home))
    return list(client.search_runs([one.experiment_id for one in client.search_experiments()]))


@pytest.fixture
def tracked(home: Home) -> TrackedRun:
    client = open_store(home)
    experiment = experiment_id(client, home, "market")
    return TrackedRun(client, experiment, client.create_run(experiment).info.run_id)


def test_two_processes_that_open_a_fresh_store_at_once_both_succeed(isolated_home: Path):
    code = (
        "from moola_pipeline.storage.home import Home; from moola_pipeline.tracking.runs import *\n"
        "home = Home.resolve(); print(experiment_id(open_store(home), home, 'market'))"
    )
    processes = [start(code) for _ in range(2)]
    outputs = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert len({shown for shown, _ in outputs}) == 1
    assert (Home(isolated_home).tracking / DATABASE_NAME).exists()


def test_assets_that_start_at_once_find_one_parent(home: Home):
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(track, ["a", "b", "c", "d"]))
    result = runs(home)
    [parent] = [run for run in result if "mlflow.parentRunId" not in run.data.tags]
    children = [run for run in result if run.info.run_id != parent.info.run_id]
    assert {run.info.run_name for run in children} == {"a", "b", "c", "d"}
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}


def test_another_dagster_run_has_a_parent_of_its_own(home: Home):
    track("a", "first")
    track("a", "second")
    parents = {run.data.tags.get("mlflow.parentRunId") for run in runs(home)} - {None}
    assert len(parents) == 2


def test_a_failing_asset_leaves_a_failed_run_with_the_error(home: Home):
    with (
        pytest.raises(ValueError, match="no such bar"),
        Tracking().run(context("encoder"), "market", {}, {"simulated": True}),
    ):
        raise ValueError("no such bar")
    [run] = [run for run in runs(home) if run.info.run_name == "encoder"]
    assert run.info.status == "FAILED"
    assert run.data.tags["fault"] == "no such bar"
    assert run.data.tags["simulated"] == "True"


def test_settings_are_logged_under_dotted_names(home: Home):
    track("encoder", params={"pretrain": {"epochs": 3, "warmup": {"share": 0.1}}, "seed": 0})
    [run] = [run for run in runs(home) if run.info.run_name == "encoder"]
    assert run.data.params == {"pretrain.epochs": "3", "pretrain.warmup.share": "0.1", "seed": "0"}


def test_more_settings_than_one_call_takes_are_all_logged(tracked: TrackedRun):
    tracked.log_params({f"file.{number}": number for number in range(250)})
    assert len(tracked.client.get_run(tracked.id).data.params) == 250


def test_a_metric_that_is_not_a_number_is_left_out(tracked: TrackedRun):
    tracked.log_metrics({"loss": 0.5, "undefined": float("nan")})
    assert tracked.client.get_run(tracked.id).data.metrics == {"loss": 0.5}


def test_epochs_are_steps(tracked: TrackedRun):
    for epoch in range(3):
        tracked.log_epoch({"epoch": epoch, "val_loss": 1 / (1 + epoch)}, "seed0.")
    history = tracked.client.get_metric_history(tracked.id, "seed0.val_loss")
    assert [(one.step, one.value) for one in history] == [(0, 1.0), (1, 0.5), (2, 1 / 3)]


def test_points_keep_their_times_and_may_exceed_one_call(tracked: TrackedRun):
    tracked.log_lines({"system/memory": [(1_700_000_000_000 + at, at / 2) for at in range(1200)]})
    history = tracked.client.get_metric_history(tracked.id, "system/memory")
    assert [(one.step, one.timestamp, one.value) for one in history[-2:]] == [
        (1198, 1_700_000_001_198, 599.0),
        (1199, 1_700_000_001_199, 599.5),
    ]


def test_a_data_set_is_logged_with_its_digest(tracked: TrackedRun):
    digest = "0123456789abcdef" * 4
    tracked.log_input("bars", digest, "data/manifest.json", {"rows": 3})
    run = tracked.client.get_run(tracked.id)
    assert run.inputs is not None
    [given] = run.inputs.dataset_inputs
    assert (given.dataset.name, given.dataset.digest) == ("bars", digest[:36])
    assert given.dataset.profile == '{"rows": 3}'
    assert run.data.tags["bars.sha256"] == digest


def test_files_and_folders_are_copied_into_the_run(tracked: TrackedRun, tmp_path: Path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    tracked.log_artifact(tmp_path / "model", "model")
    tracked.log_artifact(tmp_path / "model" / "config.json")
    tracked.log_text("words", "note.txt")
    listed = {one.path for one in tracked.client.list_artifacts(tracked.id)}
    assert listed == {"model", "config.json", "note.txt"}
    assert [one.path for one in tracked.client.list_artifacts(tracked.id, "model")] == ["model/config.json"]


def test_the_link_leads_to_the_server_in_use(tracked: TrackedRun, monkeypatch: pytest.MonkeyPatch):
    page = f"/#/experiments/{tracked.experiment}/runs/{tracked.id}"
    assert tracked.url == f"http://127.0.0.1:5000{page}"
    monkeypatch.setenv("MOOLA_MLFLOW_URL", "http://127.0.0.1:5007")
    assert tracked.url == f"http://127.0.0.1:5007{page}"
    monkeypatch.setenv("MOOLA_MLFLOW_URL", "https://ann:hush@tracking.example")
    assert tracked.url == f"https://ann:***@tracking.example{page}", "it is kept in metadata"


def test_everything_is_stored_below_the_home(home: Home):
    track("a")
    client = open_store(home)
    assert client.get_run(track("b")).info.artifact_uri.startswith(home.tracking.as_uri())  # pyright: ignore
    assert tracking_uri(home) == f"sqlite:///{home.tracking}/mlflow.db"


def test_a_file_that_is_not_a_database_is_refused_at_once(isolated_home: Path):
    home = Home(isolated_home)
    home.tracking.mkdir(parents=True)
    (home.tracking / DATABASE_NAME).write_bytes(b"no database" * 500)
    with pytest.raises(IntegrityError) as fault:
        open_store(home)
    assert "must be an SQLite database that can be opened, got: file is not a database." in str(fault.value)
    assert f"move the folder {home.tracking} away" in str(fault.value)


@pytest.mark.parametrize(
    "kept",
    ["", "CREATE TABLE a (b); DROP TABLE a", "CREATE TABLE alembic_version (version_num)"],
    ids=["nothing", "no tables", "no revision"],
)
def test_a_database_without_tables_is_refused_and_not_recreated(isolated_home: Path, kept: str):
    home = Home(isolated_home)
    home.tracking.mkdir(parents=True)
    database = home.tracking / DATABASE_NAME
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.executescript(kept)
    before = database.read_bytes()

    with pytest.raises(IntegrityError) as fault:
        open_store(home)

    assert str(fault.value) == (
        f"{database} must hold MLflow's tables and their revision, got {len(before):,} bytes without them. "
        f"Restore it, or move the folder {home.tracking} away and run: moola run "
        "(its runs and models are then no longer listed)"
    )
    assert database.read_bytes() == before
    home.tracking.rename(isolated_home / "moved away")
    assert open_store(home).search_experiments()


def test_a_store_whose_creation_was_interrupted_is_created_again(
    isolated_home: Path, monkeypatch: pytest.MonkeyPatch
):
    home = Home(isolated_home)

    def interrupted(client: MlflowClient, **_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as stopped:
        stopped.setattr(MlflowClient, "search_experiments", interrupted)
        with pytest.raises(KeyboardInterrupt):
            open_store(home)
    assert [path.name for path in home.tracking.iterdir() if path.is_file()] == [f".{DATABASE_NAME}.lock"]
    assert open_store(home).search_experiments()
