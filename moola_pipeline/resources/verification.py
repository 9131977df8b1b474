"""Everything of a home hashed again and held against what was recorded when it was kept."""

import os
import sqlite3
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from moola_pipeline.bars.rolls import registered_rolls
from moola_pipeline.bars.store import BarStore, read_manifest, verify_file, verify_quarantined
from moola_pipeline.errors import BadInput, ChecksumMismatch, IntegrityError, MoolaError, Truncated
from moola_pipeline.labels.chosen_splits import read_choice
from moola_pipeline.labels.ledger import LabelLedger
from moola_pipeline.labels.registry import RAW_NAME, has_labels, registered_files, registered_labels
from moola_pipeline.labels.simulated import SETTINGS_NAME, recorded_digests
from moola_pipeline.resources.absences import absences
from moola_pipeline.storage.atomic_write import files_below, left_behind
from moola_pipeline.storage.bucket import REMEDY as BUCKET_REMEDY
from moola_pipeline.storage.bucket import prove_pushed, pushed
from moola_pipeline.storage.checksums import (
    SEAL_SUFFIX,
    FileDigest,
    prove_file,
    remedy_of,
    seal_file,
    sealed_files,
)
from moola_pipeline.storage.home import Home
from moola_pipeline.storage.remote_stores import STORE_VARIABLE
from moola_pipeline.storage.sqlite import reading
from moola_pipeline.tracking.promotion_log import LOG_NAME, read_log
from moola_pipeline.tracking.recorded_files import LATER_THAN, OTHER_RECORD, recorded_files
from moola_pipeline.tracking.runs import DATABASE_NAME

T = TypeVar("T")


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

    def prove(self, kind: str, file: str, proof: Callable[[], T], remedy: str = LATER_THAN) -> T | None:
        """What the proof of a file returns; None, and a finding, if it complains. Counts the file."""
        self.counts[kind] += 1
        try:
            return proof()
        except FileNotFoundError as fault:
            gone = f"{file} must be there, as it was recorded, but it is gone. {remedy}"
            self.findings.append(
                Finding(file, "missing", str(fault) if isinstance(fault, MoolaError) else gone)
            )
        except (MoolaError, OSError, sqlite3.Error) as fault:
            said = str(fault) if isinstance(fault, MoolaError) else f"{file}: {fault}. {remedy}"
            self.findings.append(Finding(file, _kind(fault), said))
        return None


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
            if os.environ.get(STORE_VARIABLE):
                _pushed(found, home, seal.with_name(seal.name.removesuffix(SEAL_SUFFIX)))
    for database in sorted([*files_below(home.dagster, "*.db"), *home.tracking.glob("*.db")]):
        found.prove("databases", _below(home, database), lambda path=database: _require_sound(path))
    _tracked(found, home)
    found.findings += [Finding(_below(home, path), "missing", what) for path, what in absences(home)]
    if unfinished := sum(1 for _ in left_behind(home.data)):
        found.counts["left by killed writers, harmless"] = unfinished
    return found


def _bars(found: Verification, home: Home, store: BarStore) -> None:
    if not store.manifest.exists():
        return
    manifest = found.prove("manifests", _below(home, store.manifest), lambda: read_manifest(store))
    if manifest is None:
        return
    for entry in manifest.files:
        path = store.raw / entry.file
        found.prove("bar files", _below(home, path), lambda one=entry: verify_file(store, one))
        if entry.rejected_sha256 is not None:
            aside = _below(home, store.quarantined(entry))
            found.prove("rows set aside", aside, lambda one=entry: verify_quarantined(store, one))
    if store.rolls.exists() or manifest.rolls:
        found.prove("rolls", _below(home, store.rolls), lambda: registered_rolls(store))


def _simulated(found: Verification, home: Home, store: BarStore) -> None:
    record, remedy = store.root / SETTINGS_NAME, store.remedy("")
    digests = found.prove(
        "records of simulated markets", _below(home, record), lambda: recorded_digests(store)
    )
    for name, sha256 in (digests or {}).items():
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
    files = found.prove("labels", _below(home, folder), lambda: _proven_labels(folder))
    for ledger in files or ():
        path, recorded = folder / RAW_NAME / ledger.file, FileDigest(ledger.sha256, None)
        remedy = f"The labels made from it are whole; put the file back as {path}, or from a backup."
        found.prove(
            "label files",
            _below(home, path),
            lambda path=path, one=recorded, do=remedy: prove_file(path, path.name, one, "ledger.json", do),
        )


def _proven_labels(folder: Path) -> list[LabelLedger]:
    """The ledgers of the registered files, the labels made from them proven."""
    if has_labels(folder):
        registered_labels(folder)
    return registered_files(folder)


def _asset(found: Verification, home: Home, seal: Path) -> None:
    place = seal.with_name(seal.name.removesuffix(SEAL_SUFFIX))
    remedy = remedy_of(place)
    files = found.prove("seals", _below(home, seal), lambda: sealed_files(place), remedy)
    for name, recorded in (files or {}).items():
        path = place.parent / name
        found.prove(
            "files of assets",
            _below(home, path),
            lambda path=path, name=name, one=recorded: prove_file(path, name, one, seal.name, remedy),
            remedy,
        )


def _pushed(found: Verification, home: Home, place: Path) -> None:
    """An asset in the bucket is held against its seal there: another machine may have made it anew."""
    seal = _below(home, seal_file(place))
    files = found.prove("assets looked for in the bucket", seal, lambda: pushed(home, place), BUCKET_REMEDY)
    for address, recorded in (files or {}).items():
        found.prove(
            "files in the bucket",
            address,
            lambda address=address, one=recorded: prove_pushed(address, one),
            BUCKET_REMEDY,
        )


def _tracked(found: Verification, home: Home) -> None:
    log = home.tracking / LOG_NAME
    if log.exists():
        found.prove("promotion logs", _below(home, log), lambda: read_log(home))
    try:
        kept = list(recorded_files(home))
    except sqlite3.Error as fault:
        place = _below(home, home.tracking / DATABASE_NAME)
        if place not in {one.file for one in found.findings}:
            what = f"{DATABASE_NAME} must list the files of runs and models, got: {fault}. {OTHER_RECORD}"
            found.findings.append(Finding(place, "unreadable", what))
        return
    except BadInput as fault:
        found.findings.append(Finding(DATABASE_NAME, "unreadable", str(fault)))
        return
    for one in kept:
        name = _below(home, one.path) if one.path else one.place
        if name in {finding.file for finding in found.findings}:
            continue  # a version is a run's model, and its damage was named there
        found.prove(one.kind, name, lambda one=one, name=name: one.prove(name))


def _require_sound(path: Path) -> None:
    said = [row[0] for row in _rows(path, "PRAGMA integrity_check")]
    if said != ["ok"]:
        raise IntegrityError(f"{path.name} must be a sound SQLite database, got: {said[0]}. {LATER_THAN}")
    if not _rows(path, "SELECT 1 FROM sqlite_master LIMIT 1"):
        size = path.stat().st_size
        raise Truncated(f"{path.name} must hold tables, but has none in its {size:,} bytes. {LATER_THAN}")


def _rows(path: Path, query: str) -> list[tuple]:
    with reading(path) as connection:
        return connection.execute(query).fetchall()


def _kind(fault: Exception) -> str:
    if isinstance(fault, Truncated):
        return "truncated"
    if isinstance(fault, ChecksumMismatch):
        return "changed"
    return "unreadable"


def _below(home: Home, path: Path) -> str:
    return path.relative_to(home.root).as_posix() if path.is_relative_to(home.root) else str(path)
