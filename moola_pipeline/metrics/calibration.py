"""Whether probabilities mean what they say: the calibration error, and what a perfect model would show."""

from typing import NamedTuple

import numpy as np
from scipy.special import ndtr
from scipy.stats import rankdata

N_BINS = 5
N_SIMULATED = 2000
CONFIDENCE = 0.95


class Bins(NamedTuple):
    """Rows by rising probability; all (n_bins,).

    Attributes:
        probability: Mean probability said.
        share: Share of rows that were positive.
        n: Rows.
    """

    probability: np.ndarray
    share: np.ndarray
    n: np.ndarray


def equal_mass(p: np.ndarray, n_bins: int = N_BINS) -> np.ndarray:
    """Bin of each probability, 0..n_bins-1, as many rows in each as can be; equal ones share a bin."""
    return np.floor(n_bins * (rankdata(p) - 0.5) / len(p)).astype(np.int64)


def reliability(y: np.ndarray, p: np.ndarray, n_bins: int = N_BINS) -> Bins:
    """The bins that `ece` compares; bins left empty by equal probabilities are not there.

    Args:
        y: (n,) class numbers, 0 or 1.
        p: (n,) probabilities of class 1.
        n_bins: At most so many.
    """
    _, number = np.unique(equal_mass(p, n_bins), return_inverse=True)
    n = np.bincount(number)
    return Bins(np.bincount(number, p) / n, np.bincount(number, np.asarray(y, float)) / n, n)


def ece(y: np.ndarray, p: np.ndarray, weights: np.ndarray | None = None, n_bins: int = N_BINS) -> np.ndarray:
    """Expected calibration error: mean distance of probability said and share found, over bins.

    Debiased: a bin's share differs from its probability by chance alone, and its absolute value
    cannot cancel that. The excess that chance gives a normal share of this spread is taken off;
    the result is at least 0. Under weights the spread is that of a weighted mean (the effective
    number of rows of Kish), so that a resample, which is noisier, is not read as worse.

    Args:
        y: (n,) class numbers, 0 or 1.
        p: (n,) probabilities of class 1.
        weights: (..., n) counts of a bootstrap, or None; the bins are those of all rows.
        n_bins: Bins of equal mass.

    Source:
        Kumar, Liang and Ma (2019), NeurIPS, appendix on debiasing the expected calibration error;
        its resampling of normal shares has a closed form for the absolute error.
    """
    drawn = np.ones(len(p)) if weights is None else np.asarray(weights, float)
    inside = _membership(p, n_bins)  # (n, bins)
    mass = drawn @ inside  # (..., bins)
    total = np.where(mass > 0, mass, np.nan)
    share = drawn @ (inside * np.asarray(y, float)[:, None]) / total
    said = drawn @ (inside * np.asarray(p, float)[:, None]) / total
    rows = total**2 / (np.square(drawn) @ inside)
    return _debiased(share, said, rows, mass)


def perfect_band(p: np.ndarray, rng: np.random.Generator, n_bins: int = N_BINS) -> tuple[float, float]:
    """The 95 % band of `ece` if every probability were right, for these probabilities.

    Classes are drawn with the probabilities said, 2,000 times.

    Args:
        p: (n,) probabilities of class 1.
        rng: Source of the draws.
        n_bins: Bins of equal mass.
    """
    inside = _membership(p, n_bins)
    n = inside.sum(axis=0)
    kept = n > 0
    drawn = rng.random((N_SIMULATED, len(p))) < p
    share = drawn.astype(float) @ inside[:, kept] / n[kept]
    said = np.asarray(p, float) @ inside[:, kept] / n[kept]
    found = _debiased(share, said, n[kept], n[kept])
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(found, [tail, 1 - tail])
    return float(low), float(high)


def _membership(p: np.ndarray, n_bins: int) -> np.ndarray:
    return (equal_mass(p, n_bins)[:, None] == np.arange(n_bins)).astype(float)


def _debiased(share: np.ndarray, said: np.ndarray, rows: np.ndarray, mass: np.ndarray) -> np.ndarray:
    """Twice the mean distance less what it would be, on average, were it measured once more."""
    apart = np.abs(share - said)
    spread = np.sqrt(share * (1 - share) / rows)
    away = np.divide(apart, spread, out=np.full(np.shape(apart), np.inf), where=spread > 0)
    again = spread * np.sqrt(2 / np.pi) * np.exp(-np.square(away) / 2) + apart * (1 - 2 * ndtr(-away))
    error = np.where(mass > 0, 2 * apart - again, 0)
    return np.maximum((mass * error).sum(axis=-1) / mass.sum(axis=-1), 0)
