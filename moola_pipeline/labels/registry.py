"""The labels registered in a home: the judgments, their rows, and the ledger of both and of the files."""

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from moola_pipeline.bars.schema import content_digest, nanoseconds
from moola_pipeline.errors import BadInput, ChecksumMismatch, IntegrityError, Truncated
from moola_pipeline.labels.conflicts import (
    refuse_contradictions,
)
from moola_pipeline.labels.judgment_rows import LabelRow, csv_of, label_rows
from moola_pipeline.labels.judgments import (
    JOURNAL_NAME,
    NO_DIGEST,
    Journal,
    Judgment,
    journal_lines,
    read_journal,
)
from moola_pipeline.labels.label_rows import read_labels
from moola_pipeline.labels.ledger import LabelLedger
from moola_pipeline.labels.schema import LABEL_COLUMNS, LABEL_DTYPES
from moola_pipeline.storage.atomic_write import append_bytes, atomic_write_bytes, file_sha256, locked
from moola_pipeline.storage.checksums import read_checksummed, write_checksummed

LABELS_NAME, LEDGER_NAME, RAW_NAME = "labels.csv", "ledger.json", "raw"
EMPTY_LEDGER: dict[str, Any] = {"sha256": None, "judgments": [0, NO_DIGEST], "files": []}


def registered_labels(folder: Path) -> pd.DataFrame:
    """All registered labels, LABEL_COLUMNS, by time; every pass and grade.

    Raises:
        BadInput: If none are registered.
        ChecksumMismatch: If the file is not the one that was recorded.
    """
    labels = read_rows(folder, read_state(folder))
    if labels.empty:
        raise BadInput("Labels must be registered first, but there are none. Run: moola labels add FILE")
    return labels


def has_labels(folder: Path) -> bool:
    """Whether labels are registered in the folder.

    Raises:
        ChecksumMismatch: If the file is not the one that was recorded.
    """
    return read_state(folder)["sha256"] is not None


def labels_digest(folder: Path) -> str:
    """Content digest of the registered labels: their version."""
    return content_digest(registered_labels(folder), LABEL_COLUMNS)


def registered_files(folder: Path) -> list[LabelLedger]:
    """The ledger of each registered file, oldest first."""
    return [LabelLedger(**entry) for entry in read_state(folder)["files"]]


def read_state(folder: Path) -> dict[str, Any]:
    """The part of the ledger that describes the current labels.csv; `before` in it after a kill.

    The ledger is written first and holds the previous state too, so that after a kill between the
    two writes the previous labels stay valid as a whole.
    """
    ledger_path, labels_path = folder / LEDGER_NAME, folder / LABELS_NAME
    actual = file_sha256(labels_path) if labels_path.exists() else None
    remedy = _remedy(folder)
    ledger = _read_ledger(ledger_path, remedy)
    for state in (ledger, ledger.get("before", ledger)):
        if state["sha256"] == actual:
            return state
    if actual is None:
        raise IntegrityError(
            f"{LABELS_NAME} must hold the labels that {LEDGER_NAME} records, but the file is missing. "
            f"{remedy}"
        )
    if not labels_path.read_bytes().endswith(b"\n"):
        raise Truncated(f"{LABELS_NAME}: its last line is incomplete. {remedy}")
    raise ChecksumMismatch(
        f"{LABELS_NAME}: SHA256 is {actual}, {LEDGER_NAME} records {ledger['sha256']}. {remedy}"
    )


def _read_ledger(path: Path, remedy: str) -> dict[str, Any]:
    if not path.exists():
        return EMPTY_LEDGER
    try:
        ledger = read_checksummed(path, "must record the registered labels", remedy)
        if "judgments" not in ledger and "files" in ledger:
            raise IntegrityError(
                f"{path.name} must record judgments, but Moola 0.2, which registered these labels, kept none "
                f"of them. They are intact. Move the folder {path.parent} away, and register the files of "
                f'its {RAW_NAME} again with "moola labels add".'
            )
        for state in (ledger, ledger.get("before", EMPTY_LEDGER)):
            _ = state["sha256"], state["judgments"], [LabelLedger(**entry) for entry in state["files"]]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise IntegrityError(
            f"{path.name} must record the registered labels, but it cannot be read. {remedy}"
        ) from None
    return ledger


def read_rows(folder: Path, state: dict[str, Any]) -> pd.DataFrame:
    """The rows of the labels.csv that a state describes, LABEL_COLUMNS."""
    if state["sha256"] is None:
        return pd.DataFrame(columns=list(LABEL_COLUMNS)).astype(LABEL_DTYPES)
    return read_labels(folder / LABELS_NAME)


def write_judgments(
    folder: Path,
    before: dict[str, Any],
    new: list[Judgment],
    why: str,
    bars: pd.DataFrame,
    files: list[dict[str, Any]],
) -> None:
    """Add judgments of label files to the journal, and their rows to labels.csv.

    Args:
        folder: The label folder of a home, locked.
        before: The state that holds, without its own `before`.
        new: The judgments.
        why: The reason, kept with those that replace others.
        bars: BAR_COLUMNS that they lie on.
        files: The ledgers of all files, in the form of the state.
    """
    known = _in_memory(folder, before, nanoseconds(bars))
    numbers = known.journal.numbers()
    new = [dataclasses.replace(one, why=why if one.key in numbers else "") for one in new]
    _write_journal(folder, before, known, _with_judgments(known, new), files)


class RegisteredJudgments(NamedTuple):
    """The judgments of a label folder in memory, so that one can be added in milliseconds.

    Attributes:
        journal: All of them.
        lines: Bytes of the journal.
        rows: Of those that hold, sorted.
        opened: (n_bars,) int64, UTC opens of the bars, ns.
    """

    journal: Journal
    lines: bytes
    rows: tuple[LabelRow, ...]
    opened: np.ndarray


def open_judgments(folder: Path, opened: np.ndarray) -> RegisteredJudgments:
    """The registered judgments, to be handed to `add_judgments`.

    Args:
        folder: The label folder of a home.
        opened: (n_bars,) int64, UTC opens of the bars that the labels lie on, ns.

    Raises:
        ChecksumMismatch, Truncated, IntegrityError: If the labels are not those that were recorded.
    """
    return _in_memory(folder, read_state(folder), opened)


def add_judgments(folder: Path, new: Sequence[Judgment], known: RegisteredJudgments) -> RegisteredJudgments:
    """Add judgments to the journal and their rows to the labels; each replaces the newest one of its key.

    Everything is on disk when it returns. A kill leaves the judgments before, or all of the new ones.

    Args:
        folder: The label folder of a home.
        new: Judgments of windows on the bars; `supersedes` is filled in.
        known: From `open_judgments` or the last addition; read again if another process has added some.

    Returns:
        The registered judgments with the new ones.

    Raises:
        BadInput: If the spans of a judgment overlap, or give bars another type than a registered window of
            the same annotator, pass and definition does. Nothing is written.
        ChecksumMismatch, Truncated, IntegrityError: If the labels are not those that were recorded.
        UnwritableFile: If writing fails; what was registered before stays.
    """
    with locked(folder / LEDGER_NAME):
        state = read_state(folder)
        before = {name: state[name] for name in EMPTY_LEDGER}
        if not _is_current(folder, before, known):
            known = _in_memory(folder, before, known.opened)
        after = _with_judgments(known, new)
        refuse_contradictions(after.rows, {one.key for one in new})
        _write_journal(folder, before, known, after, before["files"])
    return after


def project_again(folder: Path, bars: pd.DataFrame) -> bool:
    """Count the bars of all labels again, as bars added since may lie inside their windows.

    Judgments are in time: a minute that was missing and comes later moves the bar numbers behind it.

    Args:
        folder: The label folder of a home.
        bars: BAR_COLUMNS, as registered now.

    Returns:
        Whether a label changed.

    Raises:
        ChecksumMismatch, Truncated, IntegrityError: If the labels are not those that were recorded, or lie
            on bars that are not registered.
    """
    if not has_labels(folder):
        return False
    with locked(folder / LEDGER_NAME):
        state = read_state(folder)
        before = {name: state[name] for name in EMPTY_LEDGER}
        known = _in_memory(folder, before, nanoseconds(bars))
        if hashlib.sha256(csv_of(known.rows)).hexdigest() == state["sha256"]:
            return False
        _write_journal(folder, before, known, known, before["files"])
    return True


def _in_memory(folder: Path, state: dict[str, Any], opened: np.ndarray) -> RegisteredJudgments:
    journal, lines = _journal(folder, state), b""
    if journal.judgments:
        read = (folder / JOURNAL_NAME).read_bytes().split(b"\n")[: len(journal.judgments)]
        lines = b"\n".join([*read, b""])
    rows = sorted(row for one in journal.current().values() for row in label_rows(one, opened))
    return RegisteredJudgments(journal, lines, tuple(rows), opened)


def _is_current(folder: Path, state: dict[str, Any], known: RegisteredJudgments) -> bool:
    if state["judgments"] != [len(known.journal.judgments), known.journal.digest]:
        return False
    return not known.lines or (folder / JOURNAL_NAME).read_bytes().startswith(known.lines)


def _with_judgments(known: RegisteredJudgments, new: Sequence[Judgment]) -> RegisteredJudgments:
    numbers = known.journal.numbers()
    new = [dataclasses.replace(one, supersedes=numbers.get(one.key)) for one in new]
    lines, journal = journal_lines(known.journal, new)
    newest = {one.key: one for one in new}
    rows = [row for row in known.rows if row.key not in newest]
    rows += [row for one in newest.values() for row in label_rows(one, known.opened)]
    return RegisteredJudgments(journal, known.lines + lines, tuple(sorted(rows)), known.opened)


def _write_journal(
    folder: Path,
    before: dict[str, Any],
    known: RegisteredJudgments,
    after: RegisteredJudgments,
    files: list[dict[str, Any]],
) -> None:
    """Write the journal, then its rows; the ledger tells which of both hold if a kill comes between."""
    content = csv_of(after.rows)
    state = {
        "sha256": hashlib.sha256(content).hexdigest(),
        "judgments": [len(after.journal.judgments), after.journal.digest],
        "files": files,
    }
    size = len(known.lines)
    append_bytes(folder / JOURNAL_NAME, after.lines[size:], size)
    write_checksummed(folder / LEDGER_NAME, {**state, "before": before})
    atomic_write_bytes(folder / LABELS_NAME, content)
    write_checksummed(folder / LEDGER_NAME, state)


def registered_judgments(folder: Path) -> Journal:
    """All judgments, also those that were superseded, oldest first.

    Raises:
        ChecksumMismatch, Truncated, IntegrityError: If the journal is not the one that was recorded.
    """
    return _journal(folder, read_state(folder))


def _journal(folder: Path, state: dict[str, Any]) -> Journal:
    n_lines, digest = state["judgments"]
    return read_journal(folder / JOURNAL_NAME, n_lines, digest, _remedy(folder))


def _remedy(folder: Path) -> str:
    return (
        f"Restore the file, or move the folder {folder} away and register the files in its {RAW_NAME} "
        'again with "moola labels add".'
    )
