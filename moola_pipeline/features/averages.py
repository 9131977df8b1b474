"""Averages from TA-Lib that restart in each segment: ATR, and the EMA of the range."""

import numpy as np
import talib


def segment_bounds(segment: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First row and end row (exclusive) of each segment of a non-decreasing (n_bars,) column."""
    starts = np.flatnonzero(np.concatenate([[True], segment[1:] != segment[:-1]])[: len(segment)])
    return starts, np.append(starts[1:], len(segment))


def mean_true_range(
    high: np.ndarray, low: np.ndarray, close: np.ndarray, starts: np.ndarray, ends: np.ndarray, n_bars: int
) -> np.ndarray:
    """Wilder's ATR of each segment: (n_bars,) float64, NaN in its first `n_bars` bars.

    Args:
        high, low, close: (n_bars,) float64, index points.
        starts, ends: (n_segments,) from `segment_bounds`.
        n_bars: Bars of the average, >= 1.

    Source:
        TA-Lib ATR.
    """
    atr = np.full(len(close), np.nan)
    for first, end in zip(starts.tolist(), ends.tolist(), strict=True):
        if end - first > n_bars:
            rows = slice(first, end)
            atr[rows] = talib.ATR(high[rows], low[rows], close[rows], n_bars)
    return atr


def mean_range(
    high: np.ndarray, low: np.ndarray, starts: np.ndarray, ends: np.ndarray, n_bars: int
) -> np.ndarray:
    """Exponential average of high - low in each segment: as `mean_true_range`, NaN before bar `n_bars` - 1.

    Source:
        TA-Lib EMA.
    """
    ema = np.full(len(high), np.nan)
    for first, end in zip(starts.tolist(), ends.tolist(), strict=True):
        if end - first >= n_bars:
            rows = slice(first, end)
            ema[rows] = talib.EMA(high[rows] - low[rows], n_bars)
    return ema
