"""SQLite databases of a home: whether one can be opened at all."""

import sqlite3
from contextlib import closing
from pathlib import Path

from moola_pipeline.errors import IntegrityError
from moola_pipeline.resources.schemas import TRACKING_DATABASE, migrate_tracking

PATIENCE_SECONDS = 60


def require_database(path: Path, remedy: str) -> None:
    """Ask SQLite itself: MLflow retries for minutes on a file that is no database, Dagster dumps its query.

    MLflow's own is brought up to date where an earlier MLflow has made it.

    Raises:
        IntegrityError: If the file is there and cannot be opened as a database.
    """
    if not path.exists():
        return
    address = f"{path.absolute().as_uri()}?mode=rw"
    try:
        with closing(sqlite3.connect(address, uri=True, timeout=PATIENCE_SECONDS)) as connection:
            connection.execute("PRAGMA schema_version")
    except sqlite3.DatabaseError as fault:
        raise IntegrityError(
            f"{path} must be an SQLite database that can be opened, got: {fault}. {remedy}"
        ) from fault
    if path.name == TRACKING_DATABASE:
        migrate_tracking(path)
