"""Made-up bars for the tests of this room."""

from pathlib import Path

import numpy as np
import pandas as pd


def made_up_bars(n_bars: int = 6, start: str = "2024-03-08 14:30", seed: int = 7) -> pd.DataFrame:
    """A walk on the 0.25 grid, one bar a minute, with RAW_COLUMNS."""
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
