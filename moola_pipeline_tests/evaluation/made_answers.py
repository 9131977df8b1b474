"""Labeled windows of the size of the benchmark, and predictions with a chosen signal."""

import numpy as np
import pandas as pd

from moola_pipeline.labels.spans import LabeledWindows
from moola_pipeline.metrics.scores import ResampledWindows, events_of, resample_windows
from moola_pipeline.windows.spans import Spans

N_WINDOWS, N_EXPANSIONS, N_SESSIONS = 140, 147, 63


def made_windows(rng: np.random.Generator) -> LabeledWindows:
    """140 windows of 63 sessions; 100 hold the 147 expansions, 35 % retracements."""
    ids = np.array([f"w{i}" for i in range(N_WINDOWS)], dtype=object)
    day = np.sort(np.append(np.arange(N_SESSIONS), rng.integers(0, N_SESSIONS, N_WINDOWS - N_SESSIONS)))
    session = np.datetime64("2025-04-01", "ns") + day.astype("timedelta64[D]")
    slots = np.array([(w, first) for w in range(100) for first in (30, 54)])
    chosen = np.sort(rng.choice(len(slots), N_EXPANSIONS, replace=False))
    window, start = slots[chosen, 0], slots[chosen, 1] + rng.integers(0, 10, N_EXPANSIONS)
    spans = Spans(
        window,
        start,
        start + rng.integers(3, 9, N_EXPANSIONS),
        rng.choice([-1, 1], N_EXPANSIONS).astype(np.int8),
        (rng.random(N_EXPANSIONS) < 0.35).astype(np.int64),
    )
    return LabeledWindows(ids, 200 + 300 * np.arange(N_WINDOWS), session, np.ones(N_WINDOWS, bool), spans)


def made_ground(seed: int = 0, resamples: int = 2000) -> ResampledWindows:
    rng = np.random.default_rng(seed)
    return resample_windows(made_windows(rng), resamples, rng)


def made_p(resampled: ResampledWindows, rng: np.random.Generator, signal: float = 0.35) -> np.ndarray:
    """P(retracement), above 0.5 more often for retracements."""
    y = resampled.windows.spans.type
    return np.clip(0.5 + signal * (y - 0.5) + rng.normal(0, 0.2, len(y)), 0, 1)


def made_events(resampled: ResampledWindows, rng: np.random.Generator) -> pd.DataFrame:
    """Four of five expansions, up to two bars off, one in five with the wrong type; and false alarms."""
    truth, windows = events_of(resampled.windows), resampled.windows
    found = truth.loc[rng.random(len(truth)) < 0.8]
    window = pd.Index(windows.window_id).get_indexer(found["window_id"])
    onset = np.append(found["start"] + rng.integers(-2, 3, len(found)), rng.integers(20, 90, 60))
    length = np.append(found["end"] - found["start"], rng.integers(2, 9, 60)) + rng.integers(0, 2, len(onset))
    kind = np.append(np.where(rng.random(len(found)) < 0.8, found["type"], 1 - found["type"]), [0, 1] * 30)
    window = np.append(window, rng.integers(0, N_WINDOWS, 60))
    return pd.DataFrame(
        {
            "window_id": windows.window_id[window],
            "start": onset,
            "end": np.minimum(onset + length, 104),
            "type": kind,
            "direction": rng.choice([-1, 1], len(onset)),
            "row": windows.bar0[window] + onset,
            "score": rng.random(len(onset)),
        }
    ).sort_values(["window_id", "start"], ignore_index=True)
