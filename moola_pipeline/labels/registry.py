"""The labels registered in a home: the user's files, the judgments, their rows, and the ledger of all."""

import dataclasses
import hashlib
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from moola_pipeline.bars.instruments import NQ
from moola_pipeline.bars.schema import content_digest, nanoseconds
from moola_pipeline.bars.store import require_plain_name
from moola_pipeline.errors import BadInput, ChecksumMismatch, IntegrityError, Truncated
from moola_pipeline.labels.conflicts import (
    clashing_windows,
    judges,
    refuse_contradictions,
    repeated_labels,
)
from moola_pipeline.labels.judgments import (
    JOURNAL_NAME,
    NO_DIGEST,
    ONE_JUDGMENT,
    Journal,
    Judgment,
    LabelRow,
    csv_of,
    in_file_order,
    journal_lines,
    judgments_of,
    label_rows,
    read_journal,
)
from moola_pipeline.labels.label_rows import describe_faults, read_labels
from moola_pipeline.labels.ledger import LabelLedger, kept_counts
from moola_pipeline.labels.placement import GRADED_OUT, place_labels
from moola_pipeline.labels.schema import DRAWN, LABEL_COLUMNS, LABEL_DTYPES, NONE, SECOND_PASS
from moola_pipeline.storage.atomic_write import append_bytes, atomic_write_bytes, file_sha256, locked
from moola_pipeline.storage.checksums import read_checksummed, write_checksummed
from moola_pipeline.windows.window_geometry import CORE_BARS

LABELS_NAME, LEDGER_NAME, RAW_NAME = "labels.csv", "ledger.json", "raw"
REGISTERED = "already registered"
EMPTY_LEDGER: dict[str, Any] = {"sha256": None, "judgments": [0, NO_DIGEST], "files": []}


class AddSettings(NamedTuple):
    """How the labels of a file join the registered ones.

    Attributes:
        revise: Its windows replace the registered ones of the same pass, annotator and definition.
        why: The reason for it.
        instrument: Of the bars.
    """

    revise: bool = False
    why: str = ""
    instrument: str = NQ.name


ADD = AddSettings()


def register_labels(
    folder: Path,
    path: Path,
    ledger: LabelLedger,
    rows: pd.DataFrame,
    bars: pd.DataFrame,
    drop_bad: bool,
    how: AddSettings = ADD,
) -> LabelLedger:
    """Store a label file in raw/, merge its rows, and record what happened to each.

    Rows registered before are counted apart. Rows graded D are registered too, so that their bars
    stay known, but their windows are not used.

    Args:
        folder: The label folder of a home.
        path: The user's file, csv or parquet.
        ledger, rows: What `build_ledger` returned for the file.
        bars: BAR_COLUMNS that the labels lie on.
        drop_bad: Register the usable rows of a file in which some cannot be used; else refuse the file.
        how: Whether its windows replace the registered ones.

    Returns:
        The recorded ledger; if no row is new, the ledger that would have been recorded.

    Raises:
        BadInput: If the file's name is not plain, if a row cannot be used and `drop_bad` is False,
            if no row is left, or if the file labels registered bars differently.
        ChecksumMismatch: If the registered labels are not those that were recorded.
        IntegrityError: If the ledger cannot be read, or the labels that it records are missing.
    """
    _require_plain_name(path)
    _refuse(path, ledger, drop_bad, graded_out_only=how.revise and len(rows) > 0)
    with locked(folder / LEDGER_NAME):
        state = _state(folder)
        known = _rows(folder, state)
        rows = _as_chosen_before(rows, known)
        kept = _not_replaced(known, rows) if how.revise else known
        if how.revise:
            _refuse_other_windows(path, kept, rows)
        merged = _merged(kept, rows)
        _refuse_changed_labels(path, kept, rows, merged, bars)
        ledger = _without_known(ledger, rows, known, merged)
        changed = _changed(known, merged)
        if len(changed):
            made_at = datetime.now(UTC).isoformat(timespec="seconds")
            new = judgments_of(changed, bars, how.instrument, made_at)
            return _write_files(folder, path, state, new, how.why, bars, ledger)
        if "before" in state:  # killed after the labels and before the final ledger were written
            write_checksummed(folder / LEDGER_NAME, {name: state[name] for name in EMPTY_LEDGER})
        return ledger


def with_registered(folder: Path, path: Path, rows: pd.DataFrame, bars: pd.DataFrame) -> pd.DataFrame:
    """The registered labels with the rows of a file added; writes nothing.

    Raises:
        BadInput, ChecksumMismatch, IntegrityError: As `register_labels` would.
    """
    known = _rows(folder, _state(folder))
    rows = _as_chosen_before(rows, known)
    merged = _merged(known, rows)
    _refuse_changed_labels(path, known, rows, merged, bars)
    return merged


def registered_labels(folder: Path) -> pd.DataFrame:
    """All registered labels, LABEL_COLUMNS, by time; every pass and grade.

    Raises:
        BadInput: If none are registered.
        ChecksumMismatch: If the file is not the one that was recorded.
    """
    labels = _rows(folder, _state(folder))
    if labels.empty:
        raise BadInput("Labels must be registered first, but there are none. Run: moola labels add FILE")
    return labels


def has_labels(folder: Path) -> bool:
    """Whether labels are registered in the folder.

    Raises:
        ChecksumMismatch: If the file is not the one that was recorded.
    """
    return _state(folder)["sha256"] is not None


def labels_digest(folder: Path) -> str:
    """Content digest of the registered labels: their version."""
    return content_digest(registered_labels(folder), LABEL_COLUMNS)


def registered_files(folder: Path) -> list[LabelLedger]:
    """The ledger of each registered file, oldest first."""
    return [LabelLedger(**entry) for entry in _state(folder)["files"]]


def _require_plain_name(path: Path) -> None:
    try:
        require_plain_name(path.name)
    except ValueError as fault:
        raise BadInput(f"{fault}. Rename the file.") from None


def _refuse(path: Path, ledger: LabelLedger, drop_bad: bool, graded_out_only: bool) -> None:
    faults = [row for row in ledger.refused if row["reason"] != GRADED_OUT]
    if faults and not drop_bad:
        named = pd.DataFrame(faults).set_index("row")
        remedy = "Correct them, or keep the rest with --drop-bad." if ledger.kept else "Correct them."
        raise BadInput(f"{path.name}: {describe_faults(named, ledger.rows)} {remedy}")
    if not ledger.kept and not graded_out_only:
        raise BadInput(
            f"{path.name}: a label file must hold a usable row, but none of its {ledger.rows} rows is "
            f"usable. For the reasons, run: moola labels check {shlex.quote(str(path))}"
        )


def _refuse_other_windows(path: Path, kept: pd.DataFrame, new: pd.DataFrame) -> None:
    """Refuse a revision that judges bars of registered windows in other windows: both would stay in force."""
    judge = ["pass", "annotator", "definition"]
    reach = CORE_BARS * 60 * 10**9
    starts = {
        key: group["window_start"].astype("int64").to_numpy()
        for key, group in kept.groupby(_keys(kept, judge))
    }
    moments = new["window_start"].astype("int64")
    near = [
        key in starts and bool((np.abs(starts[key] - moment) < reach).any())
        for key, moment in zip(_keys(new, judge), moments, strict=True)
    ]
    if any(near):
        first, windows = new["window_id"].iloc[near.index(True)], set(new.loc[near, "window_id"])
        raise BadInput(
            f"{path.name}: a revision must judge the registered windows, but {len(windows)} of its windows "
            f"share judged bars with others (first {first}). Export the labels, change them there, and add "
            "that file: moola labels export labels.csv; moola labels add labels.csv --revise"
        )


def _refuse_changed_labels(
    path: Path, known: pd.DataFrame, new: pd.DataFrame, merged: pd.DataFrame, bars: pd.DataFrame
) -> None:
    changed = repeated_labels(known, new)
    if changed:
        quoted = shlex.quote(str(path))
        remedy = f"register it as a second pass: moola labels add {quoted} --pass {SECOND_PASS}"
        raise BadInput(
            f"{path.name}: registered windows must keep their labels, but the file changes {len(changed)} "
            f"(first {changed[0]}). Correct the file, replace them with --revise, or {remedy}"
        )
    of_all = [(rows, int(number)) for rows in judges(merged) for number in new["pass"].unique()]
    for rows, number in of_all:
        clashing = clashing_windows(place_labels(rows, bars, number).frame)
        new_ids = sorted(set(clashing) & set(new["window_id"]))
        if new_ids:
            raise BadInput(
                f"{path.name}: registered bars must keep their type, but {len(new_ids)} windows give the "
                f"other type (first {new_ids[0]}, against {clashing[new_ids[0]]}). Correct the file."
            )


def _state(folder: Path) -> dict[str, Any]:
    """The part of the ledger that describes the current labels.csv.

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
        for state in (ledger, ledger.get("before", EMPTY_LEDGER)):
            _ = state["sha256"], state["judgments"], [LabelLedger(**entry) for entry in state["files"]]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise IntegrityError(
            f"{path.name} must record the registered labels, but it cannot be read. {remedy}"
        ) from None
    return ledger


def _rows(folder: Path, state: dict[str, Any]) -> pd.DataFrame:
    if state["sha256"] is None:
        return pd.DataFrame(columns=list(LABEL_COLUMNS)).astype(LABEL_DTYPES)
    return read_labels(folder / LABELS_NAME)


def _merged(known: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """The known rows and the new ones; a window that was judged empty before is empty once."""
    merged = pd.concat([known, new], ignore_index=True)
    keys = _keys(merged).mask(merged["label"] == NONE, _keys(merged, [*ONE_JUDGMENT, "label"]))
    return in_file_order(merged.loc[~keys.duplicated()])


def _as_chosen_before(rows: pd.DataFrame, known: pd.DataFrame) -> pd.DataFrame:
    """The rows of a file; where they only say imported, windows stay chosen as they were judged first.

    Else a window that a model chose would enter validation or test when it is revised.
    """
    place = ["window_id", "pass", "annotator"]
    chosen = known.loc[~known["chosen"].isin(DRAWN)]
    before = dict(zip(_keys(chosen, place), chosen["chosen"], strict=True))
    how = _keys(rows, place).map(before)
    return rows.assign(chosen=rows["chosen"].mask(rows["chosen"].eq(DRAWN[0]) & how.notna(), how))


def _not_replaced(known: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """The known rows of the windows that the new rows do not judge again."""
    return known.loc[~_keys(known, ONE_JUDGMENT).isin(_keys(new, ONE_JUDGMENT))]


def _changed(known: pd.DataFrame, merged: pd.DataFrame) -> pd.DataFrame:
    """All rows of the judgments that are new or differ from the known ones."""
    before, after = (
        {key: frozenset(group) for key, group in _keys(rows).groupby(_keys(rows, ONE_JUDGMENT))}
        for rows in (known, merged)
    )
    changed = [key for key, rows in after.items() if before.get(key) != rows]
    return merged.loc[_keys(merged, ONE_JUDGMENT).isin(changed)]


def _without_known(
    ledger: LabelLedger, rows: pd.DataFrame, known: pd.DataFrame, merged: pd.DataFrame
) -> LabelLedger:
    """The ledger, with rows that were registered before counted apart."""
    usable = rows.loc[~rows.index.isin([row["row"] for row in ledger.refused])]
    again = ~_keys(usable).isin({*_keys(merged)} - {*_keys(known)})
    if not again.any():
        return ledger
    dropped = ledger.dropped | {REGISTERED: int(again.sum())}
    return dataclasses.replace(ledger, dropped=dropped, **kept_counts(usable.loc[~again]))


def _keys(labels: pd.DataFrame, columns: Sequence[str] = LABEL_COLUMNS) -> pd.Series:
    """One text per row; rows that are equal in these columns have equal texts."""
    texts = labels.loc[:, list(columns)].astype("str").fillna("")
    return pd.Series(["\x1f".join(row) for row in texts.itertuples(index=False)], labels.index, dtype="str")


def _write_files(
    folder: Path,
    path: Path,
    state: dict[str, Any],
    new: list[Judgment],
    why: str,
    bars: pd.DataFrame,
    ledger: LabelLedger,
) -> LabelLedger:
    raw = folder / RAW_NAME / path.name
    if raw.exists() and file_sha256(raw) != ledger.sha256:
        raw = raw.with_name(f"{path.stem}-{ledger.sha256[:8]}{path.suffix}")
    atomic_write_bytes(raw, path.read_bytes())
    ledger = dataclasses.replace(ledger, file=raw.name)
    before = {name: state[name] for name in EMPTY_LEDGER}
    _write_judgments(folder, before, new, why, bars, [*state["files"], dataclasses.asdict(ledger)])
    return ledger


def _write_judgments(
    folder: Path,
    before: dict[str, Any],
    new: list[Judgment],
    why: str,
    bars: pd.DataFrame,
    files: list[dict[str, Any]],
) -> None:
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
    return _in_memory(folder, _state(folder), opened)


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
        state = _state(folder)
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
        state = _state(folder)
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
    return _journal(folder, _state(folder))


def _journal(folder: Path, state: dict[str, Any]) -> Journal:
    n_lines, digest = state["judgments"]
    return read_journal(folder / JOURNAL_NAME, n_lines, digest, _remedy(folder))


def _remedy(folder: Path) -> str:
    return (
        f"Restore the file, or move the folder {folder} away and register the files in its {RAW_NAME} "
        'again with "moola labels add".'
    )
