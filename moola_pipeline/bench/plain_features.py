"""Plain ways to compute part of the feature table, to be timed against."""

import numpy as np
import pandas as pd

from moola_pipeline.features.relativity import ATR_BARS, RANGE_EMA_BARS
from moola_pipeline.windows.frame import WINDOW_BARS


def pandas_features(prices: np.ndarray, segment: np.ndarray) -> pd.DataFrame:
    """The features pandas can express without a loop: 1-6 and the structural set, no swings.

    It does less than `compute_features`, so the ratio of their times is a lower bound.
    """
    bars = pd.DataFrame(prices, columns=["open", "high", "low", "close"])
    by_segment = bars.groupby(segment, sort=False)
    reach = (bars["high"] - bars["low"]).clip(lower=0.25)
    body_top = bars[["open", "close"]].max(axis=1)
    body_bottom = bars[["open", "close"]].min(axis=1)
    before = by_segment["close"].shift()
    true_range = bars["high"].clip(lower=before) - bars["low"].clip(upper=before)
    atr = true_range.groupby(segment).transform(lambda it: it.ewm(alpha=1 / ATR_BARS, adjust=False).mean())
    mean_range = reach.groupby(segment).transform(lambda it: it.ewm(span=RANGE_EMA_BARS, adjust=False).mean())
    features = {
        "open_norm": (bars["open"] - bars["low"]) / reach,
        "close_norm": (bars["close"] - bars["low"]) / reach,
        "body_pct": (bars["close"] - bars["open"]) / reach,
        "upper_wick_pct": (bars["high"] - body_top) / reach,
        "lower_wick_pct": (body_bottom - bars["low"]) / reach,
        "range_z": (reach / mean_range).clip(upper=3),
    }
    steps = by_segment["close"].diff().abs()
    for n_bars in (10, 20, 40):
        top = by_segment["high"].rolling(n_bars).max().to_numpy()
        bottom = by_segment["low"].rolling(n_bars).min().to_numpy()
        path = steps.groupby(segment, sort=False).rolling(n_bars).sum().to_numpy()
        move = by_segment["close"].diff(n_bars)
        features[f"range_{n_bars}"] = (top - bottom) / atr
        features[f"move_{n_bars}"] = move / atr
        features[f"efficiency_{n_bars}"] = move.abs() / path
        features[f"position_{n_bars}"] = (bars["close"] - bottom) / (top - bottom)
    return pd.DataFrame(features)


def streaming_bars(prices: np.ndarray) -> list[tuple[float, ...]]:
    """Features 1-6 bar by bar in Python, as bars would arrive one at a time; no swings."""
    rows = []
    mean_range = atr = 0.0
    before = float(prices[0, 3])
    for opened, high, low, close in prices.tolist():
        reach = max(high - low, 0.25)
        mean_range += (reach - mean_range) * 2 / (RANGE_EMA_BARS + 1)
        atr += (max(high, before) - min(low, before) - atr) / ATR_BARS
        before = close
        top, bottom = max(opened, close), min(opened, close)
        rows.append(
            (
                (opened - low) / reach,
                (close - low) / reach,
                (close - opened) / reach,
                (high - top) / reach,
                (bottom - low) / reach,
                min(reach / mean_range, 3.0),
            )
        )
    return rows


def rebuilt_windows(prices: np.ndarray, last_bars: np.ndarray) -> list[pd.DataFrame]:
    """The features of windows as a data set of the first attempt made them: in pandas, anew for each item.

    Args:
        prices: (n_bars, 4) float64.
        last_bars: (n_windows,) rows of the last bar of each window, which reads 105 bars.
    """
    frames = []
    for last in last_bars.tolist():
        rows = prices[last + 1 - WINDOW_BARS : last + 1]
        frames.append(pandas_features(rows, np.zeros(len(rows), np.int32)))
    return frames
