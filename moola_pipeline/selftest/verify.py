"""Verify a home: hash all its files, and compare them with their recorded digests."""

import os
import sqlite3
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from moola_pipeline.bars.rolls import registered_rolls
from moola_pipeline.bars.store import (
    BarStore,
    instrument_stores,
    read_manifest,
    verify_file,
    verify_parsed,
    verify_quarantined,
)
from moola_pipeline.errors import BadInput, ChecksumMismatch, IntegrityError, MoolaError, Truncated
from moola_pipeline.labels.annotators import CHOICE_NAME as LABEL_CHOICE_NAME
from moola_pipeline.labels.annotators import read_label_choice
from moola_pipeline.labels.chosen_splits import CHOICE_NAME, read_split_choice
from moola_pipeline.labels.definitions import definition_texts
from moola_pipeline.labels.ledger import LabelLedger
from moola_pipeline.labels.registry import (
    LEDGER_NAME,
    RAW_NAME,
    has_labels,
    registered_files,
    registered_judgments,
    registered_labels,
)
from moola_pipeline.labels.simulated import SETTINGS_NAME, recorded_digests
from moola_pipeline.report.chosen_target import CHOICE_NAME as TARGET_CHOICE_NAME
from moola_pipeline.report.chosen_target import read_target_choice
from moola_pipeline.selftest.missing_files import missing_files
from moola_pipeline.storage.asset_checksums import (
    CHECKSUMS_SUFFIX,
    artifact_path_of,
    checksums_file,
    read_checksums,
    remedy_of,
)
from moola_pipeline.storage.atomic_write import files_below, stale_temporary_files
from moola_pipeline.storage.bucket import REMEDY as BUCKET_REMEDY
from moola_pipeline.storage.bucket import pushed, verify_pushed
from moola_pipeline.storage.checksums import FileDigest, verify_digest
from moola_pipeline.storage.home import Home
from moola_pipeline.storage.remote_stores import STORE_VARIABLE
from moola_pipeline.storage.sqlite import open_read_only
from moola_pipeline.tracking.promotion_log import LOG_NAME, read_log
from moola_pipeline.tracking.recorded_files import RESTORE_DATABASE, RESTORE_FILE, recorded_files
from moola_pipeline.tracking.runs import DATABASE_NAME

T = TypeVar("T")


@dataclass(frozen=True)
class DamagedFile:
    """A file that differs from its record.

    Attributes:
        file: Path below the home.
        kind: missing; truncated; changed; unreadable.
        what: One line with the requirement, the finding and the remedy.
    """

    file: str
    kind: str
    what: str


@dataclass(frozen=True)
class Verification:
    """Number of verified files by kind, and the damaged files."""

    home: Home
    counts: Counter[str] = field(default_factory=Counter)
    findings: list[DamagedFile] = field(default_factory=list)

    def prove(
        self, kind: str, file: Path | str, proof: Callable[[], T], remedy: str = RESTORE_FILE
    ) -> T | None:
        """Count a file and return the result of its proof; on an error, add a finding and return None."""
        self.counts[kind] += 1
        name = self.name_of(file)
        try:
            return proof()
        except FileNotFoundError as fault:
            gone = f"{name} must exist, as recorded, but it is gone. {remedy}"
            self.note(file, "missing", str(fault) if isinstance(fault, MoolaError) else gone)
        except (MoolaError, OSError, sqlite3.Error) as fault:
            message = str(fault) if isinstance(fault, MoolaError) else f"{name}: {fault}. {remedy}"
            self.note(file, _kind(fault), message)
        return None

    def note(self, file: Path | str, kind: str, what: str) -> None:
        """Add a finding."""
        self.findings.append(DamagedFile(self.name_of(file), kind, what))

    def names(self, file: Path | str) -> bool:
        """Whether there is already a finding for the file."""
        return self.name_of(file) in {finding.file for finding in self.findings}

    def name_of(self, file: Path | str) -> str:
        """A file's name in findings: its path below the home, or its address."""
        if isinstance(file, Path) and file.is_relative_to(self.home.root):
            return file.relative_to(self.home.root).as_posix()
        return str(file)


def verify_home(home: Home) -> Verification:
    """Verify all of a home: bars, labels, assets, reports, models, promotion log, databases.

    Returns:
        Number of verified files by kind, and the damaged files.
    """
    result = Verification(home)
    markets = [BarStore(path, simulated=True) for path in sorted(home.simulated.glob("*")) if path.is_dir()]
    for store in (*instrument_stores(home), *markets):
        _bars(result, store)
    for store in markets:
        _simulated(result, store)
    for store in instrument_stores(home):
        _labels(result, store)
    for folder in (home.store, home.reports):
        for artifact_path in map(artifact_path_of, sorted(folder.rglob(f"*{CHECKSUMS_SUFFIX}"))):
            _asset(result, artifact_path)
            if os.environ.get(STORE_VARIABLE):
                _pushed(result, home, artifact_path)
    for database in sorted([*files_below(home.dagster, "*.db"), *home.tracking.glob("*.db")]):
        result.prove("databases", database, lambda path=database: _require_sound(path))
    _target(result, home)
    _tracked(result, home)
    for path, what in missing_files(home):
        result.note(path, "missing", what)
    if unfinished := len(stale_temporary_files(home.data)):
        result.counts["unfinished temporary files, harmless"] = unfinished
    return result


def _bars(result: Verification, store: BarStore) -> None:
    if not store.manifest.exists():
        return
    manifest = result.prove("manifests", store.manifest, lambda: read_manifest(store))
    if manifest is None:
        return
    for entry in manifest.files:
        result.prove("bar files", store.raw / entry.file, lambda one=entry: verify_file(store, one))
        result.prove("parsed bar files", store.parsed(entry), lambda one=entry: verify_parsed(store, one))
        if entry.rejected_sha256 is not None:
            aside = store.quarantined(entry)
            result.prove("rows set aside", aside, lambda one=entry: verify_quarantined(store, one))
    if store.rolls.exists() or manifest.rolls:
        result.prove("rolls", store.rolls, lambda: registered_rolls(store))


def _simulated(result: Verification, store: BarStore) -> None:
    record, remedy = store.root / SETTINGS_NAME, store.remedy("")
    digests = result.prove("records of simulated markets", record, lambda: recorded_digests(store))
    for name, recorded in (digests or {}).items():
        path = store.root / name
        result.prove(
            "simulated files",
            path,
            lambda path=path, one=recorded: verify_digest(path, path.name, one, SETTINGS_NAME, remedy),
        )


def _target(result: Verification, home: Home) -> None:
    if (target := home.data / TARGET_CHOICE_NAME).exists():
        result.prove("target", target, lambda: read_target_choice(home.data))


def _labels(result: Verification, store: BarStore) -> None:
    folder, choice, annotator = store.labels, store.root / CHOICE_NAME, store.root / LABEL_CHOICE_NAME
    if annotator.exists():
        result.prove("choice of labels", annotator, lambda: read_label_choice(store.root))
    if choice.exists():
        result.prove("split dates", choice, lambda: read_split_choice(store.root))
    if not folder.exists():
        return
    files = result.prove("labels", folder, lambda: _proven_labels(folder))
    for ledger in files or ():
        path, recorded = folder / RAW_NAME / ledger.file, FileDigest(ledger.sha256, None)
        remedy = f"The labels made from it are intact. Restore the file as {path}, or from a backup."
        result.prove(
            "label files",
            path,
            lambda path=path, one=recorded, do=remedy: verify_digest(path, path.name, one, LEDGER_NAME, do),
        )


def _proven_labels(folder: Path) -> list[LabelLedger]:
    """The ledgers of the registered files, after verifying judgments, their labels, and definitions."""
    definition_texts(folder)
    if has_labels(folder):
        registered_labels(folder)
        registered_judgments(folder)
    return registered_files(folder)


def _asset(result: Verification, artifact_path: Path) -> None:
    checksums, remedy = checksums_file(artifact_path), remedy_of(artifact_path)
    files = result.prove("checksum files", checksums, lambda: read_checksums(artifact_path), remedy)
    for name, recorded in (files or {}).items():
        path = artifact_path.parent / name
        result.prove(
            "files of assets",
            path,
            lambda path=path, name=name, one=recorded: verify_digest(path, name, one, checksums.name, remedy),
            remedy,
        )


def _pushed(result: Verification, home: Home, artifact_path: Path) -> None:
    """Verify the bucket by its own checksum file: another machine may have rebuilt the asset."""
    kind = "assets checked in the bucket"
    files = result.prove(
        kind, checksums_file(artifact_path), lambda: pushed(home, artifact_path), BUCKET_REMEDY
    )
    for address, recorded in (files or {}).items():
        result.prove(
            "files in the bucket",
            address,
            lambda address=address, one=recorded: verify_pushed(address, one),
            BUCKET_REMEDY,
        )


def _tracked(result: Verification, home: Home) -> None:
    log, database = home.tracking / LOG_NAME, home.tracking / DATABASE_NAME
    if log.exists():
        result.prove("promotion logs", log, lambda: read_log(home))
    try:
        files = list(recorded_files(home))
    except sqlite3.Error as fault:
        if not result.names(database):
            what = f"{DATABASE_NAME} must list the files of runs and models, got: {fault}. {RESTORE_DATABASE}"
            result.note(database, "unreadable", what)
        return
    except BadInput as fault:
        result.note(DATABASE_NAME, "unreadable", str(fault))
        return
    for one in files:
        location = one.path or one.location
        if not result.names(location):  # a version's files are files of its run, too
            result.prove(
                one.kind,
                location,
                lambda one=one, location=location: one.prove(result.name_of(location)),
            )


def _require_sound(path: Path) -> None:
    results = [row[0] for row in _rows(path, "PRAGMA integrity_check")]
    if results != ["ok"]:
        raise IntegrityError(
            f"{path.name} must be an intact SQLite database, got: {results[0]}. {RESTORE_FILE}"
        )
    if not _rows(path, "SELECT 1 FROM sqlite_master LIMIT 1"):
        size = path.stat().st_size
        raise Truncated(f"{path.name} must hold tables, but its {size:,} bytes hold none. {RESTORE_FILE}")


def _rows(path: Path, query: str) -> list[tuple]:
    with open_read_only(path) as connection:
        return connection.execute(query).fetchall()


def _kind(fault: Exception) -> str:
    if isinstance(fault, Truncated):
        return "truncated"
    if isinstance(fault, ChecksumMismatch):
        return "changed"
    return "unreadable"
