"""Model versions in MLflow's registry: register, find, load and verify."""

import hashlib
import json
import re
import sqlite3
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moola_pipeline.errors import BadInput, IntegrityError, MissingArtifact
from moola_pipeline.storage.atomic_write import file_sha256, locked
from moola_pipeline.storage.checksums import OWN_SHA256
from moola_pipeline.storage.crash_injection import crash_point
from moola_pipeline.storage.home import Home
from moola_pipeline.storage.remote_stores import remote_tracking_uri
from moola_pipeline.storage.sqlite import open_read_only
from moola_pipeline.tracking.database_migration import DATABASE_NAME
from moola_pipeline.tracking.logged_model import WEIGHTS_FOLDER, create_version, log_model
from moola_pipeline.tracking.runs import open_store
from moola_pipeline.tracking.tracked_run import TrackedRun

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    from moola_pipeline.models.expansion_model import ExpansionModel

CHAMPION, CHALLENGER = "champion", "challenger"
MODEL_URI = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[\w-]+)|/(?P<version>\d+))")
MODEL_DIGEST, WEIGHTS_DIGEST, CONFIG_DIGEST = "model.sha256", "weights.sha256", "config.sha256"
DIGEST_TAGS = (MODEL_DIGEST, WEIGHTS_DIGEST, CONFIG_DIGEST)
"""Tags of a version: digests of the model (weights, span proposer, thresholds) and of its two files."""
ORIGIN_TAGS = ("data.sha256", "labels.sha256", "simulated", "profile")
"""Tags of a version that say what it was made from."""
ALIASED = "SELECT version FROM registered_model_aliases WHERE name = ? AND alias = ?"
"""Query on MLflow's database."""


@dataclass(frozen=True)
class Registered:
    """A version, and whether it is new; False if the same model was registered before."""

    version: str
    is_new: bool


def register(
    home: Home,
    run: TrackedRun,
    name: str,
    model: "ExpansionModel",
    facts: Mapping[str, Any],
    tags: Mapping[str, Any],
) -> Registered:
    """Register a model as the newest version, alias `challenger`.

    If the same model is registered already, bit for bit, no version is created: the existing one gets
    the tags and the alias.

    Args:
        home: The home with the registry.
        run: The MLflow run whose output the model is.
        name: Name of the registered model.
        model: The model.
        facts: Facts of its training, stored in its config beside `model_version`.
        tags: Scores and digests, set on the version.
    """
    from moola_pipeline.models.expansion_model import save_expansion_model

    client = run.client
    texts = {key: str(value) for key, value in tags.items()}
    with locked(home.tracking / "registry"), tempfile.TemporaryDirectory() as folder:
        known = versions(client, name)
        version = str(max((int(one.version) for one in known), default=0) + 1)
        weights = Path(folder) / WEIGHTS_FOLDER
        save_expansion_model(weights, model, {**facts, "model_version": version})
        digests = model_digests(weights)
        if existing := registered_as(home, client, name, digests[MODEL_DIGEST]):
            for key, text in texts.items():
                client.set_model_version_tag(name, existing, key, text)
            client.set_registered_model_alias(name, CHALLENGER, existing)
            return Registered(existing, is_new=False)
        crash_point("registry.before_version")
        kept_tags = {key: texts[key] for key in ORIGIN_TAGS if key in texts}
        model_id = log_model(run, name, Path(folder), facts, kept_tags | digests)
        if not known:
            client.create_registered_model(name)
        created = create_version(run, name, model_id, texts | digests)
        if str(created.version) != version:
            raise IntegrityError(
                f"{name}: the registry gave version {created.version}, expected {version}. Run again."
            )
        crash_point("registry.after_version")
        client.set_registered_model_alias(name, CHALLENGER, version)
    return Registered(version, is_new=True)


def registered_as(home: Home, client: "MlflowClient", name: str, model_digest: str) -> str | None:
    """The version with this model digest and intact files; None if there is none."""
    same = [one for one in versions(client, name) if one.tags.get(MODEL_DIGEST) == model_digest]
    return next((str(one.version) for one in same if _is_intact(home, one)), None)


def model_digests(folder: Path) -> dict[str, str]:
    """DIGEST_TAGS of a saved model; the model digest does not cover the facts of its training."""
    from moola_pipeline.models.expansion_model import CONFIG_FILE, WEIGHTS_FILE

    config = json.loads((folder / CONFIG_FILE).read_bytes())
    for name in ("facts", OWN_SHA256):  # neither affects a prediction
        config.pop(name, None)
    return {
        MODEL_DIGEST: hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest(),
        WEIGHTS_DIGEST: file_sha256(folder / WEIGHTS_FILE),
        CONFIG_DIGEST: file_sha256(folder / CONFIG_FILE),
    }


def champion_version(home: Home, name: str) -> str | None:
    """The champion's version; None if there is none."""
    return _aliased(home, name, CHAMPION)


def is_registered(home: Home, name: str) -> bool:
    """Whether the registry has a version of the model."""
    return _aliased(home, name, CHALLENGER) is not None


def _aliased(home: Home, name: str, alias: str) -> str | None:
    """As `version_of`, but without importing MLflow (over a second) if its database is readable."""
    database = home.tracking / DATABASE_NAME
    if remote_tracking_uri() is None and database.exists():
        try:
            with open_read_only(database) as connection:
                row = connection.execute(ALIASED, (name, alias)).fetchone()
            return str(row[0]) if row else None
        except sqlite3.Error:
            pass  # busy, damaged or of an earlier MLflow: the client handles it or raises
    return version_of(open_store(home), name, alias)


def version_of(client: "MlflowClient", name: str, alias: str) -> str | None:
    """The version with an alias; None if there is no such model or alias."""
    from mlflow.exceptions import MlflowException

    try:
        return str(client.get_model_version_by_alias(name, alias).version)
    except MlflowException:
        return None


def load_version(home: Home, uri: str) -> "tuple[ExpansionModel, dict[str, Any]]":
    """The model of `models:/NAME@ALIAS` or `models:/NAME/VERSION`, and the facts of its training.

    Raises:
        BadInput: If the text is not such a URI.
        MissingArtifact: If there is no such model, alias or version.
        IntegrityError: If its files are gone, or differ from the registered ones.
    """
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    from moola_pipeline.models.expansion_model import load_expansion_model

    parts = MODEL_URI.fullmatch(uri)
    if parts is None:
        raise BadInput(
            f"--model must be models:/NAME@ALIAS or models:/NAME/VERSION, got {uri!r}. "
            "Write it as models:/moola-nq@champion, for example."
        )
    client = open_store(home)
    try:
        if parts["alias"]:
            registered = client.get_model_version_by_alias(parts["name"], parts["alias"])
        else:
            registered = client.get_model_version(parts["name"], parts["version"])
    except MlflowException as fault:
        raise _not_registered(client, uri) from fault
    try:
        source = client.get_model_version_download_uri(registered.name, registered.version)
        folder = Path(download_artifacts(source, tracking_uri=client.tracking_uri))
        weights = folder / "artifacts" / WEIGHTS_FOLDER
        loaded = load_expansion_model(weights)
        _require_digests(weights, registered.tags)
        return loaded
    except (MlflowException, OSError, IntegrityError) as fault:
        named = (
            f": {str(fault).removesuffix(' Train it again.')}" if isinstance(fault, IntegrityError) else ""
        )
        raise IntegrityError(
            f"{uri}: the files of version {registered.version} must match their registration, but they are "
            f"gone or changed{named.rstrip('.')}. Restore {home.tracking}, or move it away and run: moola run"
        ) from fault


def _not_registered(client: "MlflowClient", uri: str) -> MissingArtifact:
    known = [f"models:/{model.name}@{CHAMPION}" for model in client.search_registered_models()]
    choice = f"Choose one with --model {' or '.join(sorted(known))}, or train" if known else "Train"
    return MissingArtifact(
        f"{uri} must be a registered model, but it is not. {choice} one on your own bars: "
        "moola bars add FILE && moola labels add FILE && moola run"
    )


def versions(client: "MlflowClient", name: str) -> "list[ModelVersion]":
    """All versions of a model, oldest first; empty if there is no such model."""
    unordered = client.search_model_versions(f"name = '{name}'")
    return sorted(unordered, key=lambda one: int(one.version))


def _require_digests(folder: Path, recorded: Mapping[str, str]) -> None:
    for name, digest in model_digests(folder).items():
        if recorded.get(name) != digest:
            raise IntegrityError(f"{name} is {digest}, the registry records {recorded.get(name)}")


def _is_intact(home: Home, found: "ModelVersion") -> bool:
    try:
        load_version(home, f"models:/{found.name}/{found.version}")
    except IntegrityError:
        return False
    return True
