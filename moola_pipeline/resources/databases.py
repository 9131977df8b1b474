"""SQLite databases of a home: whether one can be opened at all."""

import sqlite3
from contextlib import closing
from pathlib import Path

from moola_pipeline.errors import IntegrityError
from moola_pipeline.resources.schemas import migrate_tracking

DATABASE_NAME = "mlflow.db"
"""MLflow's database in a home; all others there are Dagster's."""

PATIENCE_SECONDS = 60


def require_database(path: Path, remedy: str) -> None:
    """Ask SQLite itself: MLflow retries for minutes on a file that is no database, Dagster dumps its query.

    MLflow's own is brought up to date where an earlier MLflow has made it.

    Raises:
        IntegrityError: If the file is there and cannot be opened as a database, or if it is MLflow's and
            lacks its tables: MLflow would make them anew, and every run and champion be gone.
    """
    if not path.exists():
        return
    address = f"{path.absolute().as_uri()}?mode=rw"
    try:
        with closing(sqlite3.connect(address, uri=True, timeout=PATIENCE_SECONDS)) as connection:
            connection.execute("PRAGMA schema_version")
            made = path.name != DATABASE_NAME or _has_schema(connection)
    except sqlite3.DatabaseError as fault:
        raise IntegrityError(
            f"{path} must be an SQLite database that can be opened, got: {fault}. {remedy}"
        ) from fault
    if not made:
        raise IntegrityError(
            f"{path} must hold MLflow's tables and their revision, got {path.stat().st_size:,} bytes "
            f"without. {remedy}"
        )
    if path.name == DATABASE_NAME:
        migrate_tracking(path)


def _has_schema(connection: sqlite3.Connection) -> bool:
    """Whether MLflow has made its tables to the end: it notes their revision last."""
    named = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone()
    return bool(named and connection.execute("SELECT 1 FROM alembic_version").fetchone())
