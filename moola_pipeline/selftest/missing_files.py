"""Files that are missing from a home, as other files in it show."""

import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from moola_pipeline.bars.store import instrument_stores
from moola_pipeline.storage.asset_checksums import checksums_file, remedy_of, without_checksums
from moola_pipeline.storage.home import Home
from moola_pipeline.storage.remote_stores import remote_tracking_uri
from moola_pipeline.storage.sqlite import open_read_only
from moola_pipeline.tracking.database_migration import DATABASE_NAME
from moola_pipeline.tracking.promotion_log import log_file
from moola_pipeline.tracking.recorded_files import RESTORE_FILE

ADD_AGAIN = 'Restore a copy of it, or register each of the files again with "moola bars add".'
HISTORY, SCHEDULES = "storage/history", "storage/schedules"


class LostFile(NamedTuple):
    """A missing file, and one line with its purpose and the remedy."""

    path: Path
    what: str


def missing_files(home: Home) -> Iterator[LostFile]:
    """Missing manifests, checksum files, databases and promotion logs.

    Simulated markets are not checked: the next run generates missing files again.
    """
    for store in instrument_stores(home):
        if not store.manifest.exists() and any(_visible(store.raw)):
            yield _lost(store.manifest, f"record the files in {store.raw}", ADD_AGAIN)
    for folder in (home.store, home.reports):
        for market in sorted(folder.glob("*/")):
            for artifact_path in without_checksums(market):
                yield _lost(
                    checksums_file(artifact_path),
                    f"hold the digests of {artifact_path.name}",
                    remedy_of(artifact_path),
                )
    yield from _tracked(home)
    runs = home.dagster / HISTORY / "runs"
    if any(path.name != "index.db" for path in runs.glob("*.db")):
        for path in (runs.with_suffix(".db"), runs / "index.db", home.dagster / SCHEDULES / "schedules.db"):
            if not path.exists():
                yield _lost(path, "hold Dagster's records other than run events", RESTORE_FILE)


def _tracked(home: Home) -> Iterator[LostFile]:
    if remote_tracking_uri():
        return
    database, log = home.tracking / DATABASE_NAME, log_file(home)
    if not database.exists():
        if any(_visible(home.tracking / "artifacts")):
            yield _lost(database, "list MLflow's runs and models", RESTORE_FILE)
    elif not log.exists() and _has_champion(database):
        yield _lost(log, "record each champion and the reason", RESTORE_FILE)


def _has_champion(database: Path) -> bool:
    with (
        suppress(sqlite3.Error),  # verify reports a damaged database separately
        open_read_only(database) as connection,
    ):
        return bool(connection.execute("SELECT 1 FROM registered_model_aliases LIMIT 1").fetchone())
    return False


def _visible(folder: Path) -> Iterator[Path]:
    return (path for path in folder.glob("*") if path.name[0] != ".")


def _lost(path: Path, task: str, remedy: str) -> LostFile:
    return LostFile(path, f"{path.name} must {task}, but it is gone. {remedy}")
