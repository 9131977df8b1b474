"""A market of one 300-bar session a week, and labels on it: small enough to work out by hand."""

import numpy as np
import pandas as pd

from moola_pipeline.bars.schema import BAR_COLUMNS
from moola_pipeline.labels.schema import LABEL_COLUMNS, LABEL_DTYPES

SESSION_BARS = 300
FIRST_DAY = "2024-09-02"
SURGE = slice(100, 106)
"""Bars of each session in which price moves one way: those that `weekly_labels` marks."""


def weekly_bars(n_weeks: int = 44) -> pd.DataFrame:
    """BAR_COLUMNS; each week's session opens at 14:00 UTC and is one segment, from 2024-09-02 on.

    Bars are wider from 09:30 New York on.
    """
    days = pd.date_range(FIRST_DAY, periods=n_weeks, freq="7D")
    minutes = pd.timedelta_range("14h", periods=SESSION_BARS, freq="1min")
    n_bars = n_weeks * SESSION_BARS
    steps = np.random.default_rng(3).integers(-4, 5, n_bars).reshape(n_weeks, SESSION_BARS)
    steps[:, SURGE] = np.where(np.arange(n_weeks) % 2, 8, -8)[:, None]
    close = 20_000 + np.cumsum(steps.ravel()) * 0.25
    opened = np.append(close[0], close[:-1])
    frame = pd.DataFrame(
        {
            "timestamp": (days.to_numpy()[:, None] + minutes.to_numpy()[None, :]).ravel(),
            "open": opened,
            "high": np.maximum(opened, close) + 0.25,
            "low": np.minimum(opened, close) - 0.25,
            "close": close,
            "volume": 1,
            "session": days.repeat(SESSION_BARS),
            "contract": None,
            "segment": np.arange(n_weeks, dtype=np.int32).repeat(SESSION_BARS),
        }
    )
    frame["timestamp"] = pd.DatetimeIndex(frame["timestamp"]).as_unit("ns").tz_localize("UTC")
    local = frame["timestamp"].dt.tz_convert("America/New_York")
    wide = 3.0 * (local.dt.hour * 60 + local.dt.minute >= 9 * 60 + 30)  # the stock market is open
    frame["high"], frame["low"] = frame["high"] + wide, frame["low"] - wide
    frame["session"] = pd.DatetimeIndex(frame["session"]).as_unit("ns")
    return frame.astype({"volume": "Int64", "contract": "str"}).loc[:, list(BAR_COLUMNS)]


def label_row(bars: pd.DataFrame, bar0: int, label: str, start: int | None = None, **other: object) -> dict:
    """One row of LABEL_COLUMNS for the window whose bar 0 is row `bar0`; the span is 6 bars long."""
    end = None if start is None else start + 5
    row = dict.fromkeys(LABEL_COLUMNS) | {
        "window_id": f"w{bar0}",
        "pass": 1,
        "definition": 1,
        "chosen": "import",
        "complete": "yes",
    }
    window_start = bars["timestamp"].iloc[bar0]
    return row | {
        "window_start": window_start,
        "label": label,
        "expansion_start": start,
        "expansion_end": end,
        **other,
    }


def label_frame(rows: list[dict]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(LABEL_COLUMNS)).astype(LABEL_DTYPES)


def weekly_labels(bars: pd.DataFrame) -> pd.DataFrame:
    """Each week one window at bar 60 of the session: consolidation, then retracement, in turn."""
    starts = range(60, len(bars), SESSION_BARS)
    kinds = ("consolidation", "retracement")
    return label_frame([label_row(bars, bar0, kinds[week % 2], 40) for week, bar0 in enumerate(starts)])
