"""The ledger of a label file: what happened to each of its rows."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from moola_pipeline.labels.schema import LABELS, expansions, is_complete
from moola_pipeline.windows.window_geometry import CORE_FIRST, CORE_LAST


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
