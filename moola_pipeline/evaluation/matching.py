"""Which predicted expansion is which labeled one: one to one, within a collar."""

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment

from moola_pipeline.windows.frame import (
    CORE_FIRST,
    CORE_LAST,
    OFFSET_COLLAR_BARS,
    OFFSET_COLLAR_SHARE,
    ONSET_COLLAR_BARS,
)

ANY_TYPE = -1
OUTCOMES = ["tp", "fp", "fn"]


def match_events(truth: pd.DataFrame, predicted: pd.DataFrame, typed: bool = True) -> pd.DataFrame:
    """Count true positives, false positives and misses per window and type.

    Two expansions may match when their onsets differ by at most 3 bars and their offsets by at
    most 3 bars or half the labeled length, whichever is more. As many pairs as possible are made;
    among equally many, those that leave the fewest false positives. Labels are complete for
    onsets in bars 30..74 alone: labels elsewhere are left out, and a prediction elsewhere may
    match (it can by 3 bars, from 27 to 77) but is never false.

    Args:
        truth: window_id, onset, offset (bars 0..104, inclusive), type (class number).
        predicted: The same columns; others are ignored.
        typed: False matches regardless of type; `type` is then -1.

    Returns:
        window_id, type, tp, fp, fn; one row per window and type with any labeled or predicted
        expansion.

    Source:
        Mesaros, Heittola and Virtanen (2016), Applied Sciences 6(6), event-based metrics.
    """
    keys = ["window_id", "type"]
    truth = truth.loc[truth["onset"].between(CORE_FIRST, CORE_LAST)]
    if not typed:
        truth, predicted = truth.assign(type=ANY_TYPE), predicted.assign(type=ANY_TYPE)
    labeled, found = _spans_by_key(truth, keys), _spans_by_key(predicted, keys)
    none = np.empty((0, 2), dtype=np.int64)
    rows = [
        (*key, *_outcomes(labeled.get(key, none), found.get(key, none)))
        for key in dict.fromkeys([*labeled, *found])
    ]
    return pd.DataFrame(rows, columns=[*keys, *OUTCOMES]).sort_values(keys, ignore_index=True)


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


def _spans_by_key(events: pd.DataFrame, keys: list[str]) -> dict[tuple[str, int], np.ndarray]:
    """(n, 2) onsets and offsets for each window and type."""
    spans = events.loc[:, ["onset", "offset"]].to_numpy(np.int64)
    found: dict[tuple[str, int], list[np.ndarray]] = {}
    for window, kind, span in zip(*(events[key] for key in keys), spans, strict=True):
        found.setdefault((window, kind), []).append(span)
    return {key: np.stack(group) for key, group in found.items()}


def _outcomes(labeled: np.ndarray, found: np.ndarray) -> tuple[int, int, int]:
    in_core = (found[:, 0] >= CORE_FIRST) & (found[:, 0] <= CORE_LAST)
    near = may_match(labeled, found)
    # an unmatched prediction outside the core costs nothing, so one inside is the better to match
    gain = near * (1 + in_core / (1 + len(found)))
    pairs = linear_sum_assignment(gain, maximize=True)
    matched = np.zeros(len(found), dtype=bool)
    matched[pairs[1]] = near[pairs]
    tp = int(matched.sum())
    return tp, int((in_core & ~matched).sum()), len(labeled) - tp
