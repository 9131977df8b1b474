"""The label schema: columns, dtypes, and the classes an annotator may give."""

import numpy as np
import pandas as pd

from moola_pipeline.bars.schema import Column
from moola_pipeline.windows.window_geometry import UNTYPED

LABEL_TABLE = (
    Column("window_id", "str", "name of the labeled window; one for all its rows"),
    Column("window_start", "datetime64[ns, UTC]", "open of its bar 0, UTC"),
    Column(
        "label", "str", "consolidation, retracement or unknown: the type of the expansion; none: no expansion"
    ),
    Column(
        "expansion_start", "Int64", "first bar of the expansion, 0 to 104; missing if none", nullable=True
    ),
    Column("expansion_end", "Int64", "last bar of the expansion, 0 to 104; missing if none", nullable=True),
    Column("grade", "str", "how clear it is: A to C; a window with grade D is not used", nullable=True),
    Column("batch", "str", "name of the sitting or file", nullable=True),
    Column("annotator", "str", "who labeled it", nullable=True),
    Column("pass", "Int64", "1 for the first look at a window, 2 for the second"),
    Column("definition", "Int64", "version of the text that says what an expansion is"),
    Column(
        "chosen", "str", "how the window was chosen: import, random, doubt, alike, repeat, review, replay"
    ),
    Column("complete", "str", "yes if every expansion that starts in bars 30 to 74 is labeled"),
)
"""A label: one expansion, or a window without any."""
PLACED_TABLE = (
    *LABEL_TABLE,
    Column("bar0", "int64", "row of the window's bar 0 in raw_nq_bars"),
    Column("session", "datetime64[ns]", "trading day of bar 0"),
    Column("direction", "int8", "1 up, -1 down, 0 without an expansion: sign of close[end] - open[start]"),
    Column("in_core", "bool", "whether the expansion starts in bars 30 to 74"),
    Column("split", "str", "train, validation, test or unused"),
)
"""A label placed on the bars, with its split."""
LABEL_COLUMNS = tuple(column.name for column in LABEL_TABLE)
REQUIRED_COLUMNS = LABEL_COLUMNS[:5]
LABEL_DTYPES = {column.name: column.dtype for column in LABEL_TABLE}
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
NO_PERSON = (*MISSING, UNNAMED, CONSENSUS)
"""Names that no annotator at the page can have."""
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
