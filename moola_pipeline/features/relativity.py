"""The feature table: twelve relativity features and the structural set, computed by segment."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

import numpy as np

from moola_pipeline.features.averages import mean_range, mean_true_range, segment_bounds
from moola_pipeline.features.passes import compiled_input, fill_features, first_illegal
from moola_pipeline.features.schema import N_FEATURES, NEUTRAL, RANGE_HIGH, RANGE_LOW
from moola_pipeline.features.zigzag import ATR_BARS, ZIGZAG_K

RANGE_EMA_BARS = 20
VALID_FROM = 20
"""First bar of a segment whose relativity features are warm."""
STRUCTURE_VALID_FROM = 40
BLOCK_BARS = 200_000
"""Bars processed at once, about: whole segments, at least one."""


@dataclass(frozen=True)
class FeatureTable:
    """Features of every bar of a table.

    Attributes:
        values: (n_bars, F) float32, columns as `FEATURE_NAMES`; `NEUTRAL` where not warm.
        valid: (n_bars,) bool, True where the relativity features are warm.
        structure_valid: (n_bars,) bool, True where the structural set is warm too.
        atr: (n_bars,) float32, ATR(10), index points, at least one tick; 0 while it warms up.
    """

    values: np.ndarray
    valid: np.ndarray
    structure_valid: np.ndarray
    atr: np.ndarray


def compute_features(prices: np.ndarray, segment: np.ndarray, tick_points: float) -> FeatureTable:
    """Compute the features of every bar from the bars of its own segment up to itself.

    Args:
        prices: (n_bars, 4) float64 open, high, low, close in index points.
        segment: (n_bars,) int, non-decreasing; state restarts where it changes.
        tick_points: Smallest price step, index points, > 0.

    Returns:
        The table; a segment shorter than the warm-up has no valid row.

    Raises:
        ValueError: If shapes differ, a price is not finite, high lies below low, or tick <= 0.

    Source:
        ATR (Wilder) and EMA from TA-Lib; zigzag as in `zigzag.causal_zigzag`.
    """
    _check(prices, segment, tick_points)
    n_bars = len(prices)
    table = FeatureTable(
        np.empty((n_bars, N_FEATURES), np.float32),
        np.empty(n_bars, np.bool_),
        np.empty(n_bars, np.bool_),
        np.empty(n_bars, np.float32),
    )
    starts, ends = segment_bounds(segment)
    for block in _blocks(ends):
        _fill(table, prices, starts[block], ends[block], float(tick_points))
    return table


def _blocks(ends: np.ndarray) -> Iterator[slice]:
    """Slices of consecutive segments with about BLOCK_BARS bars together."""
    first = 0
    while first < len(ends):
        start = ends[first - 1] if first else 0
        stop = max(int(np.searchsorted(ends, start + BLOCK_BARS, side="right")), first + 1)
        yield slice(first, stop)
        first = stop


def _fill(
    table: FeatureTable, prices: np.ndarray, starts: np.ndarray, ends: np.ndarray, tick_points: float
) -> None:
    """Fill in the rows of consecutive segments."""
    rows = slice(starts[0], ends[-1])
    opens, high, low, close = (compiled_input(prices[rows, i]) for i in range(4))
    if (bar := first_illegal(opens, high, low, close)) >= 0:
        _refuse(prices[rows.start + bar], int(rows.start + bar))
    starts, ends = starts - rows.start, ends - rows.start
    atr = compiled_input(mean_true_range(high, low, close, starts, ends, ATR_BARS))
    range_ema = compiled_input(mean_range(high, low, starts, ends, RANGE_EMA_BARS))
    fill_features(
        (opens, high, low, close, atr, range_ema),
        starts,
        ends,
        (tick_points, ZIGZAG_K, VALID_FROM, STRUCTURE_VALID_FROM),
        (RANGE_LOW, RANGE_HIGH, NEUTRAL),
        (table.values[rows], table.valid[rows], table.structure_valid[rows], table.atr[rows]),
    )


def _check(prices: np.ndarray, segment: np.ndarray, tick_points: float) -> None:
    if prices.ndim != 2 or prices.shape[1] != 4 or len(segment) != len(prices):
        raise ValueError(
            f"prices must be (n_bars, 4) and segment (n_bars,), got {prices.shape}, {segment.shape}"
        )
    if not tick_points > 0:
        raise ValueError(f"tick_points must be > 0 index points, got {tick_points:g}")
    if len(prices) == 0:
        raise ValueError("prices must hold at least one bar, got none")
    if (segment[1:] < segment[:-1]).any():
        raise ValueError("segment must not decrease")


def _refuse(prices: np.ndarray, bar: int) -> NoReturn:
    if not np.isfinite(prices).all():
        raise ValueError(f"prices must be finite, bar {bar} is not")
    raise ValueError(f"high must be >= low, bar {bar} is not")
