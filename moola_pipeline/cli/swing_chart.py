"""A session as candles, with the zigzag over them."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from moola_pipeline.bars.schema import PRICE_COLUMNS
from moola_pipeline.evaluation.canvas import Canvas
from moola_pipeline.evaluation.svg import round_ticks

PLOT_HEIGHT, TOP, LEFT, RIGHT, BELOW = 560, 30, 12, 76, 26
AIM_WIDTH, NARROWEST, WIDEST = 1400, 2.0, 12.0
"""Pixels of the plot, and the least and most a bar takes of them."""
RISE, FALL, ZIGZAG, GRID = "#2e8b57", "#c0392b", "#1f4fd8", "#e4e4e4"


@dataclass(frozen=True)
class _Frame:
    """Where bars and prices lie in the picture."""

    low: float
    high: float
    bar_width: float

    def x(self, bar: float) -> float:
        """The middle of a bar counted from the first drawn."""
        return LEFT + (bar + 0.5) * self.bar_width

    def y(self, price: float) -> float:
        return TOP + (self.high - price) / (self.high - self.low) * PLOT_HEIGHT


def draw_session(bars: pd.DataFrame, swings: pd.DataFrame, title: str) -> Canvas:
    """Draw the bars of one session and the swings that lie in them.

    Args:
        bars: BAR_COLUMNS of one session, at least one.
        swings: `bar` (position in `bars`), `price`, and `segment`: lines join swings of one segment.
        title: Written above, in characters that a PNG has glyphs for.
    """
    prices = bars[list(PRICE_COLUMNS)].to_numpy(float)
    margin = 0.03 * (prices[:, 1].max() - prices[:, 2].min()) or 1.0
    bar_width = float(np.clip(AIM_WIDTH / len(bars), NARROWEST, WIDEST))
    frame = _Frame(prices[:, 2].min() - margin, prices[:, 1].max() + margin, bar_width)
    width = int(np.ceil(LEFT + max(bar_width * len(bars), 280) + RIGHT))
    canvas = Canvas(width, TOP + PLOT_HEIGHT + BELOW)
    canvas.text(LEFT, 18, title)
    _axes(canvas, frame, pd.DatetimeIndex(bars["timestamp"]))
    _candles(canvas, frame, prices)
    for _, leg in swings.groupby("segment"):
        x = [frame.x(bar) for bar in leg["bar"].tolist()]
        y = [frame.y(price) for price in leg["price"].tolist()]
        for i in range(1, len(x)):
            canvas.line(x[i - 1], y[i - 1], x[i], y[i], ZIGZAG)
    return canvas


def _axes(canvas: Canvas, frame: _Frame, opened_at: pd.DatetimeIndex) -> None:
    right, bottom = canvas.width - RIGHT, TOP + PLOT_HEIGHT
    for price in round_ticks(frame.low, frame.high, at_most=8).tolist():
        canvas.rect(LEFT, frame.y(price), right - LEFT, 1, GRID)
        canvas.text(right + 8, frame.y(price) + 4, f"{price:,.10g}")
    minutes = (opened_at.hour * 60 + opened_at.minute).to_numpy()
    step = next(it for it in (5, 15, 30, 60, 120, 240) if it * frame.bar_width >= 60 or it == 240)
    labeled_to = 0.0
    for bar in np.flatnonzero(minutes % step == 0).tolist():
        x = frame.x(bar)
        canvas.rect(x, TOP, 1, PLOT_HEIGHT, GRID)
        if x - 16 >= labeled_to and x + 16 <= canvas.width:
            canvas.text(x, bottom + 16, f"{opened_at[bar]:%H:%M}", anchor="middle")
            labeled_to = x + 24


def _candles(canvas: Canvas, frame: _Frame, prices: np.ndarray) -> None:
    body = max(0.7 * frame.bar_width, 1.0)
    for bar, (opened, high, low, close) in enumerate(prices.tolist()):
        x, color = frame.x(bar), RISE if close >= opened else FALL
        canvas.rect(x - 0.25, frame.y(high), 0.5, frame.y(low) - frame.y(high), color)
        top, bottom = frame.y(max(opened, close)), frame.y(min(opened, close))
        canvas.rect(x - body / 2, top, body, max(bottom - top, 0.5), color)
