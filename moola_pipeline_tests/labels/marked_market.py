"""A year of bars with a move in each session, and spans that mark these moves."""

from dataclasses import replace

import numpy as np
import pandas as pd

from moola_pipeline.bars.schema import BAR_COLUMNS
from moola_pipeline.labels.plausibility import MarkedSpans
from moola_pipeline.labels.schema import LABEL_COLUMNS, LABEL_DTYPES

SESSION_BARS, N_SESSIONS, WINDOW_AT, SPAN_AT, SPAN_BARS = 1200, 40, 600, 45, 5
"""Each session is one segment; its window starts at bar 600 or a little later, its move 45 bars later."""
_EVERY_DAYS = 9


def marked_bars(seed: int = 5) -> pd.DataFrame:
    """BAR_COLUMNS: sessions of 20 hours from midnight UTC, in summer and winter, with one move in each."""
    rng = np.random.default_rng(seed)
    steps = rng.integers(-4, 5, (N_SESSIONS, SESSION_BARS))
    for session in range(N_SESSIONS):
        first = _move_at(session)
        steps[session, first : first + SPAN_BARS] = rng.integers(5, 12, SPAN_BARS) * rng.choice([-1, 1])
    close = 20_000 + np.cumsum(steps.ravel()) * 0.25
    opened = np.append(close[0], close[:-1])
    days = pd.date_range("2024-01-08", periods=N_SESSIONS, freq=f"{_EVERY_DAYS}D")
    minutes = pd.timedelta_range(0, periods=SESSION_BARS, freq="1min")
    frame = pd.DataFrame(
        {
            "timestamp": (days.to_numpy()[:, None] + minutes.to_numpy()[None, :]).ravel(),
            "open": opened,
            "high": np.maximum(opened, close) + 0.25,
            "low": np.minimum(opened, close) - 0.25,
            "close": close,
            "volume": 1,
            "session": pd.DatetimeIndex(days.repeat(SESSION_BARS)).as_unit("ns"),
            "contract": None,
            "segment": np.arange(N_SESSIONS, dtype=np.int32).repeat(SESSION_BARS),
        }
    )
    frame["timestamp"] = pd.DatetimeIndex(frame["timestamp"]).as_unit("ns").tz_localize("UTC")
    return frame.astype({"volume": "Int64", "contract": "str"}).loc[:, list(BAR_COLUMNS)]


def _move_at(session: int) -> int:
    return WINDOW_AT + 7 * session % 120 + SPAN_AT


def marked_labels(bars: pd.DataFrame) -> pd.DataFrame:
    """LABEL_COLUMNS: the move of each session, in a window of its own."""
    rows = []
    for session in range(N_SESSIONS):
        bar0 = session * SESSION_BARS + _move_at(session) - SPAN_AT
        row = dict.fromkeys(LABEL_COLUMNS) | {"window_id": f"w{session}", "pass": 1}
        row |= {"window_start": bars["timestamp"].iloc[bar0], "label": "consolidation"}
        rows.append(row | {"expansion_start": SPAN_AT, "expansion_end": SPAN_AT + SPAN_BARS - 1})
    return pd.DataFrame(rows, columns=list(LABEL_COLUMNS)).astype(LABEL_DTYPES)


def marked_spans(bars: pd.DataFrame) -> MarkedSpans:
    return MarkedSpans.of_labels(marked_labels(bars))


def shifted(spans: MarkedSpans, n_bars: int) -> MarkedSpans:
    """The spans, each so many bars later."""
    return replace(spans, start=spans.start + n_bars, end=spans.end + n_bars)


def on_clock(spans: MarkedSpans, zone: str) -> MarkedSpans:
    """The spans as a file gives them that writes the wall clock of a zone and calls it UTC."""
    wall = pd.DatetimeIndex(spans.window_start, tz="UTC").tz_convert(zone).tz_localize(None)
    return replace(spans, window_start=wall.as_unit("ns").asi8, clock=wall.as_unit("ns").asi8)
