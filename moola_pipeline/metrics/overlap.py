"""How far predicted and labeled expansions cover one another: temporal IoU, and bar by bar."""

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment

from moola_pipeline.metrics.matching import candidates, in_core
from moola_pipeline.windows.window_geometry import CORE_FIRST, CORE_LAST, ONSET_COLLAR_BARS, WINDOW_BARS


def temporal_iou(labeled: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Shared bars over covered bars of each pair: (n_labeled, n_found) from (n, 2) spans, inclusive."""
    first = np.maximum(labeled[:, None, 0], found[None, :, 0])
    last = np.minimum(labeled[:, None, 1], found[None, :, 1])
    shared = np.maximum(last - first + 1, 0)
    lengths = (labeled[:, 1] - labeled[:, 0] + 1)[:, None] + (found[:, 1] - found[:, 0] + 1)[None, :]
    return shared / (lengths - shared)


def pair_overlapping(truth: pd.DataFrame, predicted: pd.DataFrame) -> np.ndarray:
    """Which predicted expansion each labeled one is for the residuals: any that shares a bar may be.

    One to one, as many pairs as possible, among these the greatest sum of temporal IoU. No
    collar bounds it: a residual cut off at 3 bars would flatter. Types are ignored.

    Args:
        truth: window_id, start, end (bars 0..104, inclusive).
        predicted: The same columns; others are ignored.

    Returns:
        (n_truth,) int64: place in `predicted`, -1 where there is none; labels that start outside
        bars 30..74 have none.
    """
    spans, found_spans = (_spans(table) for table in (truth, predicted))
    core = in_core(truth)
    paired = np.full(len(truth), -1, dtype=np.int64)
    for labeled, found in candidates(truth, predicted, typed=False):
        labeled = labeled[core[labeled]]
        iou = temporal_iou(spans[labeled], found_spans[found])
        rows, columns = linear_sum_assignment((iou > 0) * (len(found) + iou), maximize=True)
        met = iou[rows, columns] > 0
        paired[labeled[rows[met]]] = found[columns[met]]
    return paired


def ranked_hits(truth: pd.DataFrame, predicted: pd.DataFrame, least_iou: float) -> np.ndarray:
    """Which predictions find an expansion of their type, the surest first served.

    Each in turn takes the label of its window and type, not yet taken, that it covers best, if
    their temporal IoU is at least `least_iou`. Only predictions that start in bars 27..77 may.

    Args:
        truth: window_id, start, end, type; labels that start outside bars 30..74 are left out.
        predicted: The same and `score`, higher is surer.
        least_iou: In (0, 1].

    Returns:
        (n_predicted,) bool.

    Source:
        Everingham et al. (2010), IJCV 88(2), the rule for detections; temporal as in ActivityNet,
        Caba Heilbron et al. (2015), CVPR.
    """
    spans, found_spans = (_spans(table) for table in (truth, predicted))
    core = in_core(truth)
    reach = predicted["start"].between(CORE_FIRST - ONSET_COLLAR_BARS, CORE_LAST + ONSET_COLLAR_BARS)
    may, score = reach.to_numpy(bool), predicted["score"].to_numpy(float)
    hit = np.zeros(len(predicted), dtype=bool)
    for labeled, found in candidates(truth, predicted, typed=True):
        labeled, found = labeled[core[labeled]], found[may[found]]
        if not len(labeled):
            continue
        iou = temporal_iou(spans[labeled], found_spans[found])
        for column in np.argsort(-score[found], kind="stable"):
            best = int(iou[:, column].argmax())
            if iou[best, column] >= least_iou:
                hit[found[column]] = True
                iou[best] = -1
    return hit


def segment_counts(
    truth: pd.DataFrame, predicted: pd.DataFrame, windows: pd.Series, types: tuple[int, ...]
) -> np.ndarray:
    """Bars that are, rightly or wrongly, said to belong to an expansion of a type.

    Known are the bars of labeled expansions and, beyond these, bars 30..74. A prediction that
    starts outside bars 30..74 may be right but is never false, as with whole expansions.

    Args:
        truth: window_id, start, end (bars 0..104, inclusive), type (class number).
        predicted: The same columns; others are ignored.
        windows: (n_windows,) window_id of every window judged, empty ones included.
        types: Class numbers in the order wanted.

    Returns:
        (n_windows, K, 3) int64: tp, fp, fn in bars, per window and type.

    Source:
        Mesaros, Heittola and Virtanen (2016), Applied Sciences 6(6), segment-based metrics.
    """
    truth = truth.loc[in_core(truth)]
    core = in_core(predicted)
    labeled = _covered(truth, windows, types)
    said = _covered(predicted, windows, types)
    judged = _covered(predicted.loc[core], windows, types)
    known = np.logical_or.reduce(labeled, axis=1, keepdims=True)
    known[..., CORE_FIRST : CORE_LAST + 1] = True
    outcomes = (labeled & said, judged & ~labeled & known, labeled & ~said)
    return np.stack([bars.sum(axis=-1) for bars in outcomes], axis=-1)


def _covered(events: pd.DataFrame, windows: pd.Series, types: tuple[int, ...]) -> np.ndarray:
    """(n_windows, K, 105) bool."""
    covered = np.zeros((len(windows), len(types), WINDOW_BARS), dtype=bool)
    window = pd.Index(windows).get_indexer(events["window_id"].to_numpy())
    kind = pd.Index(types).get_indexer(events["type"].to_numpy())
    if (window < 0).any() or (kind < 0).any():
        raise ValueError("every expansion must lie in a window that is judged and be of a type asked for")
    for w, k, (start, end) in zip(window, kind, _spans(events), strict=True):
        covered[w, k, start : end + 1] = True
    return covered


def _spans(events: pd.DataFrame) -> np.ndarray:
    return events[["start", "end"]].to_numpy(np.int64)
