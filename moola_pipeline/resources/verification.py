"""Everything of a home hashed again and held against what was recorded when it was kept."""

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from moola_pipeline.bars.rolls import registered_rolls
from moola_pipeline.bars.store import BarStore, read_manifest, verify_file
from moola_pipeline.errors import ChecksumMismatch, IntegrityError, MoolaError, Truncated
from moola_pipeline.home import Home
from moola_pipeline.labels.chosen_splits import read_choice
from moola_pipeline.labels.registry import RAW_NAME, has_labels, registered_files, registered_labels
from moola_pipeline.publish import left_behind
from moola_pipeline.records import FileDigest, prove_file
from moola_pipeline.resources.promotions import LOG_NAME, read_log
from moola_pipeline.resources.registry import ANNOTATOR_FOLDER, CONFIG_DIGEST, MODEL_FOLDER, WEIGHTS_DIGEST
from moola_pipeline.resources.relocation import PLACE_NAME
from moola_pipeline.resources.seals import REMEDY, SEAL_SUFFIX, sealed_files
from moola_pipeline.resources.tracking import DATABASE_NAME, DIGEST_TAG

LATER_THAN = "Put it back from a backup: moola restore FILE"
SETTINGS_NAME = "settings.json"


@dataclass(frozen=True)
class Finding:
    """A file that is not as it was recorded.

    Attributes:
        file: Below the home.
        kind: missing; truncated; changed; unreadable.
        what: One line: what must be, what is, and the remedy.
    """

    file: str
    kind: str
    what: str


@dataclass
class Verification:
    """What was proven, by kind, and what was found wrong."""

    counts: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)

    def prove(self, kind: str, file: str, proof: Callable[[], object]) -> None:
        """Count a file, and note what its proof complains of."""
        self.counts[kind] += 1
        try:
            proof()
        except FileNotFoundError as fault:
            gone = f"{file} must be there, as it was recorded, but it is gone. {_remedy_of(kind)}"
            self.findings.append(
                Finding(file, "missing", str(fault) if isinstance(fault, MoolaError) else gone)
            )
        except (MoolaError, OSError, sqlite3.Error) as fault:
            said = str(fault) if isinstance(fault, MoolaError) else f"{file}: {fault}. {_remedy_of(kind)}"
            self.findings.append(Finding(file, _kind(fault), said))


def verify_home(home: Home) -> Verification:
    """Hash again all that a home keeps: bars, labels, assets, reports, models, decisions, databases.

    Returns:
        Counts of what was looked at, by kind, and what is not as it was recorded.
    """
    found = Verification()
    markets = [BarStore(path, simulated=True) for path in sorted(home.simulated.glob("*")) if path.is_dir()]
    for store in (BarStore(home.data, simulated=False), *markets):
        _bars(found, home, store)
    for store in markets:
        _simulated(found, home, store)
    _labels(found, home)
    for folder in (home.store, home.reports):
        for seal in sorted(folder.rglob(f"*{SEAL_SUFFIX}")):
            _asset(found, home, seal)
    _tracked(found, home)
    for database in sorted([*home.dagster.rglob("*.db"), *home.tracking.glob("*.db")]):
        found.prove("databases", _below(home, database), lambda path=database: _require_sound(path))
    unfinished = sum(1 for folder in (home.data,) for _ in left_behind(folder))
    if unfinished:
        found.counts["left by killed writers, harmless"] = unfinished
    return found


def _bars(found: Verification, home: Home, store: BarStore) -> None:
    if not store.manifest.exists():
        return
    before = len(found.findings)
    found.prove("manifests", _below(home, store.manifest), lambda: read_manifest(store))
    if len(found.findings) > before:
        return
    for entry in read_manifest(store).files:
        path = store.raw / entry.file
        found.prove("bar files", _below(home, path), lambda one=entry: verify_file(store, one))
    if store.rolls.exists() and not store.simulated:
        found.prove("rolls", _below(home, store.rolls), lambda: registered_rolls(store))


def _simulated(found: Verification, home: Home, store: BarStore) -> None:
    record, remedy = store.root / SETTINGS_NAME, store.remedy("")

    def digests() -> dict[str, str]:
        try:
            return json.loads(record.read_bytes())["files"]
        except (ValueError, KeyError, TypeError):
            raise IntegrityError(
                f"{SETTINGS_NAME} must record the market, but it cannot be read. {remedy}"
            ) from None

    before = len(found.findings)
    found.prove("records of simulated markets", _below(home, record), digests)
    if len(found.findings) > before:
        return
    for name, sha256 in digests().items():
        path, recorded = store.root / name, FileDigest(sha256, None)
        found.prove(
            "simulated files",
            _below(home, path),
            lambda path=path, one=recorded: prove_file(path, path.name, one, SETTINGS_NAME, remedy),
        )


def _labels(found: Verification, home: Home) -> None:
    folder = home.labels
    if (home.data / "splits.json").exists():
        found.prove("split dates", "data/splits.json", lambda: read_choice(home.data))
    if not folder.exists():
        return
    before = len(found.findings)
    found.prove("labels", _below(home, folder), lambda: has_labels(folder) and registered_labels(folder))
    if len(found.findings) > before:
        return
    for ledger in registered_files(folder):
        path, recorded = folder / RAW_NAME / ledger.file, FileDigest(ledger.sha256, None)
        remedy = f"The labels made from it are whole; put the file back as {path}, or from a backup."
        found.prove(
            "label files",
            _below(home, path),
            lambda path=path, one=recorded, do=remedy: prove_file(path, path.name, one, "ledger.json", do),
        )


def _asset(found: Verification, home: Home, seal: Path) -> None:
    place, before = seal.with_name(seal.name.removesuffix(SEAL_SUFFIX)), len(found.findings)
    found.prove("seals", _below(home, seal), lambda: sealed_files(place))
    if len(found.findings) > before:
        return
    for name, recorded in sealed_files(place).items():
        path = place.parent / name
        found.prove(
            "files of assets",
            _below(home, path),
            lambda path=path, name=name, one=recorded: prove_file(path, name, one, seal.name, REMEDY),
        )


def _tracked(found: Verification, home: Home) -> None:
    log, database = home.tracking / LOG_NAME, home.tracking / DATABASE_NAME
    if log.exists():
        found.prove("promotion logs", _below(home, log), lambda: read_log(home))
    if not database.exists():
        return
    try:
        kept = [*_artifacts(home, database), *_versions(home, database)]
    except sqlite3.Error:
        return  # said where the databases are looked at
    for kind, path, recorded in kept:
        found.prove(
            kind,
            _below(home, path),
            lambda path=path, one=recorded: prove_file(
                path, _below(home, path), one, DATABASE_NAME, LATER_THAN
            ),
        )


def _artifacts(home: Home, database: Path) -> Iterator[tuple[str, Path, FileDigest]]:
    """What runs logged, by the tags that `TrackedRun` set."""
    rows = _rows(
        database,
        "SELECT runs.artifact_uri, tags.key, tags.value FROM tags JOIN runs USING (run_uuid) "
        "WHERE tags.key LIKE ? AND runs.lifecycle_stage = 'active'",
        f"{DIGEST_TAG}%",
    )
    for uri, key, value in rows:
        sha256, _, size = value.partition(" ")
        name = key.removeprefix(DIGEST_TAG)
        kind = "files of models" if name.startswith(f"{MODEL_FOLDER}/") else "files of runs"
        yield kind, _folder(home, uri) / name, FileDigest(sha256, int(size))


def _versions(home: Home, database: Path) -> Iterator[tuple[str, Path, FileDigest]]:
    """Weights and config of each registered version, by the version's own tags."""
    rows = _rows(
        database,
        "SELECT version.source, tag.key, tag.value "
        "FROM model_version_tags AS tag JOIN model_versions AS version "
        "ON version.name = tag.name AND version.version = tag.version WHERE tag.key IN (?, ?)",
        WEIGHTS_DIGEST,
        CONFIG_DIGEST,
    )
    names = {WEIGHTS_DIGEST: "weights.safetensors", CONFIG_DIGEST: "config.json"}
    for source, key, sha256 in rows:
        folder = _folder(home, source) / "artifacts" / ANNOTATOR_FOLDER
        yield "files of versions", folder / names[key], FileDigest(sha256, None)


def _folder(home: Home, uri: str) -> Path:
    """Where an artifact folder lies now: a moved home is brought up to date when it is opened."""
    place = home.tracking / PLACE_NAME
    before = place.read_text(errors="replace").strip() if place.exists() else home.tracking.as_uri()
    return home.tracking / unquote(uri.removeprefix(before).removeprefix(home.tracking.as_uri()).lstrip("/"))


def _require_sound(path: Path) -> None:
    said = [row[0] for row in _rows(path, "PRAGMA integrity_check")]
    if said != ["ok"]:
        raise IntegrityError(f"{path.name} must be a sound SQLite database, got: {said[0]}. {LATER_THAN}")


def _rows(path: Path, query: str, *values: str) -> list[tuple]:
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        return connection.execute(query, values).fetchall()


def _kind(fault: Exception) -> str:
    if isinstance(fault, Truncated):
        return "truncated"
    if isinstance(fault, ChecksumMismatch):
        return "changed"
    return "unreadable"


def _remedy_of(kind: str) -> str:
    return REMEDY if kind in ("files of assets", "seals") else LATER_THAN


def _below(home: Home, path: Path) -> str:
    return path.relative_to(home.root).as_posix() if path.is_relative_to(home.root) else str(path)
