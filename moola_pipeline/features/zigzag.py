"""Causal zigzag: swing highs and lows, each known from the bar that confirms it."""

from typing import NamedTuple

import numpy as np

from moola_pipeline.features.averages import mean_true_range, segment_bounds
from moola_pipeline.features.passes import compiled_input, track_segments

ATR_BARS = 10
ZIGZAG_K = 1.2
"""Retracement from the running extreme, in ATR, that confirms a swing."""


class SwingList(NamedTuple):
    """Confirmed swings in the order in which they were confirmed; every array is (n_swings,).

    Attributes:
        bar: Row of the bar with the extreme.
        price: The extreme, index points.
        is_high: True for a swing high, False for a swing low.
        confirmed_bar: Row of the bar that confirmed it, a later one of the same segment.
    """

    bar: np.ndarray
    price: np.ndarray
    is_high: np.ndarray
    confirmed_bar: np.ndarray


class Swings(NamedTuple):
    """The swings known at each bar; every array is (n_bars,).

    Attributes:
        direction: +1 in an up leg, -1 in a down leg, 0 until the first move of k ATR.
        high, low: Price of the last confirmed swing high and low, index points; until one is
            confirmed, the running extreme of the segment.
        high_bar, low_bar: Index of the bar with that extreme.
        confirmed: True where this bar confirmed a swing.
    """

    direction: np.ndarray
    high: np.ndarray
    low: np.ndarray
    high_bar: np.ndarray
    low_bar: np.ndarray
    confirmed: np.ndarray


def causal_zigzag(
    high: np.ndarray,
    low: np.ndarray,
    close: np.ndarray,
    atr: np.ndarray,
    k: float = ZIGZAG_K,
    starts: np.ndarray | None = None,
) -> Swings:
    """Track the swing in progress; bar t uses the bars of its segment up to t and no later ones.

    A swing is reported from the bar that confirms it, not from the bar of its extreme: before, it
    is not known. A bar never confirms its own extreme.

    Args:
        high, low, close: (n_bars,) float64, index points.
        atr: (n_bars,) float64, index points; NaN while it warms up.
        k: Retracement from the running extreme, in ATR, that confirms a swing, > 0.
        starts: (n_segments,) int, increasing from 0: first bar of each segment, where the state
            restarts; one segment when not given.

    Returns:
        Swings with n_bars entries, aligned with the input bars.

    Raises:
        ValueError: If the shapes differ, a price is not finite, k <= 0, or starts is not as above.

    Source:
        Directional-change events: Glattfelder, Dupuis and Olsen (2011), Quantitative Finance 11(4).
    """
    if not k > 0:
        raise ValueError(f"k must be > 0 ATR, got {k:g}")
    if not high.shape == low.shape == close.shape == atr.shape:
        raise ValueError(f"shapes must agree, got {high.shape}, {low.shape}, {close.shape}, {atr.shape}")
    if not (np.isfinite(high).all() and np.isfinite(low).all() and np.isfinite(close).all()):
        raise ValueError("prices must be finite, got NaN or infinity")
    high, low, close, atr = (compiled_input(values) for values in (high, low, close, atr))
    n_bars = len(close)
    swings = Swings(
        np.empty(n_bars, np.int8),
        np.empty(n_bars),
        np.empty(n_bars),
        np.empty(n_bars, np.int64),
        np.empty(n_bars, np.int64),
        np.empty(n_bars, np.bool_),
    )
    starts = np.zeros(1, np.int64) if starts is None else np.asarray(starts, np.int64)
    if n_bars and (starts[0] != 0 or (np.diff(starts) <= 0).any() or starts[-1] >= n_bars):
        raise ValueError("starts must increase from bar 0 and lie in the bars")
    bars, ends = (high, low, close, atr), np.append(starts[1:], n_bars)
    track_segments(bars, float(k), starts, ends, tuple(swings))
    return swings


def confirmed_swings(
    prices: np.ndarray, segment: np.ndarray, tick_points: float, k: float = ZIGZAG_K, atr_bars: int = ATR_BARS
) -> SwingList:
    """List the swings of a table of bars; none crosses the end of a segment.

    Args:
        prices: (n_bars, 4) float64 open, high, low, close, index points.
        segment: (n_bars,) int, non-decreasing.
        tick_points: Smallest price step, index points; ATR is at least this.
        k: Retracement from the running extreme, in ATR, that confirms a swing, > 0.
        atr_bars: Bars of the ATR, >= 1.

    Raises:
        ValueError: If `atr_bars` < 1, or as `causal_zigzag`.
    """
    if atr_bars < 1:
        raise ValueError(f"atr_bars must be >= 1, got {atr_bars}")
    high, low, close = (compiled_input(prices[:, i]) for i in (1, 2, 3))
    starts, ends = segment_bounds(segment)
    atr = mean_true_range(high, low, close, starts, ends, atr_bars)
    swings = causal_zigzag(high, low, close, np.maximum(atr, tick_points), k, starts)
    turned = np.flatnonzero(swings.confirmed)
    is_high = swings.direction[turned] < 0
    bar = np.where(is_high, swings.high_bar[turned], swings.low_bar[turned])
    price = np.where(is_high, swings.high[turned], swings.low[turned])
    return SwingList(bar, price, is_high, turned)
