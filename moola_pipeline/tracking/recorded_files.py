"""Files of runs, models and versions with a digest in MLflow's database, in the home or in a bucket."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from moola_pipeline.errors import BadInput, IntegrityError, MissingFile, MoolaError
from moola_pipeline.storage.checksums import FileDigest, require_digest, verify_digest
from moola_pipeline.storage.home import Home
from moola_pipeline.storage.remote_stores import ARTIFACTS_VARIABLE, database_errors, remote_tracking_uri
from moola_pipeline.storage.sqlite import open_read_only
from moola_pipeline.tracking.database_migration import DATABASE_NAME
from moola_pipeline.tracking.logged_model import WEIGHTS_FOLDER
from moola_pipeline.tracking.registry import CHAMPION, CONFIG_DIGEST, WEIGHTS_DIGEST
from moola_pipeline.tracking.relocation import recorded_home
from moola_pipeline.tracking.tracked_run import DIGEST_TAG

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

RESTORE_FILE = "Restore it from a backup: moola restore --force FILE"
RESTORE_DATABASE = "Restore the database from a backup: moola restore --force FILE"
RESTORE_OBJECT = "Restore the object, or log a new one: moola run --force"
ENDPOINT_VARIABLE = "MLFLOW_S3_ENDPOINT_URL"
"""Address of the S3 server of MLflow's artifacts, if it is not Amazon's."""
_BUCKET = "s3://"
_OF_RUNS = (
    "SELECT runs.artifact_uri, tags.key, tags.value FROM tags JOIN runs USING (run_uuid) "
    "WHERE tags.key LIKE :pattern AND runs.lifecycle_stage = 'active'"
)
_OF_MODELS = (
    "SELECT model.artifact_location, tag.tag_key, tag.tag_value FROM logged_model_tags AS tag "
    "JOIN logged_models AS model ON model.model_id = tag.model_id "
    "WHERE tag.tag_key LIKE :pattern AND model.lifecycle_stage = 'active'"
)
_OF_VERSIONS = (
    "SELECT COALESCE(version.storage_location, version.source), tag.key, tag.value "
    "FROM model_version_tags AS tag JOIN model_versions AS version "
    "ON version.name = tag.name AND version.version = tag.version WHERE tag.key IN (:weights, :config)"
)
_OF_CHAMPION = (
    f"{_OF_VERSIONS} AND EXISTS (SELECT 1 FROM registered_model_aliases AS alias "
    "WHERE alias.name = version.name AND alias.version = version.version "
    "AND alias.alias = :alias AND alias.name = :model)"
)
_FILES = {WEIGHTS_DIGEST: "weights.safetensors", CONFIG_DIGEST: "config.json"}


@dataclass(frozen=True)
class RecordedFile:
    """A file of MLflow's, and its digest in the database.

    Attributes:
        kind: files of runs; files of models; files of versions.
        location: Path, or URI of an object in a bucket.
        recorded: The text of its `FileDigest`; without a size if it comes from a version's tag.
    """

    kind: str
    location: str
    recorded: str

    @property
    def path(self) -> Path | None:
        """Its path in the home; None if it is in a bucket."""
        return None if self.location.startswith(_BUCKET) else Path(self.location)

    def prove(self, name: str) -> None:
        """Verify the file against the logged digest.

        Args:
            name: Name of the file in errors.

        Raises:
            FileNotFoundError, MissingFile: If it is gone.
            Truncated, ChecksumMismatch: If it is shorter, or different.
            IntegrityError: If the record in the database is damaged.
            BadInput: If the bucket does not respond.
        """
        try:
            if self.path is not None:
                verify_digest(self.path, name, FileDigest.parse(self.recorded), DATABASE_NAME, RESTORE_FILE)
            else:
                _prove_object(self.location, FileDigest.parse(self.recorded))
        except MoolaError:
            raise
        except ValueError as fault:
            raise IntegrityError(
                f"MLflow's database must record the location, SHA256 and size of {name}, got: "
                f"{' '.join(str(fault).split())[:200]}. {RESTORE_DATABASE}"
            ) from fault


def recorded_files(home: Home) -> Iterator[RecordedFile]:
    """All files of runs and logged models, from the tags of `digest_tags`, and of registered versions.

    Raises:
        sqlite3.Error: If the home's database cannot be read.
        BadInput: If the shared database does not respond.
    """
    for kind, query in (("files of runs", _OF_RUNS), ("files of models", _OF_MODELS)):
        for uri, key, value in _rows(home, query, {"pattern": f"{DIGEST_TAG}%"}):
            name = key.removeprefix(DIGEST_TAG)
            yield RecordedFile(kind, _location(home, uri, name), value)
    yield from _of_versions(home, _OF_VERSIONS, {})


def verify_champion(home: Home, model: str) -> None:
    """Verify the files of a model's champion against the registered digests, without loading the model.

    Raises:
        MissingFile: If a file is gone.
        Truncated, ChecksumMismatch: If a file is shorter, or different.
        BadInput: If a shared database, or the bucket, does not respond.
    """
    for one in _of_versions(home, _OF_CHAMPION, {"alias": CHAMPION, "model": model}):
        name = f"models:/{model}@{CHAMPION}, {one.location.rpartition('/')[2]}"
        try:
            one.prove(name)
        except FileNotFoundError as fault:
            if isinstance(fault, MoolaError):
                raise
            raise MissingFile(f"{name}: {one.location} must exist, but it is gone. {RESTORE_FILE}") from fault


def _of_versions(home: Home, query: str, chosen: Mapping[str, str]) -> Iterator[RecordedFile]:
    digests = {"weights": WEIGHTS_DIGEST, "config": CONFIG_DIGEST}
    for source, key, sha256 in _rows(home, query, {**digests, **chosen}):
        location = _location(home, source, f"artifacts/{WEIGHTS_FOLDER}/{_FILES[key]}")
        yield RecordedFile("files of versions", location, sha256)


def _rows(home: Home, query: str, values: Mapping[str, str]) -> list[tuple[str, str, str]]:
    if shared := remote_tracking_uri():
        return _shared_rows(shared, query, values)
    database = home.tracking / DATABASE_NAME
    if not database.exists():
        return []
    with open_read_only(database) as connection:
        # Damaged text affects one file only; the others can still be verified.
        connection.text_factory = lambda text: text.decode(errors="replace")
        rows = connection.execute(query, values).fetchall()
    return [(str(uri), str(key), str(value)) for uri, key, value in rows]


def _shared_rows(uri: str, query: str, values: Mapping[str, str]) -> list[tuple[str, str, str]]:
    from sqlalchemy import create_engine, text
    from sqlalchemy.pool import NullPool

    with (
        database_errors(uri, "Start it, correct the variable, or make its tables: moola run"),
        create_engine(uri, poolclass=NullPool).connect() as connection,
    ):
        return [(row[0], row[1], row[2]) for row in connection.execute(text(query), dict(values))]


def _location(home: Home, uri: str, name: str) -> str:
    """The current location of an artifact, even before a moved home has been relocated."""
    if uri.startswith(_BUCKET):
        return f"{uri.rstrip('/')}/{name}"
    before = recorded_home(home) or home.tracking.as_uri()
    below = uri.removeprefix(before).removeprefix(home.tracking.as_uri()).lstrip("/")
    return str(home.tracking / unquote(below) / name)


def _prove_object(uri: str, recorded: FileDigest) -> None:
    try:
        bucket, key = _bucket(uri)
        with bucket.open_input_stream(key) as stream:
            actual = FileDigest.of_stream(stream)
    except FileNotFoundError:
        raise MissingFile(
            f"{uri} must exist, as recorded in MLflow's database, but it is gone. {RESTORE_OBJECT}"
        ) from None
    except OSError as fault:
        came = " ".join(str(fault).split())[:300]
        raise BadInput(
            f"{ARTIFACTS_VARIABLE} must name a bucket that responds, got {uri}: {came}. "
            f"Check the server's address ({ENDPOINT_VARIABLE}) and the keys."
        ) from fault
    require_digest(actual, uri, recorded, "MLflow's database", RESTORE_OBJECT)


def _bucket(uri: str) -> "tuple[FileSystem, str]":
    from pyarrow.fs import FileSystem, S3FileSystem

    if address := os.environ.get(ENDPOINT_VARIABLE):
        scheme, _, host = address.rpartition("://")
        return S3FileSystem(endpoint_override=host, scheme=scheme or "https"), uri.removeprefix(_BUCKET)
    return FileSystem.from_uri(uri)
