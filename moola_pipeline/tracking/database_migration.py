"""Check Dagster's and MLflow's databases, and migrate them on a copy that replaces the original."""

import sqlite3
import sys
from collections.abc import Callable, Iterable
from contextlib import closing, redirect_stdout
from functools import cache
from importlib.util import find_spec
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING

from moola_pipeline.errors import IntegrityError
from moola_pipeline.storage.atomic_write import atomic_write
from moola_pipeline.storage.sqlite import open_read_only, sqlite_lock

if TYPE_CHECKING:
    import dagster as dg
    from alembic.script import ScriptDirectory

DATABASE_NAME = "mlflow.db"
"""MLflow's database in a home; all others are Dagster's."""
TIMEOUT_SECONDS = 60
_SCRIPTS = {"mlflow": "store/db_migrations", "dagster": "_core/storage/alembic"}
"""Folder of a package's migration scripts."""


def migrate_tracking(database: Path) -> Path | None:
    """Migrate MLflow's database in a home to the schema of the installed MLflow.

    Args:
        database: The caller holds its lock.

    Returns:
        The copy of the old database; None if no migration was needed.

    Raises:
        IntegrityError: If a later MLflow made it, or the migration fails; it is then unchanged.
        BadInput: If another process uses it.
        UnwritableFile: If it cannot be copied; it is then unchanged.
    """
    current, old = latest_schema("mlflow"), schema_of(database)
    if old in (None, current):
        return None
    _require_known("mlflow", database, str(old))

    from mlflow.store.db.utils import _upgrade_db
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    def upgrade(copy: Path) -> None:
        _upgrade_db(create_engine(f"sqlite:///{copy}", poolclass=NullPool))

    return _migrate(database, str(old), current, upgrade)


def migrate_instance(databases: Iterable[Path], instance: "dg.DagsterInstance") -> list[Path]:
    """Migrate Dagster's databases in a home to the schema of the installed Dagster.

    Args:
        databases: The caller holds all their locks.
        instance: The Dagster instance of the home.

    Returns:
        Copies of the old databases that were migrated.

    Raises:
        IntegrityError: If a later Dagster made one, or a migration fails; it is then unchanged.
        BadInput: If another process uses one.
        UnwritableFile: If one cannot be copied; it is then unchanged.
    """
    current = latest_schema("dagster")
    revisions = {path: schema_of(path) for path in databases}
    earlier = {path: str(old) for path, old in revisions.items() if old not in (None, current)}
    for path, old in earlier.items():
        _require_known("dagster", path, old)
    copies = [_migrate(path, old, current, _upgrade_dagsters) for path, old in earlier.items()]
    if copies:
        _complete(instance)
    return copies


def latest_schema(package: str) -> str:
    """The latest revision among a package's migration scripts.

    Args:
        package: mlflow or dagster.

    Raises:
        IntegrityError: If there is not exactly one.
    """
    heads = _scripts(package).get_heads()
    if len(heads) != 1:
        raise IntegrityError(
            f"{package} must have one latest schema, got {len(heads)}. Reinstall it: make install"
        )
    return heads[0]


def schema_of(database: Path) -> str | None:
    """The revision recorded in a database; None if there is none.

    Raises:
        IntegrityError: If it cannot be read, for example while another process has it locked.
    """
    with open_read_only(database) as connection:
        try:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        except sqlite3.OperationalError as fault:
            if "no such table" in str(fault):
                return None  # an empty database
            raise IntegrityError(
                f"{database} must record its schema version, but reading it failed: {fault}. Stop every "
                "other process that uses this home, then try again; if that does not help, restore it."
            ) from fault
    return str(row[0]) if row else None


@cache
def _scripts(package: str) -> "ScriptDirectory":
    """The migration scripts of a package."""
    from alembic.script import ScriptDirectory

    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise IntegrityError(f"{package} must be installed, but it is not. Run: make install")
    return ScriptDirectory(str(Path(spec.submodule_search_locations[0]) / _SCRIPTS[package]))


def _require_known(package: str, database: Path, revision: str) -> None:
    from alembic.util import CommandError

    try:
        _scripts(package).get_revision(revision)
    except CommandError:
        raise IntegrityError(
            f"{database} must have a schema that this {package} knows, got {revision}, from a later version. "
            "Install the version of moola that wrote the home, or use another --home."
        ) from None


def _migrate(database: Path, old: str, current: str, upgrade: Callable[[Path], None]) -> Path:
    """Migrate a copy, then replace the database with it.

    Alembic's migrations are not transactions on SQLite: a migration that is killed in place leaves half
    a schema, from which neither the old nor the new scripts can continue.
    """
    with sqlite_lock(database) as connection, atomic_write(database) as migrated:
        _copy(connection, migrated)
        try:
            upgrade(migrated)
            if (reached := schema_of(migrated)) != current:
                raise IntegrityError(f"schema {reached}, not {current}")
            with sqlite_lock(migrated):  # flush its journal into the file
                pass
        except Exception as fault:
            came = " ".join(str(fault).split())[:300]
            raise IntegrityError(
                f"{database} must be migrated to the current schema, but the migration failed: {came}. It is "
                "unchanged. Install the version of moola that wrote the home, or use another --home."
            ) from fault
        aside = _unused(database.with_name(f"{database.name}.of-schema-{old}"))
        with atomic_write(aside) as temporary:
            _copy(connection, temporary)
    return aside


def _copy(connection: sqlite3.Connection, target: Path) -> None:
    with closing(sqlite3.connect(target)) as copy:
        connection.backup(copy)


def _unused(path: Path) -> Path:
    """The path, with a number appended if it exists: earlier copies are kept."""
    numbered = (path.with_name(f"{path.name}-{number}") for number in count(2))
    return next(one for one in chain([path], numbered) if not one.exists())


def _upgrade_dagsters(copy: Path) -> None:
    """Dagster's scripts are the same for all its databases, and skip tables that do not exist."""
    from dagster._core.storage.runs.sqlite import sqlite_run_storage
    from dagster._core.storage.sql import get_alembic_config, run_alembic_upgrade
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    engine = create_engine(f"sqlite:///{copy}", poolclass=NullPool)
    with engine.connect() as connection, connection.begin():
        run_alembic_upgrade(get_alembic_config(sqlite_run_storage.__file__), connection)


def _complete(instance: "dg.DagsterInstance") -> None:
    """Build Dagster's secondary indexes; each is recorded when it is complete."""
    try:
        with redirect_stdout(sys.stderr):
            instance.upgrade()
    except Exception as fault:
        came = " ".join(str(fault).split())[:300]
        raise IntegrityError(
            f"Dagster's indexes must be built, but that failed: {came}. Its tables are intact. "
            "Try again: dagster instance migrate"
        ) from fault


def require_database(path: Path, remedy: str) -> None:
    """Check an existing database with SQLite, and migrate MLflow's if its schema is older.

    Without this check, MLflow retries for minutes on a file that is not a database, and Dagster prints
    its whole query.

    Raises:
        IntegrityError: If the file cannot be opened as a database, or if it is MLflow's without tables:
            MLflow would create empty tables, and all runs and champions would be lost.
    """
    if not path.exists():
        return
    address = f"{path.absolute().as_uri()}?mode=rw"
    try:
        with closing(sqlite3.connect(address, uri=True, timeout=TIMEOUT_SECONDS)) as connection:
            connection.execute("PRAGMA schema_version")
            is_complete = path.name != DATABASE_NAME or _has_schema(connection)
    except sqlite3.DatabaseError as fault:
        raise IntegrityError(
            f"{path} must be an SQLite database that can be opened, got: {fault}. {remedy}"
        ) from fault
    if not is_complete:
        raise IntegrityError(
            f"{path} must hold MLflow's tables and their revision, got {path.stat().st_size:,} bytes "
            f"without them. {remedy}"
        )
    if path.name == DATABASE_NAME:
        migrate_tracking(path)


def _has_schema(connection: sqlite3.Connection) -> bool:
    """Whether MLflow has created all its tables: it records the revision last."""
    named = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone()
    return bool(named and connection.execute("SELECT 1 FROM alembic_version").fetchone())
