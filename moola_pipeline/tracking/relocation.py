"""Update of the artifact paths in MLflow's database after a home was moved."""

import sqlite3
from contextlib import closing, suppress

from moola_pipeline.storage.atomic_write import atomic_write_bytes
from moola_pipeline.storage.home import Home
from moola_pipeline.storage.sqlite import open_read_only
from moola_pipeline.tracking.database_migration import DATABASE_NAME

HOME_PATH_NAME = "place.txt"
PATH_COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("inputs", "source_id"),
)


def relocate(home: Home) -> None:
    """Replace the folder's former path by the current one in all of MLflow's records.

    The path is stored in a file beside the database. It is written last, so an interrupted update
    is repeated.
    """
    path_file, database = home.tracking / HOME_PATH_NAME, home.tracking / DATABASE_NAME
    here, before = home.tracking.as_uri(), recorded_home(home)
    if before == here and path_file.exists():
        return
    if before not in (None, here) and database.exists():
        with closing(sqlite3.connect(database)) as connection, connection:
            for table, column in PATH_COLUMNS:
                if _has_column(connection, table, column):
                    connection.execute(
                        f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                        f"WHERE substr({column}, 1, ?) = ?",
                        (here, len(before) + 1, len(before), before),
                    )
    atomic_write_bytes(path_file, f"{here}\n".encode())


def recorded_home(home: Home) -> str | None:
    """URI of the MLflow folder at the time its paths were recorded; None if there are none.

    Read from the file of `relocate`, else from the recorded paths.
    """
    path_file, database = home.tracking / HOME_PATH_NAME, home.tracking / DATABASE_NAME
    if path_file.exists():
        return path_file.read_text(errors="replace").strip()
    if not database.exists():
        return None
    with (
        suppress(sqlite3.Error),  # a database without tables has no paths
        open_read_only(database) as connection,
    ):
        row = connection.execute(
            "SELECT artifact_location FROM experiments WHERE artifact_location LIKE 'file:///%/artifacts/%' "
            "ORDER BY experiment_id LIMIT 1"
        ).fetchone()
        return None if row is None else row[0].rpartition("/artifacts/")[0]
    return None


def _has_column(connection: sqlite3.Connection, table: str, column: str) -> bool:
    return column in {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
