"""Databases of an earlier MLflow or Dagster are copied and migrated without loss."""

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory

from moola_pipeline.errors import BadInput, IntegrityError
from moola_pipeline.resources.instance import open_instance, prepare_instance
from moola_pipeline.storage import sqlite
from moola_pipeline.storage.home import Home
from moola_pipeline.tracking.database_migration import (
    latest_schema,
    migrate_instance,
    migrate_tracking,
    schema_of,
)
from moola_pipeline.tracking.runs import DATABASE_NAME, open_store
from moola_pipeline_tests.homes import instance_of
from moola_pipeline_tests.surroundings import surroundings_kept

STEPS_BACK = 12
"""Number of MLflow migrations that the test database lacks."""

KILLED_MIGRATING = """
import os, sys
from pathlib import Path
import sqlalchemy
from moola_pipeline.tracking.database_migration import migrate_instance, migrate_tracking

@sqlalchemy.event.listens_for(sqlalchemy.engine.Engine, "after_cursor_execute")
def killed(connection, cursor, statement, *rest):
    if statement.lstrip().upper().startswith(sys.argv[3]):
        os._exit(9)

database = Path(sys.argv[2])
migrate_tracking(database) if sys.argv[1] == "mlflow" else migrate_instance([database], None)
"""


def killed_migrating(package: str, database: Path, statement: str) -> None:
    """Migrate in a process that is killed after the first statement with this beginning."""
    command = [sys.executable, "-c", KILLED_MIGRATING, package, str(database), statement]
    assert subprocess.run(command, check=False, timeout=120).returncode == 9


def stamp(database: Path, revision: str) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))


def scripts(package: str) -> ScriptDirectory:
    import dagster
    import mlflow

    place = {
        "mlflow": Path(mlflow.__file__).parent / "store" / "db_migrations",
        "dagster": Path(dagster.__file__).parent / "_core" / "storage" / "alembic",
    }
    return ScriptDirectory(str(place[package]))


def earlier(package: str, steps: int) -> str:
    """The revision `steps` before the latest."""
    line = list(scripts(package).walk_revisions())
    return line[steps].revision


@pytest.fixture(scope="module")
def old_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's tables STEPS_BACK migrations ago, made by MLflow's own scripts."""
    from alembic import command
    from mlflow.store.db.utils import _get_alembic_config
    from mlflow.store.tracking.dbmodels.initial_models import Base
    from sqlalchemy import create_engine

    database = tmp_path_factory.mktemp("old") / DATABASE_NAME
    engine = create_engine(f"sqlite:///{database}")
    Base.metadata.create_all(engine)
    config = _get_alembic_config(f"sqlite:///{database}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, earlier("mlflow", STEPS_BACK))
    engine.dispose()
    return database


@pytest.fixture
def old_store(old_database: Path, tmp_path: Path) -> Home:
    """A home with these tables and one experiment."""
    home = Home(tmp_path)
    home.tracking.mkdir(parents=True)
    shutil.copyfile(old_database, home.tracking / DATABASE_NAME)
    with closing(sqlite3.connect(home.tracking / DATABASE_NAME)) as connection, connection:
        connection.execute(
            "INSERT INTO experiments (name, artifact_location, lifecycle_stage) VALUES (?, ?, 'active')",
            ("moola-nq", home.tracking.as_uri()),
        )
    return home


@pytest.mark.parametrize("package", ["mlflow", "dagster"])
def test_the_latest_schema_is_the_one_that_alembic_itself_finds(package: str):
    assert latest_schema(package) == scripts(package).get_current_head()


def test_an_earlier_mlflow_database_is_copied_and_migrated_with_its_content(old_store: Home):
    database = old_store.tracking / DATABASE_NAME
    old = schema_of(database)
    assert old == earlier("mlflow", STEPS_BACK)
    client = open_store(old_store)
    assert schema_of(database) == latest_schema("mlflow")
    assert client.get_experiment_by_name("moola-nq") is not None
    aside = database.with_name(f"{DATABASE_NAME}.of-schema-{old}")
    assert schema_of(aside) == old
    with closing(sqlite3.connect(aside)) as connection:
        assert connection.execute("SELECT name FROM experiments WHERE name = 'moola-nq'").fetchall()
    open_store(old_store)
    assert len(list(old_store.tracking.glob("*.of-schema-*"))) == 1


def test_a_mlflow_database_of_a_later_release_is_refused_and_left_alone(old_store: Home):
    database = old_store.tracking / DATABASE_NAME
    stamp(database, "ffffffffffff")
    before = database.read_bytes()
    with pytest.raises(IntegrityError, match=r"this mlflow knows, got ffffffffffff, .*another --home\.$"):
        open_store(old_store)
    assert database.read_bytes() == before


@pytest.mark.parametrize("statement", ["CREATE TABLE", "UPDATE ALEMBIC_VERSION"])
def test_a_migration_that_is_killed_leaves_the_database_as_it_was(old_store: Home, statement: str):
    database = old_store.tracking / DATABASE_NAME
    old, before = schema_of(database), database.read_bytes()
    killed_migrating("mlflow", database, statement)
    assert database.read_bytes() == before
    aside = database.with_name(f"{DATABASE_NAME}.of-schema-{old}")
    assert migrate_tracking(database) == aside
    assert schema_of(aside) == old
    assert open_store(old_store).get_experiment_by_name("moola-nq") is not None


def test_a_copy_that_was_made_earlier_is_not_replaced(old_store: Home):
    database = old_store.tracking / DATABASE_NAME
    earlier_copy = database.with_name(f"{DATABASE_NAME}.of-schema-{schema_of(database)}")
    earlier_copy.write_bytes(b"kept")
    assert migrate_tracking(database) == earlier_copy.with_name(f"{earlier_copy.name}-2")
    assert earlier_copy.read_bytes() == b"kept"


def test_a_migration_that_fails_leaves_the_database_as_it_was_and_no_copy(old_store: Home):
    database = old_store.tracking / DATABASE_NAME
    stamp(database, earlier("mlflow", STEPS_BACK + 1))  # the next migration fails: its table exists
    before = database.read_bytes()
    with pytest.raises(
        IntegrityError, match=r"but the migration failed: .* It is unchanged\. Install the version"
    ):
        migrate_tracking(database)
    assert database.read_bytes() == before
    assert [path.name for path in old_store.tracking.iterdir()] == [DATABASE_NAME]


def test_a_database_that_another_process_writes_to_is_not_migrated(
    old_store: Home, monkeypatch: pytest.MonkeyPatch
):
    database = old_store.tracking / DATABASE_NAME
    monkeypatch.setattr(sqlite, "TIMEOUT_SECONDS", 0)
    before = database.read_bytes()
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(BadInput, match=r"must not be open in another process, .* Stop moola ui"):
            migrate_tracking(database)
    assert database.read_bytes() == before


def test_an_unreadable_database_is_not_treated_as_empty(old_store: Home):
    database = old_store.tracking / DATABASE_NAME
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("ALTER TABLE alembic_version RENAME COLUMN version_num TO other")
    with pytest.raises(
        IntegrityError, match=r"must record its schema version, but reading it failed: no such column"
    ):
        schema_of(database)
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("DROP TABLE alembic_version")
    assert schema_of(database) is None


def test_dagsters_databases_of_an_earlier_release_are_copied_and_migrated(
    isolated_home: Path, capsys: pytest.CaptureFixture[str]
):
    """Stamped one revision back; Dagster's scripts skip objects that exist."""
    home = Home(isolated_home)
    with instance_of(home):
        pass
    databases = sorted(home.dagster.rglob("*.db"))
    stamped = [path for path in databases if schema_of(path)]
    assert stamped
    old = earlier("dagster", 1)
    for path in stamped:
        stamp(path, old)
    before = stamped[0].read_bytes()
    killed_migrating("dagster", stamped[0], "UPDATE ALEMBIC_VERSION")
    assert stamped[0].read_bytes() == before
    capsys.readouterr()
    with surroundings_kept():
        prepare_instance(home)
        with open_instance(home) as instance:
            assert instance.get_runs() == []
            assert migrate_instance(stamped, instance) == []
    assert capsys.readouterr().out == ""  # stdout is for --json output
    assert {schema_of(path) for path in stamped} == {latest_schema("dagster")}
    assert {schema_of(path.with_name(f"{path.name}.of-schema-{old}")) for path in stamped} == {old}
