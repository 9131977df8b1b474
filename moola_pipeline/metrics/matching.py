"""Which predicted expansion is which labeled one: one to one, within a collar."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment

from moola_pipeline.windows.window_geometry import (
    CORE_FIRST,
    CORE_LAST,
    OFFSET_COLLAR_BARS,
    OFFSET_COLLAR_SHARE,
    ONSET_COLLAR_BARS,
)

ANY_TYPE = -1
OUTCOMES = ["tp", "fp", "fn"]


def match_events(truth: pd.DataFrame, predicted: pd.DataFrame, typed: bool = True) -> pd.DataFrame:
    """Count true positives, false positives and misses per window and type, as `pair_events` pairs them.

    Args:
        truth: window_id, start, end (bars 0..104, inclusive), type (class number).
        predicted: The same columns; others are ignored.
        typed: False matches regardless of type; `type` is then -1.

    Returns:
        window_id, type, tp, fp, fn; one row per window and type with any labeled or predicted
        expansion.
    """
    if not typed:
        truth, predicted = truth.assign(type=ANY_TYPE), predicted.assign(type=ANY_TYPE)
    return outcomes(truth, predicted, pair_events(truth, predicted))


def outcomes(truth: pd.DataFrame, predicted: pd.DataFrame, found: np.ndarray) -> pd.DataFrame:
    """Count what a pairing comes to, as `match_events` does.

    Args:
        truth, predicted: window_id, start, type.
        found: (n_truth,) place in `predicted` of what each labeled expansion is, -1 where there is none.
    """
    keys = ["window_id", "type"]
    complete, alarm = in_core(truth), in_core(predicted) & ~np.isin(np.arange(len(predicted)), found)
    told = pd.concat(
        [
            truth.loc[complete, keys].assign(tp=found[complete] >= 0, fp=False, fn=found[complete] < 0),
            predicted.loc[:, keys].assign(tp=False, fp=alarm, fn=False),
        ]
    )
    counts = pd.DataFrame(told.astype(dict.fromkeys(OUTCOMES, np.int64)).groupby(keys).sum())
    return counts.reset_index()


def pair_events(truth: pd.DataFrame, predicted: pd.DataFrame, typed: bool = True) -> np.ndarray:
    """Which predicted expansion each labeled one is, one to one, window by window.

    Two expansions may match when their onsets differ by at most 3 bars and their offsets by at
    most 3 bars or half the labeled length, whichever is more. As many pairs as possible are made;
    among equally many, those that leave the fewest false positives. Labels are complete for
    onsets in bars 30..74 alone: labels elsewhere are left out, and a prediction elsewhere may
    match (it can by 3 bars, from 27 to 77) but is never false.

    Args:
        truth: window_id, start, end (bars 0..104, inclusive), type (class number).
        predicted: The same columns; others are ignored.
        typed: False pairs regardless of type.

    Returns:
        (n_truth,) int64: place in `predicted`, -1 where there is none.

    Source:
        Mesaros, Heittola and Virtanen (2016), Applied Sciences 6(6), event-based metrics.
    """
    spans, found_spans = (table[["start", "end"]].to_numpy(np.int64) for table in (truth, predicted))
    outside = ~in_core(truth)
    core = in_core(predicted)
    paired = np.full(len(truth), -1, dtype=np.int64)
    for labeled, found in candidates(truth, predicted, typed):
        labeled = labeled[~outside[labeled]]
        near = may_match(spans[labeled], found_spans[found])
        rows, columns = assigned(near, core[found])
        paired[labeled[rows]] = found[columns]
    return paired


def assigned(near: np.ndarray, core: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As many pairs as can be made one to one, those in the core rather than others.

    An unmatched prediction outside the core costs nothing, so one inside is the better to match.

    Args:
        near: (n_labeled, n_found) bool, which may be one.
        core: (n_found,) bool.

    Returns:
        Places of the labeled ones and of what they are.
    """
    rows, columns = linear_sum_assignment(near * (1 + core / (1 + len(core))), maximize=True)
    met = near[rows, columns]
    return rows[met], columns[met]


def in_core(events: pd.DataFrame) -> np.ndarray:
    """Whether each expansion starts where labels are complete: (n,) bool."""
    return events["start"].between(CORE_FIRST, CORE_LAST).to_numpy(bool)


def candidates(
    truth: pd.DataFrame, predicted: pd.DataFrame, typed: bool
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Places of the labeled and the predicted expansions that might be one: of one window, and type.

    Groups without one or the other are left out; their order is not to be relied on.
    """
    keys = ["window_id", "type"] if typed else ["window_id"]
    labeled, found = (_places(table, keys) for table in (truth, predicted))
    for key in labeled.keys() & found.keys():
        yield labeled[key], found[key]


def _places(events: pd.DataFrame, keys: list[str]) -> dict[tuple, np.ndarray]:
    places: dict[tuple, list[int]] = {}
    for place, key in enumerate(zip(*(events[name].to_list() for name in keys), strict=True)):
        places.setdefault(key, []).append(place)
    return {key: np.array(group) for key, group in places.items()}


def event_counts(matches: pd.DataFrame, windows: pd.Series, types: tuple[int, ...]) -> np.ndarray:
    """Outcomes as an array that a bootstrap can weight.

    Args:
        matches: What `match_events` returned.
        windows: (n_windows,) window_id of every window judged, empty ones included.
        types: Class numbers in the order wanted; (ANY_TYPE,) for untyped matches.

    Returns:
        (n_windows, K, 3) int64: tp, fp, fn per window and type.

    Raises:
        ValueError: If a match lies in a window that is not judged, or a window is given twice.
    """
    stray = set(matches["window_id"]) - set(windows)
    if stray or windows.duplicated().any():
        raise ValueError(
            f"windows must name each judged window once, got {len(stray)} events' windows missing"
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
