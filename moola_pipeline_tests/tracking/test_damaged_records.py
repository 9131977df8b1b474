"""Damage in MLflow's database that SQLite does not detect: `moola verify` reports it and continues."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from moola_pipeline.selftest.verify import verify_home
from moola_pipeline.storage.home import Home
from moola_pipeline.tracking.runs import DATABASE_NAME, experiment_id, open_store
from moola_pipeline.tracking.tracked_run import TrackedRun

FROM_A_BACKUP = "Restore the database from a backup: moola restore --force FILE"
CONTENT = "type,n\nretracement,40\n"


@pytest.fixture(scope="module")
def two_files(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home of one run that logged two files, in SQLite."""
    home = Home(tmp_path_factory.mktemp("two") / "home")
    client = open_store(home)
    experiment = experiment_id(client, home, "market")
    run = TrackedRun(client, experiment, client.create_run(experiment).info.run_id)
    run.log_text(CONTENT, "counts.csv")
    run.log_text(CONTENT, "other.csv")
    assert verify_home(home).findings == []
    return home


@pytest.fixture
def database_file(two_files: Home) -> Iterator[Path]:
    """The database of that home, restored after the test."""
    path = two_files.tracking / DATABASE_NAME
    content = path.read_bytes()
    yield path
    path.write_bytes(content)


@pytest.mark.parametrize("sign", [b"0", b"\xb1", b"\n"], ids=["a digit", "no UTF-8", "a new line"])
def test_a_damaged_record_is_named_and_the_other_files_are_still_verified(
    sign: bytes, two_files: Home, database_file: Path
):
    size = f" {len(CONTENT)}".encode()
    with closing(sqlite3.connect(database_file)) as connection, connection:
        [(value,)] = connection.execute("SELECT value FROM tags WHERE key = 'sha256.counts.csv'").fetchall()
        damaged = value.encode().replace(size, sign + size[1:])
        connection.execute(
            "UPDATE tags SET value = CAST(? AS TEXT) WHERE key = 'sha256.counts.csv'", (damaged,)
        )
    [other] = two_files.tracking.rglob("other.csv")
    other.write_text(CONTENT.replace("40", "41"))
    result = verify_home(two_files)
    other.write_text(CONTENT)
    assert result.counts["files of runs"] == 2
    assert {(Path(one.file).name, one.kind) for one in result.findings} == {
        ("counts.csv", "unreadable"),
        ("other.csv", "changed"),
    }
    [what] = [one.what for one in result.findings if one.kind == "unreadable"]
    assert what.startswith(
        "MLflow's database must record the location, SHA256 and size of data/mlflow/artifacts/"
    )
    assert what.endswith(FROM_A_BACKUP) and "\n" not in what


def test_an_impossible_path_in_a_record_is_reported(two_files: Home, database_file: Path):
    with closing(sqlite3.connect(database_file)) as connection, connection:
        connection.execute("UPDATE runs SET artifact_uri = artifact_uri || '%00'")
    result = verify_home(two_files).findings
    assert [one.kind for one in result] == ["unreadable"] * 2
    assert all("got: embedded null byte. Restore the database" in one.what for one in result)


def test_an_impossible_bucket_address_in_a_record_is_reported(two_files: Home, database_file: Path):
    with closing(sqlite3.connect(database_file)) as connection, connection:
        connection.execute("UPDATE runs SET artifact_uri = 's3://moola:no port/a'")
    result = verify_home(two_files).findings
    assert [one.kind for one in result] == ["unreadable"] * 2
    assert all(one.what.endswith(FROM_A_BACKUP) for one in result)


def test_an_emptied_database_is_reported(two_files: Home, database_file: Path):
    database_file.write_bytes(b"")
    [result] = verify_home(two_files).findings
    assert (result.file, result.kind) == ("data/mlflow/mlflow.db", "truncated")
    assert result.what == (
        "mlflow.db must hold tables, but its 0 bytes hold none. "
        "Restore it from a backup: moola restore --force FILE"
    )


def test_a_database_without_the_tables_of_runs_is_reported(two_files: Home, database_file: Path):
    with closing(sqlite3.connect(database_file)) as connection, connection:
        connection.execute("ALTER TABLE tags RENAME TO tagz")
    [result] = verify_home(two_files).findings
    assert (result.file, result.kind) == ("data/mlflow/mlflow.db", "unreadable")
    assert result.what == (
        f"mlflow.db must list the files of runs and models, got: no such table: tags. {FROM_A_BACKUP}"
    )
