"""Type scores under prior shift: with the calibration prior, and with a re-estimated prior."""

from collections.abc import Sequence

import numpy as np

from moola_pipeline.metrics.bootstrap import mean_over_seeds, resample
from moola_pipeline.metrics.calibration import ece
from moola_pipeline.metrics.definitions import brier, type_f1_macro
from moola_pipeline.metrics.scores import ResampledWindows, Scored

STRESS_SHARE = 0.23
"""Share of retracements in the stress test."""
FROZEN, REESTIMATED = "prior_frozen", "prior_reestimated"
_ROUNDS, _STILL = 1000, 1e-9
_LEAST, _MOST = 0.01, 0.99


def reestimated_prior(p: np.ndarray, prior: float, weights: np.ndarray | None = None) -> float:
    """Share of the positive class among unlabeled rows, by expectation maximization.

    Args:
        p: (n,) calibrated probabilities of the positive class.
        prior: The share of that class that the probabilities assume.
        weights: (n,) counts, or None.

    Returns:
        A share in 0.01..0.99.

    Source:
        Saerens, Latinne and Decaestecker (2002), Neural Computation 14(1).
    """
    share = prior
    for _ in range(_ROUNDS):
        before = share
        share = float(np.clip(np.average(with_prior(p, prior, before), weights=weights), _LEAST, _MOST))
        if abs(share - before) < _STILL:
            break
    return share


def with_prior(p: np.ndarray, prior: float, share: float) -> np.ndarray:
    """Probabilities corrected from a class share of `prior` to a share of `share`."""
    positive, negative = p * share / prior, (1 - p) * (1 - share) / (1 - prior)
    return positive / (positive + negative)


def score_shifted(
    resampled: ResampledWindows,
    probabilities: Sequence[np.ndarray],
    priors: Sequence[float],
    share: float | None = None,
) -> dict[str, Scored]:
    """Scores of calibrated P(retracement), unchanged and with a prior re-estimated on these rows.

    The new prior is estimated from the probabilities alone, without labels, and once: the intervals do not
    hold the uncertainty of that estimate.

    Args:
        resampled: The labeled expansions; those of unknown type are left out.
        probabilities: (n_expansions,) calibrated, of each training seed.
        priors: The share of retracements that those of each seed assume.
        share: Weight the labeled expansions to this share of retracements; None for equal weights.

    Returns:
        FROZEN and REESTIMATED.
    """
    typed, known = resampled.typed, resampled.windows.spans.is_typed
    y, weights = typed.windows.spans.type, typed.event_weights.astype(float)
    probabilities = [p[known] for p in probabilities]
    each = np.ones(len(y))
    if share is not None:
        each = np.where(y == 1, share / np.mean(y == 1), (1 - share) / np.mean(y == 0))
    corrected = [
        with_prior(p, prior, reestimated_prior(p, prior, each))
        for p, prior in zip(probabilities, priors, strict=True)
    ]
    metrics = {"type_f1_macro": type_f1_macro, "brier": brier, "ece": ece}
    return {
        name: {
            metric: mean_over_seeds(
                [resample(lambda drawn, f=score, p=p: f(y, p, drawn * each), weights) for p in variants]
            )
            for metric, score in metrics.items()
        }
        for name, variants in ((FROZEN, probabilities), (REESTIMATED, corrected))
    }
