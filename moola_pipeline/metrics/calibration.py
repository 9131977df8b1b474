"""Calibration error, reliability bins, and the range of a perfectly calibrated model."""

from typing import NamedTuple

import numpy as np
from scipy.special import ndtr

N_BINS = 5
N_SIMULATED = 2000
CONFIDENCE = 0.95


class Bins(NamedTuple):
    """Bins by rising probability; all (n_bins,).

    Attributes:
        probability: Mean predicted probability.
        share: Share of positive rows.
        n: Rows.
    """

    probability: np.ndarray
    share: np.ndarray
    n: np.ndarray


def equal_mass(p: np.ndarray, n_bins: int = N_BINS) -> np.ndarray:
    """Bin 0..n_bins-1 of each probability, bins as equal in size as possible; ties share a bin."""
    from scipy.stats import rankdata  # slow import; not needed to define the assets

    return np.floor(n_bins * (rankdata(p) - 0.5) / len(p)).astype(np.int64)


def reliability(y: np.ndarray, p: np.ndarray, n_bins: int = N_BINS) -> Bins:
    """The bins of `ece`, without those left empty by ties.

    Args:
        y: (n,) class numbers, 0 or 1.
        p: (n,) probabilities of class 1.
        n_bins: Maximum number of bins.
    """
    _, number = np.unique(equal_mass(p, n_bins), return_inverse=True)
    n = np.bincount(number)
    return Bins(np.bincount(number, p) / n, np.bincount(number, np.asarray(y, float)) / n, n)


def ece(y: np.ndarray, p: np.ndarray, weights: np.ndarray | None = None, n_bins: int = N_BINS) -> np.ndarray:
    """Expected calibration error: mean distance between predicted probability and share, over bins.

    Debiased: sampling noise alone makes a bin's share differ from its probability, and absolute
    differences do not cancel. The expected excess of a normal share with this standard error is
    subtracted; the result is at least 0. With weights, the standard error is that of a weighted mean
    (Kish's effective sample size), as resamples are noisier.

    Args:
        y: (n,) class numbers, 0 or 1.
        p: (n,) probabilities of class 1.
        weights: (..., n) bootstrap counts, or None; bins are always those of all rows.
        n_bins: Bins of equal mass.

    Source:
        Kumar, Liang and Ma (2019), NeurIPS, appendix on debiasing the expected calibration error;
        for the absolute error, its resampling of normal shares has a closed form.
    """
    drawn = np.ones(len(p)) if weights is None else np.asarray(weights, float)
    inside = _membership(p, n_bins)  # (n, bins)
    mass = drawn @ inside  # (..., bins)
    total = np.where(mass > 0, mass, np.nan)
    share = drawn @ (inside * np.asarray(y, float)[:, None]) / total
    predicted = drawn @ (inside * np.asarray(p, float)[:, None]) / total
    rows = total**2 / (np.square(drawn) @ inside)
    return _debiased(share, predicted, rows, mass)


def perfect_band(p: np.ndarray, rng: np.random.Generator, n_bins: int = N_BINS) -> tuple[float, float]:
    """The 95 % band of `ece` of a perfectly calibrated model with these probabilities.

    Classes are drawn from the probabilities 2,000 times.

    Args:
        p: (n,) probabilities of class 1.
        rng: Source of the draws.
        n_bins: Bins of equal mass.
    """
    inside = _membership(p, n_bins)
    n = inside.sum(axis=0)
    filled = n > 0
    drawn = rng.random((N_SIMULATED, len(p))) < p
    share = drawn.astype(float) @ inside[:, filled] / n[filled]
    predicted = np.asarray(p, float) @ inside[:, filled] / n[filled]
    errors = _debiased(share, predicted, n[filled], n[filled])
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(errors, [tail, 1 - tail])
    return float(low), float(high)


def _membership(p: np.ndarray, n_bins: int) -> np.ndarray:
    return (equal_mass(p, n_bins)[:, None] == np.arange(n_bins)).astype(float)


def _debiased(share: np.ndarray, predicted: np.ndarray, rows: np.ndarray, mass: np.ndarray) -> np.ndarray:
    """Twice the mean distance minus its expectation in a new sample."""
    distance = np.abs(share - predicted)
    spread = np.sqrt(share * (1 - share) / rows)
    z = np.divide(distance, spread, out=np.full(np.shape(distance), np.inf), where=spread > 0)
    expected = spread * np.sqrt(2 / np.pi) * np.exp(-np.square(z) / 2) + distance * (1 - 2 * ndtr(-z))
    error = np.where(mass > 0, 2 * distance - expected, 0)
    return np.maximum((mass * error).sum(axis=-1) / mass.sum(axis=-1), 0)
