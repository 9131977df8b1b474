"""Density and spread of each feature at each bar of the windows."""

from typing import NamedTuple

import numpy as np

from moola_pipeline.features.schema import RANGE_HIGH, RANGE_LOW
from moola_pipeline.windows.frame import WINDOW_BARS


class PositionFigures(NamedTuple):
    """Density and spread of each feature at each bar of the windows, (T, F) float64 each.

    Attributes:
        non_zero_share: Share of the windows whose value there is not 0.
        spread_share: 99th minus 1st percentile over the windows, over the declared range.
    """

    non_zero_share: np.ndarray
    spread_share: np.ndarray


def figures_by_position(values: np.ndarray, bar0: np.ndarray) -> PositionFigures:
    """What `gates.feature_table_figures` says of a table, for each of the 105 bars of windows.

    Args:
        values: (n_bars, F) feature table.
        bar0: (n_windows,) rows of bar 0, at least one.
    """
    bar0 = np.asarray(bar0)
    dense, spread = np.empty((2, WINDOW_BARS, values.shape[1]))
    for t in range(WINDOW_BARS):
        # One position at a time, so that the bars of all windows never lie in memory at once.
        rows = values[bar0 + t]
        dense[t] = np.count_nonzero(rows, axis=0) / len(rows)
        p1, p99 = np.percentile(rows, (1, 99), axis=0)
        spread[t] = (p99 - p1) / (RANGE_HIGH - RANGE_LOW)
    return PositionFigures(dense, spread)
