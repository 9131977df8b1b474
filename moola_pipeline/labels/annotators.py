"""Whose labels a run learns: one annotator's or the consensus, under one definition."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from moola_pipeline.bars.sessions import session_of
from moola_pipeline.errors import BadInput, did_you_mean
from moola_pipeline.labels.schema import (
    COMPLETE,
    CONSENSUS,
    DRAWN,
    EXCLUDED_GRADE,
    INCOMPLETE,
    NONE,
    REPLAY,
    TYPES,
    UNKNOWN,
    UNNAMED,
)
from moola_pipeline.storage.checksums import read_choice, write_checksummed
from moola_pipeline.windows.window_geometry import (
    OFFSET_COLLAR_BARS,
    OFFSET_COLLAR_SHARE,
    ONSET_COLLAR_BARS,
)

CHOICE_NAME = "label_choice.json"
REQUIREMENT = "must hold the chosen annotator and definition"
REMEDY = "Restore it, or delete it and choose again with: moola run --annotator NAME --definition NUMBER"


class LabelChoice(BaseModel):
    """Annotator (None: the one with most windows) and definition (None: that of most windows)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    annotator: str | None = None
    definition: int | None = Field(default=None, ge=1)


ANYBODY = LabelChoice()
"""The annotator with most windows, under the definition of most windows."""


def read_label_choice(folder: Path) -> LabelChoice:
    """The annotator and definition chosen for the registered labels of a home.

    Args:
        folder: The home's data folder.

    Raises:
        IntegrityError: If the file was changed after `write_label_choice` wrote it.
    """
    return read_choice(folder / CHOICE_NAME, LabelChoice, REQUIREMENT, REMEDY) or ANYBODY


def write_label_choice(folder: Path, choice: LabelChoice) -> None:
    """Store whose labels later runs of this home learn."""
    write_checksummed(folder / CHOICE_NAME, choice.model_dump(mode="json"))


def annotators_of(rows: pd.DataFrame) -> np.ndarray:
    """Name of the annotator of each row (n,) str."""
    return rows["annotator"].fillna(UNNAMED).to_numpy(object)


def choose_labels(rows: pd.DataFrame, choice: LabelChoice) -> tuple[pd.DataFrame, LabelChoice]:
    """The labels of one annotator, or of the consensus, under one definition.

    Where nobody is asked for, the annotator with most windows is given the windows whose file names nobody
    too, if he did not judge them.

    Args:
        rows: LABEL_COLUMNS of all annotators and definitions.
        choice: What the user asks for.

    Returns:
        Their rows, and the choice without a None.

    Raises:
        BadInput: If there are no such labels; names those that there are.
    """
    names, definitions = annotators_of(rows), rows["definition"].to_numpy(np.int64)
    windows = rows["window_id"].to_numpy(object)
    wanted = np.ones(len(rows), bool)
    if choice.annotator not in (None, CONSENSUS):
        wanted &= names == choice.annotator
    if choice.definition is None and wanted.any():
        choice = choice.model_copy(update={"definition": _most_windows(windows[wanted], definitions[wanted])})
    wanted &= definitions == choice.definition
    if choice.annotator is None and wanted.any():
        choice = choice.model_copy(update={"annotator": _most_windows(windows[wanted], names[wanted])})
        his = wanted & (names == choice.annotator)
        wanted = his | (wanted & (names == UNNAMED) & ~np.isin(windows, windows[his]))
    if not wanted.any():
        under = "any definition" if choice.definition is None else f"definition {choice.definition}"
        raise BadInput(
            f"Labels must be those of an annotator under a definition, got {choice.annotator or 'anybody'} "
            f"under {under}. There are {_listed(windows, names, definitions)}."
            f"{did_you_mean(choice.annotator or '', set(names))}"
        )
    everybody = choice.annotator == CONSENSUS
    replayed = rows.loc[(rows["chosen"] == REPLAY) & (everybody | np.isin(names, names[wanted]))]
    chosen = rows.loc[wanted]
    seen = session_of(chosen["window_start"]).isin(session_of(replayed["window_start"]).unique())
    # also if the replay was graded D, or judged under another definition
    chosen = chosen.assign(chosen=chosen["chosen"].mask(seen & chosen["chosen"].isin(DRAWN), REPLAY))
    chosen = chosen.reset_index(drop=True)
    return consensus(chosen) if choice.annotator == CONSENSUS else chosen, choice


class Mark(NamedTuple):
    """An expansion that an annotator marked, in bars of its window."""

    start: int
    end: int
    label: str
    annotator: str


def consensus(rows: pd.DataFrame) -> pd.DataFrame:
    """One row for each expansion that most annotators of its window marked.

    Two marks are the same if their onsets differ by at most 3 bars and their ends by at most 3 bars or half
    the longer mark. Ends are medians, rounded down; the type is that of most marks, `unknown` without a
    majority. A window that one annotator judged keeps his marks; one in which no expansion has a majority is
    `none`. A window counts as drawn only if all drew it, and has grade D if anyone graded it out. It is
    complete if it is so for one of them: who did not look at it whole votes for the expansions that he
    marked, and against none.

    Args:
        rows: LABEL_COLUMNS under one definition.

    Returns:
        LABEL_COLUMNS; the annotator is `consensus`.
    """
    names = annotators_of(rows)
    windows: dict[tuple, list[tuple[dict[str, Any], str]]] = {}
    for record, name in zip(rows.to_dict("records"), names, strict=True):
        windows.setdefault((record["window_id"], record["pass"]), []).append((record, name))
    made = []
    for window in windows.values():
        partial = {name for record, name in window if record["complete"] == INCOMPLETE}
        judges = {name for _, name in window} - partial
        other = [record["chosen"] for record, _ in window if record["chosen"] not in DRAWN]
        graded_out = any(record["grade"] == EXCLUDED_GRADE for record, _ in window)
        facts = window[0][0] | {
            "annotator": CONSENSUS,
            "chosen": (other or [window[0][0]["chosen"]])[0],
            "grade": EXCLUDED_GRADE if graded_out else None,
            "complete": COMPLETE if judges else INCOMPLETE,
        }
        marks = [
            Mark(record["expansion_start"], record["expansion_end"], record["label"], name)
            for record, name in window
            if record["label"] != NONE
        ]
        agreed = [
            group
            for group in same_marks(marks)
            if 2 * len(group) > len(judges | {mark.annotator for mark in group})
        ]
        merged = [_merged(group) for group in agreed] or [(NONE, None, None)]
        names_of = ("label", "expansion_start", "expansion_end")
        made += [facts | dict(zip(names_of, one, strict=True)) for one in merged]
    frame = pd.DataFrame(made, columns=list(rows.columns)).astype(rows.dtypes.to_dict())
    return frame.sort_values(["window_start", "window_id", "pass", "expansion_start"], ignore_index=True)


def same_marks(marks: Sequence[Mark]) -> list[list[Mark]]:
    """Groups of marks of the same expansion, at most one of each annotator, in order of time."""
    groups: list[list[Mark]] = []
    for mark in sorted(marks):
        fitting = [
            group
            for group in groups
            if all(mark.annotator != other.annotator and _same(mark, other) for other in group)
        ]
        if fitting:
            fitting[-1].append(mark)
        else:
            groups.append([mark])
    return groups


def _same(mark: Mark, other: Mark) -> bool:
    longest = max(mark.end - mark.start, other.end - other.start) + 1
    collar = max(OFFSET_COLLAR_BARS, OFFSET_COLLAR_SHARE * longest)
    return abs(mark.start - other.start) <= ONSET_COLLAR_BARS and abs(mark.end - other.end) <= collar


def _merged(group: list[Mark]) -> tuple[str, int, int]:
    start, end = (int(np.median([getattr(mark, name) for mark in group])) for name in ("start", "end"))
    counts = [sum(mark.label == kind for mark in group) for kind in TYPES]
    most = counts.index(max(counts))
    return TYPES[most] if 2 * counts[most] > len(group) else UNKNOWN, start, max(start, end)


def _most_windows(windows: np.ndarray, values: np.ndarray) -> Any:
    """The value with most windows; of equals the last one by name or number."""
    counts = Counter(value for _, value in {*zip(windows, values, strict=True)})
    value = max(counts, key=lambda value: (counts[value], value))
    return value.item() if isinstance(value, np.generic) else value


def _listed(windows: np.ndarray, names: np.ndarray, definitions: np.ndarray) -> str:
    found = Counter((name, number) for _, name, number in {*zip(windows, names, definitions, strict=True)})
    return ", ".join(
        f"{name} under definition {number} ({n:,} windows)" for (name, number), n in sorted(found.items())
    )
