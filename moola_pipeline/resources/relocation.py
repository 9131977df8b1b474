"""A moved home: the artifact paths that its MLflow database recorded are brought up to date."""

import sqlite3
from contextlib import closing

from moola_pipeline.home import Home
from moola_pipeline.publish import publish_bytes

PLACE_NAME = "place.txt"
PATH_COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("inputs", "source_id"),
)


def relocate(home: Home) -> None:
    """Replace the folder's former place by its present one wherever MLflow recorded it.

    The place is kept in a file beside the database and written last, so that an interrupted
    change is taken up again.
    """
    place = home.tracking / PLACE_NAME
    here = home.tracking.as_uri()
    before = place.read_text(errors="replace").strip() if place.exists() else None
    database = home.tracking / "mlflow.db"
    if before == here:
        return
    if before is not None and database.exists():
        with closing(sqlite3.connect(database)) as connection, connection:
            for table, column in PATH_COLUMNS:
                if _has_column(connection, table, column):
                    connection.execute(
                        f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                        f"WHERE substr({column}, 1, ?) = ?",
                        (here, len(before) + 1, len(before), before),
                    )
    publish_bytes(place, f"{here}\n".encode())


def _has_column(connection: sqlite3.Connection, table: str, column: str) -> bool:
    return column in {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
