"""Tables that an earlier MLflow or Dagster has made: copied aside, then brought up to date."""

import re
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from moola_pipeline.errors import IntegrityError
from moola_pipeline.publish import publishing

if TYPE_CHECKING:
    import dagster as dg

TRACKING_DATABASE = "mlflow.db"
_SCRIPTS = {"mlflow": "store/db_migrations/versions", "dagster": "_core/storage/alembic/versions"}
_REVISION = re.compile(r"^revision\s*(?::\s*str\s*)?=\s*['\"](\w+)['\"]", re.MULTILINE)
_FOLLOWS = re.compile(r"^down_revision\s*(?::[^=]*)?=(.*)$", re.MULTILINE)
_NAME = re.compile(r"['\"](\w+)['\"]")


def migrate_tracking(database: Path) -> Path | None:
    """Bring MLflow's database in a home to the schema of the MLflow that is installed.

    Args:
        database: Opened by nobody else: the caller holds its lock.

    Returns:
        The copy of it as it was; None if it was of this schema.

    Raises:
        IntegrityError: If a later MLflow has made it.
        UnwritableFile: If it cannot be copied; it is then left alone.
    """
    old = schema_of(database)
    if old in (None, latest_schema("mlflow")):
        return None
    _require_known("mlflow", database, str(old))
    aside = _set_aside(database, str(old))

    from mlflow.store.db.utils import _upgrade_db
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    _finish(lambda: _upgrade_db(create_engine(f"sqlite:///{database}", poolclass=NullPool)), database, aside)
    return aside


def migrate_instance(databases: Iterable[Path], instance: "dg.DagsterInstance") -> list[Path]:
    """Bring Dagster's databases in a home to the schema of the Dagster that is installed.

    Returns:
        Copies of those that were of an earlier schema, as they were.

    Raises:
        IntegrityError: If a later Dagster has made one.
        UnwritableFile: If one cannot be copied; all are then left alone.
    """
    current = latest_schema("dagster")
    found = {path: schema_of(path) for path in databases}
    earlier = {path: old for path, old in found.items() if old not in (None, current)}
    for path, old in earlier.items():
        _require_known("dagster", path, str(old))
    copies = [_set_aside(path, str(old)) for path, old in earlier.items()]
    if copies:
        _finish(instance.upgrade, next(iter(earlier)), copies[0])
    return copies


@cache
def latest_schema(package: str) -> str:
    """The revision that no other follows, read from the package's migration scripts without running them.

    Args:
        package: mlflow or dagster.

    Raises:
        IntegrityError: If there is not exactly one.
    """
    revisions, followed = _revisions(package)
    heads = revisions - followed
    if len(heads) != 1:
        raise IntegrityError(
            f"{package} must have one latest schema, got {len(heads)}. Install it again: make install"
        )
    return next(iter(heads))


def schema_of(database: Path) -> str | None:
    """The revision that a database says it is of; None where it says nothing."""
    with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        try:
            found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        except sqlite3.OperationalError:  # no such table: nothing was ever made in it
            return None
    return str(found[0]) if found else None


@cache
def _revisions(package: str) -> tuple[frozenset[str], frozenset[str]]:
    """All revisions, and those that another follows."""
    spec = find_spec(package)
    places = list(spec.submodule_search_locations or []) if spec else []
    texts = [
        path.read_text(encoding="utf-8")
        for place in places
        for path in (Path(place) / _SCRIPTS[package]).glob("*.py")
    ]
    every = frozenset(match[1] for text in texts if (match := _REVISION.search(text)))
    followed = frozenset(
        name for text in texts for after in _FOLLOWS.findall(text) for name in _NAME.findall(after)
    )
    return every, followed


def _require_known(package: str, database: Path, found: str) -> None:
    if found not in _revisions(package)[0]:
        raise IntegrityError(
            f"{database} must be of a schema that this {package} knows, got {found}, made by a later one. "
            "Install the version of moola that has written the home, or use another --home."
        )


def _set_aside(database: Path, old: str) -> Path:
    """A copy beside the database, as SQLite's own backup makes it."""
    aside = database.with_name(f"{database.name}.of-schema-{old}")
    with publishing(aside) as temporary:
        address = f"{database.absolute().as_uri()}?mode=ro"
        with (
            closing(sqlite3.connect(address, uri=True)) as source,
            closing(sqlite3.connect(temporary)) as target,
        ):
            source.backup(target)
    return aside


def _finish(migrate: Callable[[], object], database: Path, aside: Path) -> None:
    try:
        migrate()
    except Exception as fault:
        came = " ".join(str(fault).split())[:300]
        raise IntegrityError(
            f"{database} must be brought to the present schema, but that gave: {came}. "
            f"Put the copy back: mv {aside} {database}"
        ) from fault
