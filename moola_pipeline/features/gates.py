"""Quality gates of a feature table: density, and spread within the declared range."""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from moola_pipeline.features.schema import FEATURE_NAMES, MIN_DENSITY, MIN_SPREAD, RANGE_HIGH, RANGE_LOW

SPREAD_PERCENTILES = (1, 50, 99)


def feature_table_figures(values: np.ndarray) -> pd.DataFrame:
    """Density and spread of each feature.

    Args:
        values: (n, F) valid rows of a feature table.

    Returns:
        One row a feature: non_zero_share, p1, median, p99, spread_share (99th minus 1st
        percentile over the declared range).

    Raises:
        ValueError: If there is no row.
    """
    if len(values) == 0:
        raise ValueError("values must hold at least one valid row, got none")
    # Column by column: percentiles of the whole table would copy it twice.
    percentiles = [np.percentile(values[:, f], SPREAD_PERCENTILES) for f in range(values.shape[1])]
    p1, median, p99 = np.array(percentiles).T
    return pd.DataFrame(
        {
            "non_zero_share": np.count_nonzero(values, axis=0) / len(values),
            "p1": p1,
            "median": median,
            "p99": p99,
            "spread_share": (p99 - p1) / (RANGE_HIGH - RANGE_LOW),
        },
        index=list(FEATURE_NAMES),
    )


def is_dense(non_zero_share: ArrayLike) -> np.ndarray:
    """True where a feature has enough values that are not 0; (..., F) in and out."""
    return np.asarray(non_zero_share) > MIN_DENSITY


def is_spread(spread_share: ArrayLike) -> np.ndarray:
    """True where a feature uses enough of its declared range; (..., F) in and out."""
    return np.asarray(spread_share) >= MIN_SPREAD


def weakest_feature(shares: np.ndarray, limits: np.ndarray) -> tuple[str, float, float]:
    """The feature closest to its limit or farthest below it: its name, its share, its limit.

    Args:
        shares: (..., F).
        limits: (F,) one for each feature.
    """
    margin = np.asarray(shares) - limits
    place = np.unravel_index(int(np.argmin(margin)), margin.shape)
    return FEATURE_NAMES[place[-1]], float(np.asarray(shares)[place]), float(limits[place[-1]])
