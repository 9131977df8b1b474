"""Import of a champion from another home: verified, copied, tagged as imported."""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pandas as pd

from moola_pipeline.errors import BadInput, IntegrityError
from moola_pipeline.storage.home import Home
from moola_pipeline.storage.sqlite import open_read_only
from moola_pipeline.tracking.database_migration import DATABASE_NAME
from moola_pipeline.tracking.logged_model import WEIGHTS_FOLDER
from moola_pipeline.tracking.registry import (
    CHALLENGER,
    CHAMPION,
    DIGEST_TAGS,
    MODEL_DIGEST,
    ORIGIN_TAGS,
    Registered,
    model_digests,
    register,
    registered_as,
)
from moola_pipeline.tracking.relocation import recorded_home
from moola_pipeline.tracking.runs import experiment_id, open_store
from moola_pipeline.tracking.tracked_run import TrackedRun, source_tags

IMPORTED = "imported"


@dataclass(frozen=True)
class ForeignVersion:
    """A champion of another home.

    Attributes:
        folder: Folder with its files, in that home.
        tags: Its tags in that home.
    """

    model: str
    version: str
    folder: Path
    tags: Mapping[str, str]


@dataclass(frozen=True)
class ImportedVersion:
    """Result of an import: the version in this home, and the original."""

    model: str
    registered: Registered
    foreign: ForeignVersion


def import_champion(home: Home, other: Home, model: str | None) -> ImportedVersion:
    """Register the champion of another home in this one, as challenger; the other home is not changed.

    Raises:
        BadInput: If the other is this home, has no registry, or no champion of that name.
        IntegrityError: If its files are gone, were changed, or have another schema.
    """
    from moola_pipeline.models.expansion_model import load_expansion_model

    if other.root.resolve() == home.root.resolve():
        raise BadInput("HOME must not be the home in use, got the same. Choose another folder.")
    foreign = find_champion(other, model)
    named = f"version {foreign.version} of {foreign.model}"
    try:
        loaded, facts = load_expansion_model(foreign.folder)
    except IntegrityError as fault:
        raise IntegrityError(_refusal(named, str(fault).removesuffix(" Train it again."))) from fault
    digests = model_digests(foreign.folder)
    for name in DIGEST_TAGS:
        if foreign.tags.get(name) != digests[name]:
            raise IntegrityError(
                _refusal(
                    named, f"{name} is {digests[name]}, its registry records {foreign.tags.get(name, 'none')}"
                )
            )
    _require_facts(named, foreign.model, facts)
    origin = {f"{IMPORTED}.{name}": digest for name, digest in digests.items()}
    origin |= {IMPORTED: "True", f"{IMPORTED}.version": foreign.version}
    kept_tags = {name: foreign.tags[name] for name in ORIGIN_TAGS if name in foreign.tags}
    client = open_store(home)
    if same := registered_as(home, client, foreign.model, digests[MODEL_DIGEST]):
        client.set_registered_model_alias(foreign.model, CHALLENGER, same)
        return ImportedVersion(foreign.model, Registered(same, is_new=False), foreign)
    experiment = experiment_id(client, home, foreign.model)
    own_tags = {**kept_tags, **origin, **source_tags()}
    run_id = client.create_run(experiment, tags=own_tags, run_name="import").info.run_id
    facts = {**facts, IMPORTED: {"version": foreign.version, **digests}, "mlflow_run_id": run_id}
    run = TrackedRun(client, experiment, run_id)
    registered = register(home, run, foreign.model, loaded, facts, {**kept_tags, **origin})
    client.set_terminated(run_id, "FINISHED")
    return ImportedVersion(foreign.model, registered, foreign)


def find_champion(other: Home, model: str | None) -> ForeignVersion:
    """The champion in another home's registry, which is opened read-only.

    Raises:
        BadInput: If there is no registry, no champion of that name, or several and no name.
        IntegrityError: If the registry cannot be read.
    """
    database = other.tracking / DATABASE_NAME
    if not database.is_file():
        raise BadInput(
            f"HOME must hold a registry ({database.relative_to(other.root)}), but {other.root} does not. "
            "Name the --home folder in which the model was trained."
        )
    try:
        with open_read_only(database) as connection:
            champions = _champions(connection)
            chosen = _chosen(champions, model)
            version, source = champions[chosen]
            tags = connection.execute(
                "SELECT key, value FROM model_version_tags WHERE name = ? AND version = ?", (chosen, version)
            ).fetchall()
    except sqlite3.Error as fault:
        raise IntegrityError(
            f"HOME must hold a readable registry, but {database.name} is not readable ({fault}). "
            "Import from a backup of that home."
        ) from fault
    return ForeignVersion(chosen, str(version), _folder(other, source), dict(tags))


def _champions(connection: sqlite3.Connection) -> dict[str, tuple[int, str]]:
    rows = connection.execute(
        "SELECT alias.name, alias.version, COALESCE(version.storage_location, version.source) "
        "FROM registered_model_aliases AS alias "
        "JOIN model_versions AS version ON version.name = alias.name AND version.version = alias.version "
        "WHERE alias.alias = ?",
        (CHAMPION,),
    )
    return {name: (version, source) for name, version, source in rows}


def _chosen(found: Mapping[str, Any], model: str | None) -> str:
    if model is None and len(found) == 1:
        return next(iter(found))
    if model in found:
        return str(model)
    names = ", ".join(sorted(found)) or "none"
    wanted = f"--model must name one of HOME's champions, got {model}" if model else "--model must choose one"
    remedy = "Name one of these" if found else "Train a model there first"
    raise BadInput(f"{wanted}. HOME has champions of: {names}. {remedy}.")


def _folder(other: Home, source: str) -> Path:
    """The current folder of a version's files: MLflow recorded the one before the home was moved."""
    recorded = recorded_home(other) or other.tracking.as_uri()
    below = unquote(source.removeprefix(recorded).lstrip("/"))
    folder = (other.tracking / below / "artifacts" / WEIGHTS_FOLDER).resolve()
    if not source.startswith(recorded) or not folder.is_relative_to(other.tracking.resolve()):
        raise IntegrityError(
            "The champion's files must lie in HOME, but its registry names another folder. "
            "Import from the home itself."
        )
    return folder


def _require_facts(named: str, model: str, facts: Mapping[str, Any]) -> None:
    """Require the facts that this home needs to serve the version and to compare others with it."""
    if facts.get("model") != model:
        raise IntegrityError(_refusal(named, f"its config names {facts.get('model')}"))
    last_bar = pd.to_datetime(str(facts.get("last_bar_seen")), utc=True, errors="coerce")
    if pd.isna(last_bar):
        raise IntegrityError(_refusal(named, "its config does not name the last bar that it was fitted on"))


def _refusal(named: str, fault: str) -> str:
    return (
        f"{named} must be in HOME as registered, but {fault.rstrip('.')}. "
        "Import from a backup of that home, or train it there again."
    )
