"""Overlap of predicted and labeled expansions: temporal IoU, and counts per bar."""

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment

from moola_pipeline.metrics.matching import candidates, in_core, is_typed
from moola_pipeline.windows.window_geometry import (
    CORE_FIRST,
    CORE_LAST,
    ONSET_COLLAR_BARS,
    UNTYPED,
    WINDOW_BARS,
)


def temporal_iou(labeled: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Shared over covered bars of each pair: (n_labeled, n_found) from inclusive (n, 2) spans."""
    first = np.maximum(labeled[:, None, 0], found[None, :, 0])
    last = np.minimum(labeled[:, None, 1], found[None, :, 1])
    shared = np.maximum(last - first + 1, 0)
    lengths = (labeled[:, 1] - labeled[:, 0] + 1)[:, None] + (found[:, 1] - found[:, 0] + 1)[None, :]
    return shared / (lengths - shared)


def pair_overlapping(truth: pd.DataFrame, predicted: pd.DataFrame) -> np.ndarray:
    """Pair labeled and predicted expansions that share a bar, to measure residuals.

    One to one, as many pairs as possible, then the greatest sum of temporal IoU. Without a collar,
    as residuals cut off at 3 bars would look too small. Types are ignored.

    Args:
        truth: window_id, start, end (bars 0..104, inclusive).
        predicted: The same columns; others are ignored.

    Returns:
        (n_truth,) int64: index in `predicted`, -1 if there is none; labels that start outside bars
        30..74 have none.
    """
    spans, found_spans = (_spans(table) for table in (truth, predicted))
    core = in_core(truth)
    paired = np.full(len(truth), -1, dtype=np.int64)
    for labeled, found in candidates(truth, predicted, typed=False):
        labeled = labeled[core[labeled]]
        iou = temporal_iou(spans[labeled], found_spans[found])
        rows, columns = linear_sum_assignment((iou > 0) * (len(found) + iou), maximize=True)
        shared = iou[rows, columns] > 0
        paired[labeled[rows[shared]]] = found[columns[shared]]
    return paired


def ranked_hits(truth: pd.DataFrame, predicted: pd.DataFrame, least_iou: float) -> np.ndarray:
    """Predictions that match a label of their type, in order of falling score.

    Each prediction takes the free label of its window and type with the greatest temporal IoU, if
    that is at least `least_iou`. Only predictions that start in bars 27..77 can match. Labels of unknown
    type match nothing: see `near_unknown`.

    Args:
        truth: window_id, start, end, type; labels that start outside bars 30..74 are ignored.
        predicted: The same and `score`, higher is more probable.
        least_iou: In (0, 1].

    Returns:
        (n_predicted,) bool.

    Source:
        Everingham et al. (2010), IJCV 88(2), the rule for detections; temporal as in ActivityNet,
        Caba Heilbron et al. (2015), CVPR.
    """
    return _greedy_hits(truth, predicted, in_core(truth) & is_typed(truth), least_iou, typed=True)


def near_unknown(
    truth: pd.DataFrame, predicted: pd.DataFrame, hit: np.ndarray, least_iou: float
) -> np.ndarray:
    """Predictions without a hit that match a label of unknown type: neither right nor wrong about the type.

    Each takes a free label as in `ranked_hits`, whatever its own type.

    Args:
        truth, predicted, least_iou: As in `ranked_hits`.
        hit: (n_predicted,) bool, its result.

    Returns:
        (n_predicted,) bool.

    Source:
        Everingham et al. (2010), IJCV 88(2): detections of difficult objects are ignored.
    """
    matched = np.zeros(len(predicted), dtype=bool)
    unknown = in_core(truth) & ~is_typed(truth)
    if unknown.any():
        matched[~hit] = _greedy_hits(truth, predicted.loc[~hit], unknown, least_iou, typed=False)
    return matched


def _greedy_hits(
    truth: pd.DataFrame, predicted: pd.DataFrame, eligible_truth: np.ndarray, least_iou: float, typed: bool
) -> np.ndarray:
    spans, found_spans = (_spans(table) for table in (truth, predicted))
    reach = predicted["start"].between(CORE_FIRST - ONSET_COLLAR_BARS, CORE_LAST + ONSET_COLLAR_BARS)
    eligible, score = reach.to_numpy(bool), predicted["score"].to_numpy(float)
    hit = np.zeros(len(predicted), dtype=bool)
    kind, found_kind = (table["type"].to_numpy(np.int64) for table in (truth, predicted))
    for labeled, found in candidates(truth, predicted, typed):
        labeled, found = labeled[eligible_truth[labeled]], found[eligible[found]]
        if not len(labeled):
            continue
        iou = temporal_iou(spans[labeled], found_spans[found])
        if typed:
            iou = np.where(kind[labeled, None] == found_kind[found], iou, -1)
        for column in np.argsort(-score[found], kind="stable"):
            best = int(iou[:, column].argmax())
            if iou[best, column] >= least_iou:
                hit[found[column]] = True
                iou[best] = -1
    return hit


def segment_counts(
    truth: pd.DataFrame, predicted: pd.DataFrame, windows: pd.Series, types: tuple[int, ...]
) -> np.ndarray:
    """Count true positive, false positive and missed bars by type.

    Only bars of labeled expansions and bars 30..74 are scored. A prediction that starts outside bars
    30..74 may be right but is never false, as with whole expansions. Bars of an expansion of unknown
    type are neither false nor missed bars of any type.

    Args:
        truth: window_id, start, end (bars 0..104, inclusive), type (class number, or UNTYPED).
        predicted: The same columns; others are ignored.
        windows: (n_windows,) window_id of every scored window, also of empty ones.
        types: Class numbers in output order.

    Returns:
        (n_windows, K, 3) int64: tp, fp, fn in bars, per window and type.

    Source:
        Mesaros, Heittola and Virtanen (2016), Applied Sciences 6(6), segment-based metrics.
    """
    truth = truth.loc[in_core(truth)]
    core = in_core(predicted)
    typed, found_typed = is_typed(truth), is_typed(predicted)
    labeled = _covered(truth.loc[typed], windows, types)
    covered = _covered(predicted.loc[found_typed], windows, types)
    covered_from_core = _covered(predicted.loc[core & found_typed], windows, types)
    unknown, found_unknown = (
        _covered(table.loc[~known], windows, (UNTYPED,))
        for table, known in ((truth, typed), (predicted, found_typed))
    )
    scored = np.logical_or.reduce(labeled, axis=1, keepdims=True)
    scored[..., CORE_FIRST : CORE_LAST + 1] = True
    outcomes = (
        labeled & covered,
        covered_from_core & ~labeled & scored & ~unknown,
        labeled & ~covered & ~found_unknown,
    )
    return np.stack([bars.sum(axis=-1) for bars in outcomes], axis=-1)


def _covered(events: pd.DataFrame, windows: pd.Series, types: tuple[int, ...]) -> np.ndarray:
    """(n_windows, K, 105) bool."""
    covered = np.zeros((len(windows), len(types), WINDOW_BARS), dtype=bool)
    window = pd.Index(windows).get_indexer(events["window_id"].to_numpy())
    kind = pd.Index(types).get_indexer(events["type"].to_numpy())
    if (window < 0).any() or (kind < 0).any():
        raise ValueError("every expansion must lie in a scored window and have one of the given types")
    for w, k, (start, end) in zip(window, kind, _spans(events), strict=True):
        covered[w, k, start : end + 1] = True
    return covered


def _spans(events: pd.DataFrame) -> np.ndarray:
    return events[["start", "end"]].to_numpy(np.int64)
