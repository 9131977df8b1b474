"""A moved or copied home: paths in its MLflow database are updated."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from moola_pipeline.storage.home import Home
from moola_pipeline.tracking.logged_model import logged_model_of
from moola_pipeline.tracking.registry import load_version, version_of
from moola_pipeline.tracking.relocation import HOME_PATH_NAME, relocate
from moola_pipeline.tracking.runs import DATABASE_NAME, open_store
from moola_pipeline_tests.homes import SMOKE, copied, moola, outcome

CHAMPION = "models:/moola-simulated@champion"


@contextmanager
def database(home: Home) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(home.tracking / DATABASE_NAME)) as connection, connection:
        yield connection


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A relocated home with a database of one table."""
    made = Home(tmp_path / "here")
    made.tracking.mkdir(parents=True)
    with database(made) as connection:
        connection.execute("CREATE TABLE runs (run_uuid TEXT, artifact_uri TEXT)")
        connection.execute("INSERT INTO runs VALUES ('a', ?)", (f"{made.tracking.as_uri()}/artifacts/1/a",))
        connection.execute("INSERT INTO runs VALUES ('b', 's3://bucket/b')")
        connection.execute("INSERT INTO runs VALUES ('c', NULL)")
    relocate(made)
    return made


def uris(home: Home) -> dict[str, str | None]:
    with database(home) as connection:
        return dict(connection.execute("SELECT run_uuid, artifact_uri FROM runs").fetchall())


def moved(home: Home, name: str) -> Home:
    return Home(home.root.rename(home.root.with_name(name)))


def test_paths_below_the_old_home_are_replaced_and_others_left(home: Home):
    there = moved(home, "there")
    relocate(there)
    assert uris(there) == {
        "a": f"{there.tracking.as_uri()}/artifacts/1/a",
        "b": "s3://bucket/b",
        "c": None,
    }


def test_a_home_that_was_not_moved_is_unchanged(home: Home):
    before = uris(home), (home.tracking / HOME_PATH_NAME).stat().st_mtime_ns
    relocate(home)
    assert (uris(home), (home.tracking / HOME_PATH_NAME).stat().st_mtime_ns) == before


def test_a_home_can_be_moved_several_times(home: Home):
    for name in ("second", "a third place", "50% #1", "here"):
        home = moved(home, name)
        relocate(home)
    assert uris(home)["a"] == f"{home.tracking.as_uri()}/artifacts/1/a"


def test_an_interrupted_relocation_is_repeated(home: Home):
    old = (home.tracking / HOME_PATH_NAME).read_bytes()
    there = moved(home, "there")
    relocate(there)
    (there.tracking / HOME_PATH_NAME).write_bytes(old)  # as if interrupted before the path file was written
    relocate(there)
    assert uris(there)["a"] == f"{there.tracking.as_uri()}/artifacts/1/a"


@pytest.mark.parametrize("name", ["moved", "with a space", "50% #1"])
def test_a_moved_home_loads_its_champion_from_where_it_is_now(smoke_copy: Home, name: str):
    open_store(smoke_copy)
    there = moved(smoke_copy, name)
    model, facts = load_version(there, CHAMPION)
    assert facts["model_version"] == "1"
    assert model.n_parameters == facts["n_parameters"]
    client = open_store(there)
    assert client.get_model_version_download_uri("moola-simulated", "1").startswith(there.tracking.as_uri())
    logged_id = logged_model_of(client.get_model_version("moola-simulated", "1"))
    logged = client.get_logged_model(str(logged_id))
    assert logged.artifact_location.startswith(there.tracking.as_uri())
    assert "MLmodel" in {one.path for one in client.list_logged_model_artifacts(logged.model_id)}


def test_in_a_copied_home_nothing_has_changed(smoke_home: Home, smoke_copy: Home):
    printed = moola(smoke_copy, *SMOKE)
    assert "Nothing has changed since the last run" in printed
    assert f'mlflow.set_tracking_uri("sqlite:///{smoke_copy.tracking / DATABASE_NAME}")' in printed
    assert f"{smoke_home.root}" not in printed


def test_a_copy_and_its_original_do_not_affect_each_other(smoke_home: Home, tmp_path: Path):
    twin = copied(smoke_home, tmp_path / "twin")
    client = open_store(twin)
    client.delete_registered_model_alias("moola-simulated", "champion")
    shutil.rmtree(twin.tracking / "artifacts")
    assert version_of(open_store(smoke_home), "moola-simulated", "champion") == "1"
    assert load_version(smoke_home, CHAMPION)[1]["model_version"] == "1"
    assert str(smoke_home.tracking) in outcome(smoke_home)["notebook"][0]


def test_a_moved_home_without_its_path_file_uses_the_recorded_paths(home: Home):
    with database(home) as connection:
        connection.execute("CREATE TABLE experiments (experiment_id INT, artifact_location TEXT)")
        location = f"{home.tracking.as_uri()}/artifacts/moola-nq"
        connection.execute("INSERT INTO experiments VALUES (0, 'mlruns/0'), (1, ?)", (location,))
    there = moved(home, "artifacts")
    (there.tracking / HOME_PATH_NAME).unlink()
    relocate(there)
    assert uris(there)["a"] == f"{there.tracking.as_uri()}/artifacts/1/a"
    assert (there.tracking / HOME_PATH_NAME).exists()
