"""Definitions of all metrics; each also scores many weightings of the same rows at once."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

THRESHOLD = 0.5
N_TYPES = 2


class RankedPredictions(NamedTuple):
    """Predicted expansions as a ranking; all (n,).

    Attributes:
        window: Index of the window in its set.
        type: Class number.
        score: Higher is more probable.
        hit: Whether it matches a labeled expansion.
        judged: Whether it counts as false without a match: it starts where labels are complete, and no
            expansion of unknown type explains it.
    """

    window: np.ndarray
    type: np.ndarray
    score: np.ndarray
    hit: np.ndarray
    judged: np.ndarray


def type_f1_macro(y: np.ndarray, p_retracement: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Macro F1 of the type, predicted as retracement if its probability is above 0.5.

    Args:
        y: (n,) class numbers, 0 or 1; expansions of unknown type are left out before.
        p_retracement: (n,) probabilities.
        weights: (..., n) counts, or None.
    """
    return sum(f1_of_type(y, p_retracement, kind, weights) for kind in range(N_TYPES)) / np.array(N_TYPES)


def f1_of_type(
    y: np.ndarray, p_retracement: np.ndarray, kind: int, weights: np.ndarray | None = None
) -> np.ndarray:
    """F1 of one type against the other; `kind` is its class number, other arguments as in `type_f1_macro`."""
    tp, fp, fn, tn = _confusion(y, p_retracement, weights)
    return f1(tp, fp, fn) if kind == 1 else f1(tn, fn, fp)


def mcc(y: np.ndarray, p_retracement: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Matthews correlation of predicted and labeled type; arguments as in `type_f1_macro`."""
    tp, fp, fn, tn = _confusion(y, p_retracement, weights)
    spread = np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    return _ratio(tp * tn - fp * fn, spread)


def aucpr_retracement(
    y: np.ndarray, p_retracement: np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray:
    """Average precision of the retracement probability; NaN if no drawn row is a retracement.

    The sum over thresholds of precision times gain in recall; ties share one threshold. A constant
    probability scores `prevalence`.
    """
    order = np.argsort(-np.asarray(p_retracement, float), kind="stable")
    positive, score = np.asarray(y)[order] == 1, np.asarray(p_retracement, float)[order]
    drawn = _weights(weights, len(score))[..., order]
    last_of_ties = np.diff(score, append=-np.inf) != 0
    hits = np.cumsum(drawn * positive, axis=-1)[..., last_of_ties]
    alarms = np.cumsum(drawn, axis=-1)[..., last_of_ties]
    gained = np.diff(hits, axis=-1, prepend=0)
    positives = (drawn * positive).sum(axis=-1)
    return (gained * _ratio(hits, alarms)).sum(axis=-1) / np.where(positives > 0, positives, np.nan)


def prevalence(y: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Share of retracements among the rows."""
    drawn = _weights(weights, len(y))
    return _ratio(drawn @ (np.asarray(y) == 1).astype(float), drawn.sum(axis=-1))


def brier(y: np.ndarray, p_retracement: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Mean squared error of the retracement probability, in [0, 1]."""
    drawn = _weights(weights, len(y))
    return _ratio(drawn @ np.square(np.asarray(p_retracement) - np.asarray(y)), drawn.sum(axis=-1))


def event_f1_macro(counts: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Event-based F1 per type over all windows, then the mean over the types.

    Counted are labels and predictions of known type. A label of unknown type is neither found nor missed,
    and a prediction matched by it alone is not false: the F1 is that of a type as far as types are known.

    Args:
        counts: (n_windows, K, 3), tp, fp, fn per window and type: `matching.event_counts`.
        weights: (..., n_windows) counts, or None.

    Source:
        Mesaros, Heittola and Virtanen (2016), Applied Sciences 6(6).
    """
    drawn = _weights(weights, len(counts))
    totals = np.tensordot(drawn, np.asarray(counts, float), axes=([-1], [0]))  # (..., K, 3)
    return f1(totals[..., 0], totals[..., 1], totals[..., 2]).mean(axis=-1)


def event_f1_untyped(counts: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Event-based F1 that ignores the type; `counts` is (n_windows, 1, 3), matched untyped.

    Raises:
        ValueError: If the counts are by type.
    """
    if np.shape(counts)[1] != 1:
        raise ValueError(
            f"untyped counts must have one column of types, got {np.shape(counts)[1]}; match with typed=False"
        )
    return event_f1_macro(counts, weights)


def segment_f1_micro(counts: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Segment-based F1 at a resolution of one bar, all types counted together.

    Args:
        counts: (n_windows, K, 3), tp, fp, fn in bars: `overlap.segment_counts`.
        weights: (..., n_windows) counts, or None.
    """
    return event_f1_macro(np.sum(counts, axis=1, keepdims=True), weights)


def segment_f1_macro(counts: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Segment-based F1 at a resolution of one bar, mean over types; arguments as in `segment_f1_micro`."""
    return event_f1_macro(counts, weights)


def mean_average_precision(
    ranked: RankedPredictions, labeled: np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray:
    """Average precision of ranked expansions per type, then the mean over the types.

    The sum over scores of precision times gain in recall; ties share one threshold. NaN if no
    expansion of a type was drawn.

    Args:
        ranked: Predicted expansions with hits at one temporal IoU: `overlap.ranked_hits`.
        labeled: (n_windows, K) labeled expansions per window and type.
        weights: (..., n_windows) counts, or None.
    """
    drawn = _weights(weights, len(labeled))
    precisions = []
    for kind in range(labeled.shape[1]):
        of_type = ranked.type == kind
        order = np.flatnonzero(of_type)[np.argsort(-ranked.score[of_type], kind="stable")]
        times = drawn[..., ranked.window[order]]
        last_of_ties = np.diff(ranked.score[order], append=-np.inf) != 0
        hits = np.cumsum(times * ranked.hit[order], axis=-1)[..., last_of_ties]
        alarms = np.cumsum(times * (ranked.hit | ranked.judged)[order], axis=-1)[..., last_of_ties]
        gained = np.diff(hits, axis=-1, prepend=0)
        positives = drawn @ labeled[:, kind].astype(float)
        precisions.append(
            (gained * _ratio(hits, alarms)).sum(axis=-1) / np.where(positives > 0, positives, np.nan)
        )
    return np.mean(precisions, axis=0)


def f1(tp: np.ndarray, fp: np.ndarray, fn: np.ndarray) -> np.ndarray:
    """F1 from counts of true positives, false positives and false negatives; 0 if all are 0."""
    return _ratio(2 * tp, 2 * tp + fp + fn)


def _confusion(
    y: np.ndarray, p_retracement: np.ndarray, weights: np.ndarray | None
) -> tuple[np.ndarray, ...]:
    """Weighted tp, fp, fn, tn, each (...)."""
    labeled, predicted = np.asarray(y) == 1, np.asarray(p_retracement) > THRESHOLD
    cells = (labeled & predicted, ~labeled & predicted, labeled & ~predicted, ~labeled & ~predicted)
    totals = _weights(weights, len(labeled)) @ np.stack(cells, axis=-1).astype(float)  # (..., 4)
    return tuple(np.moveaxis(totals, -1, 0))


def _weights(weights: np.ndarray | None, n: int) -> np.ndarray:
    drawn = np.ones(n) if weights is None else np.asarray(weights, float)
    if drawn.shape[-1] != n:
        raise ValueError(f"weights must have one column per row, {n}, got shape {drawn.shape}")
    return drawn


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    above, below = np.asarray(above, float), np.asarray(below, float)
    return np.divide(
        above, below, out=np.zeros(np.broadcast_shapes(above.shape, below.shape)), where=below > 0
    )


WITHIN_BARS = (1, 3, 5)

Residual = Callable[[np.ndarray, np.ndarray | None], np.ndarray]


def bias(residual: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Mean of the residuals, bars: above 0 is late.

    Args:
        residual: (n,) bars.
        weights: (..., n) bootstrap counts, or None; NaN if nothing was drawn.
    """
    return _mean(residual, weights)


def rmse(residual: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Root of the mean squared residual, bars; arguments as in `bias`."""
    return np.sqrt(_mean(np.square(residual), weights))


def mae(residual: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Mean absolute residual, bars; arguments as in `bias`."""
    return _mean(np.abs(residual), weights)


def within(residual: np.ndarray, bars: int, weights: np.ndarray | None = None) -> np.ndarray:
    """Share of residuals of at most `bars`; other arguments as in `bias`."""
    return _mean(np.abs(residual) <= bars, weights)


def residual_metrics(end: str) -> dict[str, Residual]:
    """Metrics of one end of an expansion by name: `onset_bias_bars`, `onset_within_3`, ...

    Args:
        end: onset or offset.
    """
    shares: dict[str, Residual] = {
        f"{end}_within_{bars}": lambda residual, weights, bars=bars: within(residual, bars, weights)
        for bars in WITHIN_BARS
    }
    return {f"{end}_bias_bars": bias, f"{end}_rmse_bars": rmse, f"{end}_mae_bars": mae, **shares}


def _mean(values: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    values = np.asarray(values, float)
    drawn = np.ones(len(values)) if weights is None else np.asarray(weights, float)
    total = drawn.sum(axis=-1)
    return (drawn @ values) / np.where(total > 0, total, np.nan)
