"""The label schema: columns, dtypes, and the classes an annotator may give."""

import numpy as np
import pandas as pd

from moola_pipeline.windows.window_geometry import UNTYPED

LABEL_COLUMNS = (
    "window_id",
    "window_start",
    "label",
    "expansion_start",
    "expansion_end",
    "grade",
    "batch",
    "annotator",
    "pass",
    "definition",
    "chosen",
    "complete",
)
REQUIRED_COLUMNS = LABEL_COLUMNS[:5]
LABEL_DTYPES = {
    "window_id": "str",
    "window_start": "datetime64[ns, UTC]",
    "label": "str",
    "expansion_start": "Int64",
    "expansion_end": "Int64",
    "grade": "str",
    "batch": "str",
    "annotator": "str",
    "pass": "Int64",
    "definition": "Int64",
    "chosen": "str",
    "complete": "str",
}
TYPES = ("consolidation", "retracement")
"""State of the market before an expansion; the index is the class number, 1 the positive class."""
UNKNOWN = "unknown"
"""The label of an expansion of which the annotator does not know the type: it counts in finding only."""
UNNAMED = "unnamed"
"""The annotator of label files that name none."""
CONSENSUS = "consensus"
"""The name that stands for all annotators."""
NONE = "none"
"""The label of a window that the annotator found empty."""
LABELS = (*TYPES, UNKNOWN, NONE)
GRADES = ("A", "B", "C", "D")
EXCLUDED_GRADE = "D"
FIRST_DEFINITION = 1
CHOSEN = ("import", "random", "doubt", "alike", "repeat", "review", "replay")
"""How a window may be chosen: imported with a file, drawn at random, or for what the model makes of it."""
REVIEW, REPLAY = CHOSEN[-2:]
DRAWN = CHOSEN[:2]
"""Only windows chosen so enter validation and test."""
COMPLETE, INCOMPLETE = "yes", "no"
"""Whether every expansion that starts in bars 30-74 of a window is labeled. Of an incomplete window only the
labeled spans are known: it is used for training alone, and nothing in it counts as no expansion."""
MISSING = ("", "nan", "NaN", "NA", "null")
"""Texts of a cell that holds nothing."""
FIRST_PASS, SECOND_PASS = 1, 2
"""Training and evaluation use the first pass; the second measures the annotator's agreement."""


def expansions(labels: pd.DataFrame) -> pd.DataFrame:
    """The rows that are expansions, those of unknown type included, without the empty windows."""
    return labels.loc[labels["label"] != NONE]


def is_complete(labels: pd.DataFrame) -> np.ndarray:
    """Whether the window of each row is complete: (n_rows,) bool."""
    return labels["complete"].ne(INCOMPLETE).to_numpy(bool)


def type_numbers(labels: pd.DataFrame) -> pd.Series:
    """Class number of each row as int64: its index in `TYPES`; UNTYPED if unknown, or an empty window."""
    numbers = {name: number for number, name in enumerate(TYPES)}
    return pd.Series([numbers.get(label, UNTYPED) for label in labels["label"]], labels.index, dtype="int64")


def type_name(number: int) -> str:
    """The label of a class number: one of `TYPES`, or UNKNOWN for UNTYPED."""
    return UNKNOWN if number == UNTYPED else TYPES[number]
