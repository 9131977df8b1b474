"""The swing in progress: which extreme the last leg ended at, known only once it is confirmed."""

from typing import NamedTuple

import numba
import numpy as np

ZIGZAG_K = 1.2
"""Retracement from the running extreme, in ATR, that confirms a swing."""


class Swings(NamedTuple):
    """What could be known of the swings at each bar; every array is (n_bars,).

    Attributes:
        direction: +1 in an up leg, -1 in a down leg, 0 until the first move of k ATR.
        high, low: Price of the last confirmed swing high and low, index points; until one is
            confirmed, the running extreme of the segment.
        high_bar, low_bar: Index of the bar where that extreme stood.
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
    """Track the swing in progress; bar t sees the bars of its segment up to t and nothing later.

    A swing is reported from the bar that confirms it, not from the bar where it stood: in
    between, nobody could have known. A bar never confirms its own extreme.

    Args:
        high, low, close: (n_bars,) float64, index points.
        atr: (n_bars,) float64, index points; NaN while it warms up.
        k: Retracement from the running extreme, in ATR, that confirms a swing, > 0.
        starts: (n_segments,) int, increasing from 0: bars at which everything starts afresh;
            one segment when not given.

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
        np.zeros(n_bars, np.int8),
        np.empty(n_bars),
        np.empty(n_bars),
        np.empty(n_bars, np.int64),
        np.empty(n_bars, np.int64),
        np.zeros(n_bars, np.bool_),
    )
    starts = np.zeros(1, np.int64) if starts is None else np.asarray(starts, np.int64)
    if n_bars and (starts[0] != 0 or (np.diff(starts) <= 0).any() or starts[-1] >= n_bars):
        raise ValueError("starts must increase from bar 0 and lie in the bars")
    _track_segments(high, low, close, atr, float(k), starts, np.append(starts[1:], n_bars), *swings)
    return swings


def compiled_input(values: np.ndarray) -> np.ndarray:
    """A (n,) series as contiguous, read-only float64, copied only where it is not.

    numba compiles once for each dtype, layout and writability of its arguments, seconds each;
    pandas gives read-only arrays, numpy writable ones.
    """
    values = np.ascontiguousarray(values, np.float64).view()
    values.flags.writeable = False
    return values


@numba.njit(cache=True)
def _track_segments(
    high, low, close, atr, k, starts, ends, direction, swing_high, swing_low, high_bar, low_bar, confirmed
):
    for i in range(len(starts)):
        _track(
            high, low, close, atr, k, starts[i], ends[i],
            direction, swing_high, swing_low, high_bar, low_bar, confirmed,
        )  # fmt: skip


@numba.njit(cache=True)
def _track(
    high, low, close, atr, k, first, end, direction, swing_high, swing_low, high_bar, low_bar, confirmed
):
    if first == end:
        return
    leg = 0
    extreme, extreme_bar = 0.0, first
    top, top_bar, bottom, bottom_bar = high[first], first, low[first], first
    top_confirmed, bottom_confirmed = False, False
    for t in range(first, end):
        if not top_confirmed and high[t] > top:
            top, top_bar = high[t], t
        if not bottom_confirmed and low[t] < bottom:
            bottom, bottom_bar = low[t], t
        reversal = k * atr[t]
        if leg == 0:
            # NaN while ATR warms up compares False both ways, so the direction stays open.
            if close[t] - close[first] >= reversal:
                leg, extreme, extreme_bar = 1, top, top_bar
            elif close[first] - close[t] >= reversal:
                leg, extreme, extreme_bar = -1, bottom, bottom_bar
        elif leg == 1:
            if high[t] > extreme:
                extreme, extreme_bar = high[t], t
            elif extreme - close[t] >= reversal:
                top, top_bar, top_confirmed = extreme, extreme_bar, True
                leg, confirmed[t] = -1, True
                extreme_bar = top_bar + 1
                extreme = low[extreme_bar]
                for j in range(extreme_bar + 1, t + 1):
                    if low[j] < extreme:
                        extreme, extreme_bar = low[j], j
        elif low[t] < extreme:
            extreme, extreme_bar = low[t], t
        elif close[t] - extreme >= reversal:
            bottom, bottom_bar, bottom_confirmed = extreme, extreme_bar, True
            leg, confirmed[t] = 1, True
            extreme_bar = bottom_bar + 1
            extreme = high[extreme_bar]
            for j in range(extreme_bar + 1, t + 1):
                if high[j] > extreme:
                    extreme, extreme_bar = high[j], j
        direction[t] = leg
        swing_high[t], high_bar[t] = top, top_bar
        swing_low[t], low_bar[t] = bottom, bottom_bar
