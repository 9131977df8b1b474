"""How long features take beside plain ways to them and beside a stored table; how fast windows gather."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from safetensors.numpy import load_file, save_file

from moola_pipeline.bars.schema import NQ, PRICE_COLUMNS, content_digest
from moola_pipeline.bench.fresh import BATCH_WINDOWS, Memory, memory_of_features, seconds_to_compile
from moola_pipeline.bench.plain_features import pandas_features, rebuilt_windows, streaming_bars
from moola_pipeline.features.relativity import FeatureTable, compute_features
from moola_pipeline.storage.atomic_write import file_sha256, publishing
from moola_pipeline.windows.dense import pretraining_windows
from moola_pipeline.windows.frame import WINDOW_BARS, gathered

REBUILT_WINDOWS = 50
GATHERED_WINDOWS = 16_384
REPEATS = 7


class Timing(NamedTuple):
    """One measurement: the best of its repeats, and the floor and goal it must keep, if it has them."""

    seconds: float
    repeats: int
    floor: float | None = None
    goal: float | None = None


class FeatureSpeed(NamedTuple):
    """What was measured.

    Attributes:
        timings: By name.
        microseconds_a_bar: Of the feature table and of each plain way to part of it.
        windows_a_second: Gathered in batches of 64, 125 bars and all features each.
        memory: Of bars, features and windows.
    """

    timings: dict[str, Timing]
    microseconds_a_bar: dict[str, float]
    windows_a_second: float
    memory: Memory


def measure_feature_speed(prices: np.ndarray, segment: np.ndarray, streamed_bars: int) -> FeatureSpeed:
    """Measure on these bars; the plain ways that are slow are timed on fewer, as their names say."""
    n_bars, few = len(prices), min(streamed_bars, len(prices))
    table = compute_features(prices, segment, NQ.tick_points)  # compiled from here on
    last_bars = np.linspace(WINDOW_BARS, n_bars - 1, REBUILT_WINDOWS).astype(int)
    timings = {
        "features": timed(lambda: compute_features(prices, segment, NQ.tick_points), floor=0.3, goal=0.1),
        "features_compile": Timing(seconds_to_compile(), 1),
        "features_pandas": timed(lambda: pandas_features(prices, segment), repeats=1),
        "features_streaming": timed(lambda: streaming_bars(prices[:few]), repeats=1),
        "features_rebuilt": timed(lambda: rebuilt_windows(prices, last_bars), repeats=1),
        **_stored(table, prices, segment),
    }
    bars_of = {
        "features": n_bars,
        "features_pandas": n_bars,
        "features_streaming": few,
        "features_rebuilt": REBUILT_WINDOWS * WINDOW_BARS,
    }
    return FeatureSpeed(
        timings,
        {name: timings[name].seconds / bars * 1e6 for name, bars in bars_of.items()},
        _gathering(table.values, pretraining_windows(segment, n_bars)),
        memory_of_features(prices, segment, NQ.tick_points),
    )


def timed(
    work: Callable[[], object], repeats: int = REPEATS, floor: float | None = None, goal: float | None = None
) -> Timing:
    """The best of some repeats."""
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return Timing(min(seconds), repeats, floor, goal)


def _stored(table: FeatureTable, prices: np.ndarray, segment: np.ndarray) -> dict[str, Timing]:
    """Loading a proven table, beside computing it from proven bars, as assets read them."""
    with tempfile.TemporaryDirectory() as folder:
        stored, bars = Path(folder) / "features.safetensors", Path(folder) / "bars.parquet"
        with publishing(stored) as temporary:
            save_file(vars(table), temporary)
        with publishing(bars) as temporary:
            pd.DataFrame(prices, columns=list(PRICE_COLUMNS)).assign(segment=segment).to_parquet(temporary)

        def load() -> FeatureTable:
            file_sha256(stored)
            return FeatureTable(**load_file(stored))

        def compute() -> FeatureTable:
            frame = pd.read_parquet(bars)
            content_digest(frame)
            found = frame[list(PRICE_COLUMNS)].to_numpy(), frame["segment"].to_numpy()
            return compute_features(*found, NQ.tick_points)

        return {"features_loaded": timed(load), "features_from_bars": timed(compute)}


def _gathering(values: np.ndarray, bar0: np.ndarray) -> float:
    """Windows a second, drawn at random as training draws them."""
    drawn = np.random.default_rng(0).choice(bar0, (GATHERED_WINDOWS // BATCH_WINDOWS, BATCH_WINDOWS))
    taken = timed(lambda: [gathered(values, rows).shape for rows in drawn], repeats=3)
    return GATHERED_WINDOWS / taken.seconds
