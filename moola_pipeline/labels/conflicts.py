"""Contradictions between labels: in one window, and in windows of different ids on the same bars."""

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pandas as pd

from moola_pipeline.errors import BadInput
from moola_pipeline.labels.judgment_rows import LabelRow
from moola_pipeline.labels.schema import EXCLUDED_GRADE, NONE, UNKNOWN, expansions, is_complete
from moola_pipeline.windows.window_geometry import WINDOW_BARS

ONE_PASS = ["window_id", "pass", "annotator", "definition"]
"""One annotator's pass over one window under one definition; its labels must agree."""
BOTH_TYPES = "same bars, both types"


def find_contradictions(labels: pd.DataFrame, faults: pd.DataFrame) -> pd.DataFrame:
    """Add a fault to each row that contradicts another row, or itself.

    Two expansions contradict each other when they share more than one bar, or more than half of
    the shorter one. The last bar of one may be the first bar of the next.

    Args:
        labels: LABEL_COLUMNS.
        faults: `reason` and `detail` per row of `labels`, null where a row has no fault yet.

    Returns:
        A copy of `faults`, with the contradictions of rows that had no fault.
    """
    faults = faults.copy()
    sound = labels.loc[faults["reason"].isna()]
    starts = sound.groupby("window_id")["window_start"].transform("nunique").to_numpy()
    _add(
        faults, sound.loc[starts > 1], "window_id with two starts", "window {} has more than one window_start"
    )
    empty = (
        sound.assign(empty=sound["label"] == NONE)
        .groupby(ONE_PASS, dropna=False)["empty"]
        .transform("mean")
        .to_numpy()
    )
    _add(
        faults,
        sound.loc[(empty > 0) & (empty < 1)],
        "none and labeled",
        "window {} is labeled none and has an expansion",
    )
    partial = sound.assign(partial=~is_complete(sound))
    partial = partial.groupby(ONE_PASS, dropna=False)["partial"].transform("mean").to_numpy()
    _add(
        faults,
        sound.loc[(partial > 0) & (partial < 1)],
        "complete and not",
        "window {} is complete in one row and not in another",
    )
    _add(
        faults,
        sound.loc[(empty > 0) & (partial > 0)],
        "none and not complete",
        "window {} is labeled none, which says that it was looked at whole, but is not complete",
    )
    crowded = sound.groupby(ONE_PASS, dropna=False)["label"].transform("size").to_numpy() > WINDOW_BARS
    _add(faults, sound.loc[crowded], "expansions overlap", "window {} has more expansions than bars")
    comparable = sound.loc[~crowded]  # each row is compared with every other row of its window
    pairs = _overlapping_pairs(comparable, comparable)
    pairs = pairs.loc[(pairs["row_a"] != pairs["row_b"]) & ((pairs["shared"] > 1) | pairs["mostly"])]
    both_known = (pairs["label_a"] != UNKNOWN) & (pairs["label_b"] != UNKNOWN)
    differ = both_known & (pairs["label_a"] != pairs["label_b"])
    two_types = pairs.loc[pairs["mostly"] & differ, "row_a"].unique()
    _add(faults, sound.loc[two_types], BOTH_TYPES, "window {} labels the same bars with both types")
    overlapping = pairs["row_a"].unique()
    _add(
        faults,
        sound.loc[overlapping],
        "expansions overlap",
        "window {} has two expansions that overlap by more than a border bar",
    )
    return faults


def repeated_labels(known: pd.DataFrame, new: pd.DataFrame) -> list[str]:
    """Windows (ids, sorted) that `new` labels differently from `known` in the same pass.

    Equal rows agree, and so do more expansions on other bars. A moved span, another class, another
    start, or `none` beside an expansion disagree.
    """
    pairs = _overlapping_pairs(known, new)
    pairs = pairs.loc[pairs["mostly"]]
    compared = ["label", "expansion_start", "expansion_end", "grade"]
    before, after = (pairs[[f"{name}_{side}" for name in compared]].astype("str").fillna("") for side in "ab")
    moved = pairs.loc[(before.to_numpy() != after.to_numpy()).any(axis=1), "window_id"]
    merged = pd.concat([known, new], ignore_index=True).drop_duplicates()
    clean = pd.DataFrame({"reason": None, "detail": None}, index=merged.index, dtype="str")
    contradictory = merged.loc[find_contradictions(merged, clean)["reason"].notna(), "window_id"]
    return sorted({*moved, *contradictory})


def judges(labels: pd.DataFrame) -> list[pd.DataFrame]:
    """The rows of each annotator under each definition; only these must agree."""
    return [rows for _, rows in labels.groupby(["annotator", "definition"], dropna=False, sort=False)]


def whole_windows(labels: pd.DataFrame, faults: pd.DataFrame) -> pd.DataFrame:
    """Extend each fault to all rows of its window, so that no window is kept in part."""
    faults = faults.copy()
    touched = labels["window_id"].isin(labels.loc[faults["reason"].notna(), "window_id"].dropna())
    rest = labels.loc[touched & faults["reason"].isna()]
    _add(faults, rest, "another row of its window refused", "another row of window {} is refused")
    return faults


def _add(faults: pd.DataFrame, rows: pd.DataFrame, reason: str, detail: str) -> None:
    free = rows.index[faults.loc[rows.index, "reason"].isna()]
    faults.loc[free, "reason"] = reason
    faults.loc[free, "detail"] = [detail.format(window) for window in rows.loc[free, "window_id"]]


def _overlapping_pairs(left: pd.DataFrame, right: pd.DataFrame) -> pd.DataFrame:
    """Pairs of expansions of one window and pass that have bars in common.

    `shared` counts these bars; `mostly` is True where they are more than half of the shorter one.
    """
    left, right = (side.assign(row=side.index) for side in (expansions(left), expansions(right)))
    pairs = left.merge(right, on=ONE_PASS, suffixes=("_a", "_b"))
    starts = pairs[["expansion_start_a", "expansion_start_b"]].to_numpy(np.int64)
    ends = pairs[["expansion_end_a", "expansion_end_b"]].to_numpy(np.int64)
    shared = ends.min(axis=1) - starts.max(axis=1) + 1
    pairs = pairs.assign(shared=shared, mostly=shared * 2 > (ends - starts + 1).min(axis=1))
    return pairs.loc[shared > 0]


def near_duplicates(placed: pd.DataFrame) -> pd.DataFrame:
    """Pairs of windows with different ids that share more than half their bars.

    A pair with an incomplete window counts only if an expansion is labeled in both.

    Args:
        placed: The frame of `place_labels`.

    Returns:
        window_a, window_b (str, the earlier first), shared_bars (int64, 105 for equal windows), and
        shared_expansions (int64): expansions labeled in both on the same bars, which count twice.
    """
    windows = placed.drop_duplicates("window_id").sort_values(["bar0", "window_id"], ignore_index=True)
    bar0, names = windows["bar0"].to_numpy(np.int64), windows["window_id"].to_numpy(object)
    twice = Counter(frozenset(pair) for pair, _ in _pairs_on_same_bars(placed))
    rows = [
        (names[a], names[b], int(WINDOW_BARS - (bar0[b] - bar0[a])))
        for a, b in _within(bar0, WINDOW_BARS)
        if (bar0[b] - bar0[a]) * 2 < WINDOW_BARS
    ]
    pairs = pd.DataFrame(rows, columns=["window_a", "window_b", "shared_bars"])
    both = [twice[frozenset(pair)] for pair in zip(pairs["window_a"], pairs["window_b"], strict=True)]
    pairs = pairs.assign(shared_expansions=np.array(both, np.int64))
    partial = windows.loc[~is_complete(windows), "window_id"].to_list()
    alone = pairs["window_a"].isin(partial) | pairs["window_b"].isin(partial)
    return pairs.loc[~alone | (pairs["shared_expansions"] > 0)].reset_index(drop=True)


def clashing_windows(placed: pd.DataFrame) -> dict[str, str]:
    """Windows that label shared bars with different types: each id with the other window's id.

    An unknown type differs from none.
    """
    clashes = {}
    for (window, other), agree in _pairs_on_same_bars(placed):
        if not agree:
            clashes.setdefault(window, other)
            clashes.setdefault(other, window)
    return clashes


def _pairs_on_same_bars(placed: pd.DataFrame) -> Iterator[tuple[tuple[str, str], bool]]:
    """Expansions of two windows that share more than half the bars of the shorter one.

    Yields both window ids, and whether the types agree: they are equal, or one is unknown.
    """
    marked = expansions(placed)
    first = (marked["bar0"] + marked["expansion_start"].astype("int64")).to_numpy(np.int64)
    order = np.argsort(first, kind="stable")
    last = (marked["bar0"] + marked["expansion_end"].astype("int64")).to_numpy(np.int64)[order]
    names, labels = (marked[name].to_numpy(object)[order] for name in ("window_id", "label"))
    first = first[order]
    for a, b in _within(first, WINDOW_BARS):
        shared = min(last[a], last[b]) - first[b] + 1
        shorter = min(last[a] - first[a], last[b] - first[b]) + 1
        if shared * 2 > shorter and names[a] != names[b]:
            yield (names[a], names[b]), labels[a] == labels[b] or UNKNOWN in (labels[a], labels[b])


def _within(ordered: np.ndarray, reach: int) -> Iterator[tuple[int, int]]:
    """Pairs of indices, the smaller first, whose values differ by less than `reach`."""
    for a, after in enumerate(np.searchsorted(ordered, ordered + reach)):
        for b in range(a + 1, int(after)):
            yield a, b


def refuse_contradictions(rows: Sequence[LabelRow], keys: Iterable[tuple]) -> None:
    """Refuse judgments whose spans contradict each other, or those of windows on the same bars.

    The rules are those of `find_contradictions` and `clashing_windows`, for some judgments among many.

    Args:
        rows: Of all judgments that hold.
        keys: Of the judgments to look at.

    Raises:
        BadInput: At the first contradiction.
    """
    marked = [row for row in rows if row.start is not None and row.grade != EXCLUDED_GRADE]
    for key in keys:
        own = [row for row in marked if row.key == key]
        near = [
            row
            for row in marked
            if own and row.key[1:] == key[1:] and abs(row.bar0 - own[0].bar0) < WINDOW_BARS
        ]
        for row, other in itertools.product(own, near):
            if row is not other:
                _refuse_pair(row, other)


def _refuse_pair(row: LabelRow, other: LabelRow) -> None:
    first, last = (max(row.first_bar, other.first_bar), min(row.last_bar, other.last_bar))
    shared, shorter = (
        last - first + 1,
        min(row.last_bar - row.first_bar, other.last_bar - other.first_bar) + 1,
    )
    mostly, types = 2 * shared > shorter, {row.label, other.label}
    if row.key == other.key and (mostly or shared > 1):
        raise BadInput(
            f"Expansions must share a border bar at most, but {shared} bars of window {row.key[0]} lie in "
            "two. Move an end."
        )
    if row.key != other.key and mostly and len(types) == 2 and UNKNOWN not in types:
        raise BadInput(
            f"The same bars must have one type, but window {other.key[0]} calls them {other.label} and "
            f"window {row.key[0]} {row.label}. Change one."
        )
