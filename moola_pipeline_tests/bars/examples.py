"""Made-up bars for tests."""

from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd

from moola_pipeline.bars.sessions import session_minutes


def made_up_bars(n_bars: int = 6, start: str = "2024-03-08 14:30", seed: int = 7) -> pd.DataFrame:
    """A random walk on the 0.25 grid, one bar a minute, with RAW_COLUMNS."""
    rng = np.random.default_rng(seed)
    close = 18_000 + 0.25 * rng.integers(-8, 9, n_bars).cumsum()
    opened = np.concatenate([[18_000.0], close[:-1]])
    wick = 0.25 * rng.integers(0, 5, (2, n_bars))
    return pd.DataFrame(
        {
            "timestamp": pd.date_range(start, periods=n_bars, freq="min", tz="UTC").as_unit("ns"),
            "open": opened,
            "high": np.maximum(opened, close) + wick[0],
            "low": np.minimum(opened, close) - wick[1],
            "close": close,
            "volume": pd.array(rng.integers(1, 900, n_bars), dtype="Int64"),
        }
    )


def write_csv(path: Path, bars: pd.DataFrame, separator: str = ",") -> Path:
    bars.to_csv(path, index=False, sep=separator)
    return path


def write_parquet(path: Path, bars: pd.DataFrame) -> Path:
    bars.to_parquet(path, index=False)
    return path


def session_bars(first: str, last: str, seed: int = 7) -> pd.DataFrame:
    """Every minute of the sessions from `first` to `last`, with wide bars from 09:30 to 16:00 New York."""
    opened_at = session_minutes(date.fromisoformat(first), date.fromisoformat(last))
    local = opened_at.tz_convert("America/New_York")
    minute = local.hour * 60 + local.minute
    bars = made_up_bars(len(opened_at), seed=seed).assign(timestamp=opened_at)
    width = 0.25 * np.where((minute >= 570) & (minute < 960), 60, 4)
    return bars.assign(high=bars["high"] + width, low=bars["low"] - width)


def wall_clock(bars: pd.DataFrame, zone: str, minutes_late: int = 0) -> pd.DataFrame:
    """The bars with naive local times of a zone; closes instead of opens if a minute late."""
    local = bars["timestamp"].dt.tz_convert(zone).dt.tz_localize(None)
    return bars.assign(timestamp=local + pd.Timedelta(minutes=minutes_late))
