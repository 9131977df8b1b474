"""Registration of label files: what of a file is new, what is refused, and what it replaces."""

import dataclasses
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from moola_pipeline.bars.instruments import NQ
from moola_pipeline.bars.store import require_plain_name
from moola_pipeline.errors import BadInput
from moola_pipeline.labels.conflicts import clashing_windows, judges, repeated_labels
from moola_pipeline.labels.judgment_rows import ONE_JUDGMENT, in_file_order, judgments_of
from moola_pipeline.labels.judgments import Judgment
from moola_pipeline.labels.label_rows import describe_faults
from moola_pipeline.labels.ledger import LabelLedger, kept_counts
from moola_pipeline.labels.placement import GRADED_OUT, place_labels
from moola_pipeline.labels.registry import (
    EMPTY_LEDGER,
    LEDGER_NAME,
    RAW_NAME,
    read_rows,
    read_state,
    write_judgments,
)
from moola_pipeline.labels.schema import DRAWN, LABEL_COLUMNS, NONE, SECOND_PASS
from moola_pipeline.storage.atomic_write import atomic_write_bytes, file_sha256, locked
from moola_pipeline.storage.checksums import write_checksummed
from moola_pipeline.windows.window_geometry import CORE_BARS

REGISTERED = "already registered"


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
        state = read_state(folder)
        known = read_rows(folder, state)
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
    known = read_rows(folder, read_state(folder))
    rows = _as_chosen_before(rows, known)
    merged = _merged(known, rows)
    _refuse_changed_labels(path, known, rows, merged, bars)
    return merged


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
    write_judgments(folder, before, new, why, bars, [*state["files"], dataclasses.asdict(ledger)])
    return ledger


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
