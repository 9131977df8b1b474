"""The account of a label file: what became of every row that came."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from moola_pipeline.labels.importing import LabelFile, inspect_labels
from moola_pipeline.labels.placement import GRADED_OUT, place_labels
from moola_pipeline.labels.schema import LABELS

DUPLICATE = "exact duplicate"


@dataclass(frozen=True)
class LabelLedger:
    """What became of the rows of one label file; `rows` is `kept` plus the sum of `dropped`.

    Attributes:
        file: Name the user's bytes are kept under.
        sha256: Digest of those bytes.
        rows: Rows in the file.
        kept: Rows a model may learn from or be judged by.
        dropped: Reason to number of rows.
        counts: Label class to number of kept rows.
        windows: Windows of the kept rows.
        refused: For each row that came to grief: its row in the file, window_id, reason, detail.
    """

    file: str
    sha256: str
    rows: int
    kept: int
    dropped: dict[str, int]
    counts: dict[str, int]
    windows: int
    refused: list[dict[str, Any]] = field(default_factory=list)


def check_labels(path: Path, bars: pd.DataFrame) -> LabelLedger:
    """Account for every row of a label file against the bars, and write nothing.

    Raises:
        BadInput: If the file is no table, is empty, or lacks a column.
    """
    ledger, _ = account(path, bars)
    return ledger


def account(path: Path, bars: pd.DataFrame) -> tuple[LabelLedger, pd.DataFrame]:
    """The ledger of a file, and the rows to register: those kept and those graded D.

    Raises:
        BadInput: If the file is no table, is empty, or lacks a column.
    """
    file = inspect_labels(path)
    placements = [place_labels(file.labels, bars, int(number)) for number in file.labels["pass"].unique()]
    refused = pd.concat([file.refused, *(placement.refused for placement in placements)]).sort_index()
    faulty = refused.loc[refused["reason"] != GRADED_OUT].index
    placed = file.labels.loc[~file.labels.index.isin(refused.index)]
    return _ledger(path, file, refused, placed), file.labels.loc[~file.labels.index.isin(faulty)]


def _ledger(path: Path, file: LabelFile, refused: pd.DataFrame, kept: pd.DataFrame) -> LabelLedger:
    dropped = dict(Counter(refused["reason"]))
    return LabelLedger(
        file=path.name,
        sha256=file.sha256,
        rows=file.rows,
        dropped=dropped | ({DUPLICATE: file.duplicates} if file.duplicates else {}),
        refused=_listed(refused),
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
    return {
        "kept": len(kept),
        "counts": {label: list(kept["label"]).count(label) for label in LABELS},
        "windows": len(set(kept["window_id"])),
    }
