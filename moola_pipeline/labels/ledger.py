"""The ledger of a label file: what happened to each of its rows."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from moola_pipeline.labels.conflicts import BOTH_TYPES, clashing_windows, judges
from moola_pipeline.labels.importing import LabelFile, inspect_labels
from moola_pipeline.labels.label_options import LabelOptions
from moola_pipeline.labels.placement import GRADED_OUT, place_labels
from moola_pipeline.labels.schema import LABELS, expansions, is_complete
from moola_pipeline.windows.window_geometry import CORE_FIRST, CORE_LAST

DUPLICATE = "exact duplicate"


@dataclass(frozen=True)
class LabelLedger:
    """What happened to the rows of one label file; `rows` is `kept` plus the sum of `dropped`.

    Attributes:
        file: Name of the stored copy of the user's file.
        sha256: Digest of its bytes.
        rows: Rows in the file.
        kept: Rows that training and evaluation may use.
        dropped: Reason to number of rows.
        counts: Label class to number of kept rows.
        windows: Windows of the kept rows.
        refused: For each refused row: its row number, window_id, reason and detail.
        outside_core: Kept expansions that start outside bars 30-74: not used in training or scores.
        passes: Pass to number of kept rows.
        by_prices: For an older file, the number of windows found in the bars, ambiguous and not found.
        notes: What options changed, one sentence each.
        incomplete: Windows of the kept rows of which only the labeled spans are known.
    """

    file: str
    sha256: str
    rows: int
    kept: int
    dropped: dict[str, int]
    counts: dict[str, int]
    windows: int
    refused: list[dict[str, Any]] = field(default_factory=list)
    outside_core: int = 0
    passes: dict[str, int] = field(default_factory=dict)
    by_prices: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    incomplete: int = 0


def check_labels(path: Path, bars: pd.DataFrame, pass_number: int | None = None) -> LabelLedger:
    """The ledger of a label file checked against the bars; writes nothing.

    Raises:
        BadInput: If the file is not a table, is empty, or lacks a column.
    """
    ledger, _ = build_ledger(path, bars, pass_number)
    return ledger


def build_ledger(
    path: Path, bars: pd.DataFrame, pass_number: int | None = None, options: LabelOptions | None = None
) -> tuple[LabelLedger, pd.DataFrame]:
    """The ledger of a file, and the rows to register: the kept ones and those graded D.

    Args:
        path: The file, csv or parquet, with LABEL_COLUMNS or the older columns.
        bars: BAR_COLUMNS that the labels must lie on.
        pass_number: The pass of its rows, if the file does not give it.
        options: Of the user; None for none.

    Raises:
        BadInput: As `inspect_labels`.
    """
    file = inspect_labels(path, bars, pass_number, options)
    refused = [file.refused]
    for labels in judges(file.labels):
        for number in labels["pass"].unique():
            placement = place_labels(labels, bars, int(number))
            refused += [placement.refused, _clashing(labels, placement.frame, int(number))]
    refused = pd.concat(refused).sort_index()
    faulty = refused.loc[refused["reason"] != GRADED_OUT].index
    placed = file.labels.loc[~file.labels.index.isin(refused.index)]
    return _ledger(path, file, refused, placed), file.labels.loc[~file.labels.index.isin(faulty)]


def _clashing(labels: pd.DataFrame, placed: pd.DataFrame, pass_number: int) -> pd.DataFrame:
    """Rows of one pass whose windows label the same bars with both types, under two ids."""
    other = clashing_windows(placed)
    rows = labels.loc[labels["window_id"].isin(list(other)) & (labels["pass"] == pass_number)]
    return rows.assign(
        reason=BOTH_TYPES,
        detail=[
            f"windows {name} and {other[name]} label the same bars with both types"
            for name in rows["window_id"]
        ],
    )


def _ledger(path: Path, file: LabelFile, refused: pd.DataFrame, kept: pd.DataFrame) -> LabelLedger:
    dropped = dict(Counter(refused["reason"]))
    return LabelLedger(
        file=path.name,
        sha256=file.sha256,
        rows=file.rows,
        dropped=dropped | ({DUPLICATE: file.duplicates} if file.duplicates else {}),
        refused=_listed(refused),
        by_prices=file.by_prices,
        notes=file.notes,
        **kept_counts(kept),
    )


def _listed(refused: pd.DataFrame) -> list[dict[str, Any]]:
    names = ("window_id", "reason", "detail")
    columns = [refused[name].astype("str").fillna("") for name in names]
    return [
        {"row": int(row), **dict(zip(names, map(str, cells), strict=True))}
        for row, *cells in zip(refused.index, *columns, strict=True)
    ]


def kept_counts(kept: pd.DataFrame) -> dict[str, Any]:
    """The fields of a ledger that describe the kept rows."""
    inside = expansions(kept)["expansion_start"].between(CORE_FIRST, CORE_LAST)
    return {
        "kept": len(kept),
        "counts": {label: list(kept["label"]).count(label) for label in LABELS},
        "windows": len(set(kept["window_id"])),
        "incomplete": len(set(kept.loc[~is_complete(kept), "window_id"])),
        "outside_core": int((~inside).sum()),
        "passes": {str(number): n for number, n in sorted(Counter(kept["pass"]).items())},
    }
