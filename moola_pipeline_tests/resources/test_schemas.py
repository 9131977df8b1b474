"""Databases of an earlier MLflow or Dagster: copied aside, brought up to date, nothing in them lost."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory

from moola_pipeline.errors import IntegrityError
from moola_pipeline.home import Home
from moola_pipeline.resources.instance import open_instance, prepare_instance
from moola_pipeline.resources.schemas import latest_schema, schema_of
from moola_pipeline.resources.tracking import DATABASE_NAME, open_store
from moola_pipeline_tests.homes import instance_of
from moola_pipeline_tests.surroundings import surroundings_kept

STEPS_BACK = 12
"""Migrations of MLflow's that the database of the test lacks."""


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
    """The revision so many steps before the latest."""
    line = list(scripts(package).walk_revisions())
    return line[steps].revision


@pytest.fixture
def old_store(tmp_path: Path) -> Home:
    """MLflow's tables STEPS_BACK migrations ago, made by MLflow's own scripts, and one experiment."""
    from alembic import command
    from mlflow.store.db.utils import _get_alembic_config
    from mlflow.store.tracking.dbmodels.initial_models import Base
    from sqlalchemy import create_engine

    home = Home(tmp_path)
    home.tracking.mkdir(parents=True)
    database = home.tracking / DATABASE_NAME
    engine = create_engine(f"sqlite:///{database}")
    Base.metadata.create_all(engine)
    config = _get_alembic_config(f"sqlite:///{database}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, earlier("mlflow", STEPS_BACK))
    engine.dispose()
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(
            "INSERT INTO experiments (name, artifact_location, lifecycle_stage) VALUES (?, ?, 'active')",
            ("moola-nq", home.tracking.as_uri()),
        )
    return home


@pytest.mark.parametrize("package", ["mlflow", "dagster"])
def test_the_latest_schema_is_the_one_that_alembic_itself_finds(package: str):
    assert latest_schema(package) == scripts(package).get_current_head()


def test_an_earlier_mlflow_database_is_copied_and_migrated_with_what_it_holds(old_store: Home):
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


def test_dagsters_databases_of_an_earlier_release_are_copied_and_migrated(isolated_home: Path):
    """Stamped one revision back: Dagster's scripts pass over what is there already."""
    home = Home(isolated_home)
    with instance_of(home):
        pass
    databases = sorted(home.dagster.rglob("*.db"))
    stamped = [path for path in databases if schema_of(path)]
    assert stamped
    old = earlier("dagster", 1)
    for path in stamped:
        stamp(path, old)
    with surroundings_kept():
        prepare_instance(home)
        with open_instance(home) as instance:
            assert instance.get_runs() == []
    assert {schema_of(path) for path in stamped} == {latest_schema("dagster")}
    assert {schema_of(path.with_name(f"{path.name}.of-schema-{old}")) for path in stamped} == {old}
