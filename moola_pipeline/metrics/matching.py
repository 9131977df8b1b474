"""One-to-one matching of predicted and labeled expansions within a collar."""

from collections.abc import Callable, Container, Iterator

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment

from moola_pipeline.windows.window_geometry import (
    CORE_FIRST,
    CORE_LAST,
    OFFSET_COLLAR_BARS,
    OFFSET_COLLAR_SHARE,
    ONSET_COLLAR_BARS,
    UNTYPED,
)

ANY_TYPE = -2
"""Type of all expansions in matches regardless of type; no class, and not UNTYPED."""
OUTCOMES = ["tp", "fp", "fn"]


def match_events(truth: pd.DataFrame, predicted: pd.DataFrame, typed: bool = True) -> pd.DataFrame:
    """Count true positives, false positives and misses per window and type, as `pair_events` pairs them.

    Args:
        truth: window_id, start, end (bars 0..104, inclusive), type (class number, or UNTYPED).
        predicted: The same columns; others are ignored.
        typed: False matches regardless of type, and counts expansions of unknown type like all others;
            `type` is then ANY_TYPE.

    Returns:
        window_id, type, tp, fp, fn; one row per window and type with a labeled or predicted expansion.
    """
    if not typed:
        truth, predicted = truth.assign(type=ANY_TYPE), predicted.assign(type=ANY_TYPE)
    return outcomes(truth, predicted, pair_events(truth, predicted))


def outcomes(truth: pd.DataFrame, predicted: pd.DataFrame, found: np.ndarray) -> pd.DataFrame:
    """Count true positives, false positives and misses of a pairing, as in `match_events`.

    An expansion of unknown type is none of the three, and neither is the one paired with it.

    Args:
        truth, predicted: window_id, start, type.
        found: (n_truth,) index in `predicted` of the match of each labeled expansion, -1 if none.
    """
    keys = ["window_id", "type"]
    truth_typed, typed = is_typed(truth), is_typed(predicted)
    counted = in_core(truth) & truth_typed
    counted[found >= 0] &= typed[found[found >= 0]]
    alarm = in_core(predicted) & ~np.isin(np.arange(len(predicted)), found)
    rows = pd.concat(
        [
            truth.loc[counted, keys].assign(tp=found[counted] >= 0, fp=False, fn=found[counted] < 0),
            predicted.loc[typed, keys].assign(tp=False, fp=alarm[typed], fn=False),
        ]
    )
    counts = pd.DataFrame(rows.astype(dict.fromkeys(OUTCOMES, np.int64)).groupby(keys).sum())
    return counts.reset_index()


def pair_events(truth: pd.DataFrame, predicted: pd.DataFrame, typed: bool = True) -> np.ndarray:
    """The predicted expansion that matches each labeled one, one to one, window by window.

    Two expansions may match if their onsets differ by at most 3 bars and their offsets by at most 3
    bars or half the labeled length, whichever is more. The number of pairs is maximal; among equal
    numbers, the false positives are fewest. Labels are complete for onsets in bars 30..74 only:
    labels in other bars are ignored, and a prediction there may match (in bars 27 to 77) but is
    never false.

    An expansion of unknown type may match one of any type. Such a pair says nothing about types, so it
    never takes the place of a pair of one type; it only keeps its sides from counting as false or missed.

    Args:
        truth: window_id, start, end (bars 0..104, inclusive), type (class number, or UNTYPED).
        predicted: The same columns; others are ignored.
        typed: False pairs regardless of type.

    Returns:
        (n_truth,) int64: index in `predicted`, -1 if there is none.

    Source:
        Mesaros, Heittola and Virtanen (2016), Applied Sciences 6(6), event-based metrics.
    """
    spans, found_spans = (table[["start", "end"]].to_numpy(np.int64) for table in (truth, predicted))
    return pair_typed(
        truth, predicted, lambda labeled, found: may_match(spans[labeled], found_spans[found]), typed
    )


def pair_typed(
    truth: pd.DataFrame,
    predicted: pd.DataFrame,
    may_pair: Callable[[np.ndarray, np.ndarray], np.ndarray],
    typed: bool,
) -> np.ndarray:
    """Pair labels in the core with predictions, one to one, window by window, as in `pair_events`.

    Args:
        truth, predicted: window_id, start, type.
        may_pair: Takes the indices of n labels and of m predictions of a window; returns (n, m) bool.
        typed: False pairs regardless of type.

    Returns:
        (n_truth,) int64: index in `predicted`, -1 if there is none.
    """
    kind, found_kind = (table["type"].to_numpy(np.int64) for table in (truth, predicted))
    complete, core = in_core(truth), in_core(predicted)
    paired = np.full(len(truth), -1, dtype=np.int64)
    for labeled, found in candidates(truth, predicted, typed):
        labeled = labeled[complete[labeled]]
        near = may_pair(labeled, found)
        counts = np.ones_like(near)
        if typed:
            counts = (kind[labeled, None] == found_kind[found]) & (kind[labeled, None] != UNTYPED)
            either_unknown = (kind[labeled, None] == UNTYPED) | (found_kind[found] == UNTYPED)
            near = near & (counts | (either_unknown & core[found]))
        rows, columns = assigned(near, core[found], counts)
        paired[labeled[rows]] = found[columns]
    return paired


def assigned(near: np.ndarray, core: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The one-to-one matching with most pairs that count, then with most predictions in the core.

    An unmatched prediction outside the core is never false, so predictions in the core match first.

    Args:
        near: (n_labeled, n_found) bool, whether a pair may match.
        core: (n_found,) bool.
        counts: (n_labeled, n_found) bool; False for pairs with a side of unknown type.

    Returns:
        Indices of the matched labels and of their predictions.
    """
    rows, columns = linear_sum_assignment(near * (counts + core / (1 + len(core))), maximize=True)
    matched = near[rows, columns]
    return rows[matched], columns[matched]


def is_typed(events: pd.DataFrame) -> np.ndarray:
    """Whether the type of each expansion is known: (n,) bool."""
    return events["type"].to_numpy(np.int64) != UNTYPED


def in_core(events: pd.DataFrame) -> np.ndarray:
    """Whether each expansion starts in the bars with complete labels: (n,) bool."""
    return events["start"].between(CORE_FIRST, CORE_LAST).to_numpy(bool)


def candidates(
    truth: pd.DataFrame, predicted: pd.DataFrame, typed: bool
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Indices of the labeled and predicted expansions of each window, and type if `typed`.

    A window with an expansion of unknown type is one group, whatever the types. Groups without labels
    or without predictions are skipped; the order of groups is undefined.
    """
    keys = ["window_id", "type"] if typed else ["window_id"]
    unknown: set[str] = set()
    for table in (truth, predicted) if typed else ():
        unknown.update(table["window_id"].to_numpy(object)[~is_typed(table)])
    labeled, found = (_places(table, keys, unknown) for table in (truth, predicted))
    for key in labeled.keys() & found.keys():
        yield labeled[key], found[key]


def _places(events: pd.DataFrame, keys: list[str], unknown: Container[str]) -> dict[tuple, np.ndarray]:
    places: dict[tuple, list[int]] = {}
    for place, key in enumerate(zip(*(events[name].to_list() for name in keys), strict=True)):
        places.setdefault(key[:1] if key[0] in unknown else key, []).append(place)
    return {key: np.array(group) for key, group in places.items()}


def event_counts(matches: pd.DataFrame, windows: pd.Series, types: tuple[int, ...]) -> np.ndarray:
    """Counts as an array for the bootstrap.

    Args:
        matches: Result of `match_events`.
        windows: (n_windows,) window_id of every scored window, also of empty ones.
        types: Class numbers in output order; (ANY_TYPE,) for untyped matches.

    Returns:
        (n_windows, K, 3) int64: tp, fp, fn per window and type.

    Raises:
        ValueError: If a match lies in no scored window, or a window is given twice.
    """
    stray = set(matches["window_id"]) - set(windows)
    if stray or windows.duplicated().any():
        raise ValueError(
            "windows must name each scored window once, "
            f"got {len(stray)} missing windows and {int(windows.duplicated().sum())} duplicates"
        )
    every = pd.MultiIndex.from_product([windows, types], names=["window_id", "type"])
    counts = matches.set_index(["window_id", "type"])[OUTCOMES].reindex(every, fill_value=0)
    return counts.to_numpy(np.int64).reshape(len(windows), len(types), len(OUTCOMES))


def may_match(labeled: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Whether each pair lies within the collars: (n_labeled, n_found) bool from (n, 2) spans."""
    onset = np.abs(labeled[:, None, 0] - found[None, :, 0])
    offset = np.abs(labeled[:, None, 1] - found[None, :, 1])
    length = labeled[:, 1] - labeled[:, 0] + 1
    reach = np.maximum(OFFSET_COLLAR_BARS, OFFSET_COLLAR_SHARE * length)
    return (onset <= ONSET_COLLAR_BARS) & (offset <= reach[:, None])
