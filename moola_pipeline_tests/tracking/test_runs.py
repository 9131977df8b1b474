"""MLflow's store: one for many processes, below the home, refused if damaged."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient
from sqlalchemy import create_engine, text

from moola_pipeline.errors import IntegrityError
from moola_pipeline.storage.home import Home
from moola_pipeline.tracking.runs import DATABASE_NAME, _unsynced, open_store, tracking_uri
from moola_pipeline_tests.cli.calls import start
from moola_pipeline_tests.tracking.contexts import track


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


def test_everything_is_stored_below_the_home(home: Home):
    track("a")
    client = open_store(home)
    assert client.get_run(track("b", "second")).info.artifact_uri.startswith(home.tracking.as_uri())  # pyright: ignore
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


def test_only_the_database_in_the_making_is_not_synced(tmp_path: Path):
    def syncs(name: str) -> bool:
        with create_engine(f"sqlite:///{tmp_path / name}").connect() as connection:
            return connection.execute(text("PRAGMA synchronous")).scalar_one() != 0

    with _unsynced(tmp_path / "new.db"):
        assert not syncs("new.db")
        assert syncs("another.db")
    assert syncs("new.db")
