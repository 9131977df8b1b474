"""Bootstrap over whole sessions, as expansions of one session are not independent."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

N_RESAMPLES = 2000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A score, its 95 % bootstrap interval, and its number of rows."""

    estimate: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Resampled:
    """A score on all rows and on each resample: (n_resamples,) float64."""

    estimate: float
    values: np.ndarray
    n: int

    @property
    def interval(self) -> Interval:
        """The percentile interval."""
        return interval(self.values, self.estimate, self.n)

    def minus(self, other: "Resampled") -> "Resampled":
        """Paired difference to another score; both must come from the same weights.

        Raises:
            ValueError: If the numbers of resamples differ.
        """
        if self.values.shape != other.values.shape:
            raise ValueError(
                "a paired difference needs the same resamples on both sides, "
                f"got {len(self.values)} and {len(other.values)}"
            )
        n = min(self.n, other.n)
        return Resampled(self.estimate - other.estimate, self.values - other.values, n)


def session_weights(sessions: pd.Series, n_resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Count of each row when sessions are drawn with replacement.

    Args:
        sessions: (n_rows,) session of each row.
        n_resamples: Number of resamples.
        rng: Source of the draws.

    Returns:
        (n_resamples, n_rows) int64; rows of one session have equal weights.

    Raises:
        ValueError: If there is no row.
    """
    codes, names = pd.factorize(sessions)
    if not len(names):
        raise ValueError("a bootstrap needs at least one session, got none")
    draws = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=n_resamples)
    return draws[:, codes]


def resample(score: Callable[[np.ndarray], np.ndarray], weights: np.ndarray) -> Resampled:
    """A score on all rows and on every resample.

    Args:
        score: From weights (..., n_rows) to scores (...), as in `metrics`.
        weights: (n_resamples, n_rows) from `session_weights`.
    """
    n = weights.shape[1]
    return Resampled(float(score(np.ones(n))), np.asarray(score(weights), float), n)


def mean_over_seeds(runs: Sequence[Resampled]) -> Resampled:
    """Mean score over training seeds, within each resample.

    Raises:
        ValueError: If there is no run, or the numbers of resamples differ.
    """
    if len({run.values.shape for run in runs}) != 1:
        raise ValueError(f"seeds must be scored on equally many resamples, got {len(runs)} runs that are not")
    values = np.mean([run.values for run in runs], axis=0)
    return Resampled(float(np.mean([run.estimate for run in runs])), values, min(run.n for run in runs))


def interval(values_by_resample: np.ndarray, estimate: float, n: int) -> Interval:
    """The 95 % percentile interval; resamples with an undefined score (NaN) are skipped."""
    defined = values_by_resample[~np.isnan(values_by_resample)]
    if not len(defined):
        return Interval(estimate, float("nan"), float("nan"), n)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return Interval(estimate, float(low), float(high), n)
