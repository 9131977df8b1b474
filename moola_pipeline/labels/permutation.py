"""Permutation tests of several statistics at once, and of several families of them."""

from collections.abc import Callable, Sequence

import numpy as np

N_PERMUTATIONS = 1999
_ROUNDING = 1e-12


def permutation_p_values(
    statistics: Callable[[np.ndarray], np.ndarray],
    n_units: int,
    rng: np.random.Generator,
    n_permutations: int = N_PERMUTATIONS,
) -> np.ndarray:
    """P-values of statistics whose units are exchangeable under the null, adjusted for their number.

    Each statistic is standardized by its own permutations and compared with the largest of all, so
    that a family without an effect gives a p-value <= 0.05 in 5 % of cases, for any number of
    statistics and any dependence between them.

    Args:
        statistics: Maps an order of the units, (n_units,) int64, to (n_statistics,) float64; large
            values are evidence against the null, NaN means undefined.
        n_units: Number of units.
        rng: Source of the permutations.
        n_permutations: Their number.

    Returns:
        (n_statistics,) float64, > 0; 1 where a statistic is undefined or never varies.

    Source:
        Single-step maxT: Westfall and Young (1993), Resampling-Based Multiple Testing, 2.6.
    """
    observed = statistics(np.arange(n_units))
    if not len(observed):
        return np.empty(0)
    draws = [statistics(rng.permutation(n_units)) for _ in range(n_permutations)]
    drawn = np.ma.masked_invalid([observed, *draws])
    spread = drawn.std(axis=0).filled(0)
    varies = spread > _ROUNDING
    scores = (drawn - drawn.mean(axis=0)) / np.where(varies, spread, 1)
    scores = np.where(varies, scores.filled(-np.inf), -np.inf)
    largest = scores.max(axis=1)
    at_least = (largest[:, None] >= scores[0] - _ROUNDING).mean(axis=0)
    return np.where(np.isfinite(scores[0]), at_least, 1.0)


def adjust_families(families: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Adjust p-values of several families for the number of families.

    Each family must be adjusted within itself already; its smallest p-value decides its rank.

    Source:
        Holm (1979), Scandinavian Journal of Statistics 6(2).
    """
    smallest = [p_values.min(initial=1.0) for p_values in families]
    adjusted, floor = list(families), 0.0
    for rank, place in enumerate(np.argsort(smallest, kind="stable")):
        adjusted[place] = np.clip(families[place] * (len(families) - rank), floor, 1.0)
        floor = adjusted[place].min(initial=1.0)
    return adjusted
