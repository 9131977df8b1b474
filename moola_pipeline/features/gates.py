"""The gates a feature table must pass: dense, and alive within its declared range."""

import numpy as np
import pandas as pd

from moola_pipeline.features.schema import FEATURE_NAMES, RANGE_HIGH, RANGE_LOW

MIN_NON_ZERO_SHARE = 0.5
MIN_SPREAD_SHARE = 0.2
"""Least share of the declared range between the 1st and the 99th percentile."""


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
    p1, median, p99 = np.percentile(values, (1, 50, 99), axis=0)
    return pd.DataFrame(
        {
            "non_zero_share": (values != 0).mean(axis=0),
            "p1": p1,
            "median": median,
            "p99": p99,
            "spread_share": (p99 - p1) / (RANGE_HIGH - RANGE_LOW),
        },
        index=list(FEATURE_NAMES),
    )
