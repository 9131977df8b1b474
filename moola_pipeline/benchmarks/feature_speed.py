"""Speed of features, of plain alternatives, of a stored table, and of gathering windows."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from safetensors.numpy import load_file, save_file

from moola_pipeline.bars.instruments import NQ
from moola_pipeline.bars.schema import PRICE_COLUMNS, content_digest
from moola_pipeline.benchmarks.measured_process import (
    BATCH_WINDOWS,
    Memory,
    memory_of_features,
    seconds_to_compile,
)
from moola_pipeline.features.relativity import ATR_BARS, RANGE_EMA_BARS, FeatureTable, compute_features
from moola_pipeline.storage.atomic_write import atomic_write, file_sha256
from moola_pipeline.windows.dense import pretraining_windows
from moola_pipeline.windows.window_geometry import WINDOW_BARS, gather_rows


def pandas_features(prices: np.ndarray, segment: np.ndarray) -> pd.DataFrame:
    """The features that pandas computes without a loop: 1-6 and the structural set, no swings.

    This is less work than `compute_features`, so the ratio of their times is a lower bound.
    """
    bars = pd.DataFrame(prices, columns=["open", "high", "low", "close"])
    by_segment = bars.groupby(segment, sort=False)
    bar_range = (bars["high"] - bars["low"]).clip(lower=0.25)
    body_top = bars[["open", "close"]].max(axis=1)
    body_bottom = bars[["open", "close"]].min(axis=1)
    before = by_segment["close"].shift()
    true_range = bars["high"].clip(lower=before) - bars["low"].clip(upper=before)
    atr = true_range.groupby(segment).transform(lambda it: it.ewm(alpha=1 / ATR_BARS, adjust=False).mean())
    mean_range = bar_range.groupby(segment).transform(
        lambda it: it.ewm(span=RANGE_EMA_BARS, adjust=False).mean()
    )
    features = {
        "open_norm": (bars["open"] - bars["low"]) / bar_range,
        "close_norm": (bars["close"] - bars["low"]) / bar_range,
        "body_pct": (bars["close"] - bars["open"]) / bar_range,
        "upper_wick_pct": (bars["high"] - body_top) / bar_range,
        "lower_wick_pct": (body_bottom - bars["low"]) / bar_range,
        "range_z": (bar_range / mean_range).clip(upper=3),
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
    """Features 1-6 in a Python loop over the bars; no swings."""
    rows = []
    mean_range = atr = 0.0
    before = float(prices[0, 3])
    for opened, high, low, close in prices.tolist():
        bar_range = max(high - low, 0.25)
        mean_range += (bar_range - mean_range) * 2 / (RANGE_EMA_BARS + 1)
        atr += (max(high, before) - min(low, before) - atr) / ATR_BARS
        before = close
        top, bottom = max(opened, close), min(opened, close)
        rows.append(
            (
                (opened - low) / bar_range,
                (close - low) / bar_range,
                (close - opened) / bar_range,
                (high - top) / bar_range,
                (bottom - low) / bar_range,
                min(bar_range / mean_range, 3.0),
            )
        )
    return rows


def rebuilt_windows(prices: np.ndarray, last_bars: np.ndarray) -> list[pd.DataFrame]:
    """The features of windows, recomputed in pandas for each window.

    Args:
        prices: (n_bars, 4) float64.
        last_bars: (n_windows,) rows of the last bar of each window, which reads 105 bars.
    """
    frames = []
    for last in last_bars.tolist():
        rows = prices[last + 1 - WINDOW_BARS : last + 1]
        frames.append(pandas_features(rows, np.zeros(len(rows), np.int32)))
    return frames


REBUILT_WINDOWS = 50
GATHERED_WINDOWS = 16_384
REPEATS = 7


class Timing(NamedTuple):
    """Seconds of the best repeat; `floor` is the limit in seconds, `goal` the target, if any."""

    seconds: float
    repeats: int
    floor: float | None = None
    goal: float | None = None


class FeatureSpeed(NamedTuple):
    """Speed and memory of features and windows.

    Attributes:
        timings: By name.
        microseconds_a_bar: Of the feature table and of each alternative.
        windows_a_second: Windows gathered per second in batches of 64, each with 125 bars and all features.
        memory: Of bars, features and windows.
    """

    timings: dict[str, Timing]
    microseconds_a_bar: dict[str, float]
    windows_a_second: float
    memory: Memory


def measure_feature_speed(prices: np.ndarray, segment: np.ndarray, streamed_bars: int) -> FeatureSpeed:
    """Measure on these bars; slow alternatives are timed on fewer of them."""
    n_bars, few = len(prices), min(streamed_bars, len(prices))
    table = compute_features(prices, segment, NQ.tick_points)  # compiles
    last_bars = np.linspace(WINDOW_BARS, n_bars - 1, REBUILT_WINDOWS).astype(int)
    timings = {
        "features": timed(lambda: compute_features(prices, segment, NQ.tick_points), floor=0.3, goal=0.1),
        "features_compile": Timing(seconds_to_compile(), 1),
        "features_pandas": timed(lambda: pandas_features(prices, segment), repeats=3),
        "features_streaming": timed(lambda: streaming_bars(prices[:few]), repeats=3),
        "features_rebuilt": timed(lambda: rebuilt_windows(prices, last_bars), repeats=1),
        **_stored(table, prices, segment),
    }
    n_timed_bars = {
        "features": n_bars,
        "features_pandas": n_bars,
        "features_streaming": few,
        "features_rebuilt": REBUILT_WINDOWS * WINDOW_BARS,
    }
    return FeatureSpeed(
        timings,
        {name: timings[name].seconds / bars * 1e6 for name, bars in n_timed_bars.items()},
        _gathering(table.values, pretraining_windows(segment, n_bars)),
        memory_of_features(prices, segment, NQ.tick_points),
    )


def timed(
    work: Callable[[], object], repeats: int = REPEATS, floor: float | None = None, goal: float | None = None
) -> Timing:
    """Time a function; the best of the repeats counts."""
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return Timing(min(seconds), repeats, floor, goal)


def _stored(table: FeatureTable, prices: np.ndarray, segment: np.ndarray) -> dict[str, Timing]:
    """Time loading a table with its checksum, and computing it from bars with their digest."""
    with tempfile.TemporaryDirectory() as folder:
        stored, bars = Path(folder) / "features.safetensors", Path(folder) / "bars.parquet"
        with atomic_write(stored) as temporary:
            save_file(vars(table), temporary)
        with atomic_write(bars) as temporary:
            pd.DataFrame(prices, columns=list(PRICE_COLUMNS)).assign(segment=segment).to_parquet(temporary)

        def load() -> FeatureTable:
            file_sha256(stored)
            return FeatureTable(**load_file(stored))

        def compute() -> FeatureTable:
            frame = pd.read_parquet(bars)
            content_digest(frame)
            arrays = frame[list(PRICE_COLUMNS)].to_numpy(), frame["segment"].to_numpy()
            return compute_features(*arrays, NQ.tick_points)

        return {"features_loaded": timed(load), "features_from_bars": timed(compute)}


def _gathering(values: np.ndarray, bar0: np.ndarray) -> float:
    """Windows gathered per second, drawn at random as in training."""
    drawn = np.random.default_rng(0).choice(bar0, (GATHERED_WINDOWS // BATCH_WINDOWS, BATCH_WINDOWS))
    timing = timed(lambda: [gather_rows(values, rows).shape for rows in drawn], repeats=3)
    return GATHERED_WINDOWS / timing.seconds
