"""A window as a candle chart: what was marked above it, what the model found below it."""

from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

import numpy as np

from moola_pipeline.report import svg
from moola_pipeline.report.data import GalleryWindow
from moola_pipeline.windows.window_geometry import CORE_FIRST, CORE_LAST

PLOT_HEIGHT = 170
ROW_HEIGHT = 17
LABEL_BARS_PER_CHARACTER = 2.6
"""Width of a character in bars on the narrowest page, where a bar is about 2.4 pixels wide."""


@dataclass(frozen=True)
class _Span:
    first: int
    last: int
    text: str


def candle_picture(window: GalleryWindow) -> str:
    """The window's candles (up hollow, down filled) between two strips of expansions."""
    n_bars = len(window.close)
    truth = [_Span(first, last, _named(kind, sign)) for first, last, kind, sign in window.truth]
    predicted = [_Span(a, b, f"{_named(kind, sign)} {p:.2f}") for a, b, kind, sign, p in window.predicted]
    above, below = _rows(truth, n_bars), _rows(predicted, n_bars)
    top = 4 + ROW_HEIGHT * (1 + max(above, default=0))
    bottom = top + PLOT_HEIGHT
    strip = bottom + 6
    axis = strip + ROW_HEIGHT * (1 + max(below, default=0)) + 4
    counted = f"{len(truth)} labeled and {len(predicted)} predicted expansions"
    picture = svg.drawing(axis + 34, f"Window {window.window_id}: {n_bars} one-minute bars, {counted}")
    _price_axis(picture, window, top)
    _spans(picture, truth, above, n_bars, edge=top, away=-1, box=(top, bottom), style="truth")
    _spans(picture, predicted, below, n_bars, edge=strip, away=1, box=(top, bottom), style="predicted")
    _candles(svg.stretched(picture, n_bars, top, PLOT_HEIGHT), window)
    _bar_axis(picture, n_bars, axis)
    return svg.markup(picture)


def _named(kind: str, direction: int) -> str:
    return f"{kind} {'↑' if direction > 0 else '↓' if direction < 0 else ''}".rstrip()


def _rows(spans: Sequence[_Span], n_bars: int) -> list[int]:
    """A row for each label so that no two in one row overlap, on a phone either."""
    taken: list[list[tuple[float, float]]] = []
    rows = []
    for span in spans:
        width = LABEL_BARS_PER_CHARACTER * len(span.text)
        left = span.last + 1 - width if _ends_left(span, n_bars) else span.first
        reach = (min(left, span.first), max(left + width, span.last + 1))
        free = (row for row, used in enumerate(taken) if all(reach[0] >= b or reach[1] <= a for a, b in used))
        row = next(free, len(taken))
        if row == len(taken):
            taken.append([])
        taken[row].append(reach)
        rows.append(row)
    return rows


def _ends_left(span: _Span, n_bars: int) -> bool:
    """A label in the right half is written leftward from its last bar, so that it is not cut off."""
    return span.first + span.last + 1 > n_bars


def _spans(
    picture: Element,
    spans: Sequence[_Span],
    rows: Sequence[int],
    n_bars: int,
    *,
    edge: float,
    away: int,
    box: tuple[float, float],
    style: str,
) -> None:
    for span, row in zip(spans, rows, strict=True):
        x, width = svg.percent(span.first / n_bars), svg.percent((span.last + 1 - span.first) / n_bars)
        known = "" if CORE_FIRST <= span.first <= CORE_LAST else " unknown"
        box_style = f"{style} box{known}"
        svg.add(picture, "rect", x=x, y=box[0], width=width, height=box[1] - box[0], class_=box_style)
        y = edge + row * ROW_HEIGHT if away > 0 else edge - (row + 1) * ROW_HEIGHT
        svg.add(picture, "rect", x=x, y=y + 12, width=width, height=3, class_=f"{style} bar")
        ends_left = _ends_left(span, n_bars)
        anchor = svg.percent((span.last + 1 if ends_left else span.first) / n_bars)
        svg.add(picture, "text", span.text, x=anchor, y=y + 10, class_="name end" if ends_left else "name")


def _price_axis(picture: Element, window: GalleryWindow, top: float) -> None:
    low, high = _price_range(window)
    for price in svg.round_ticks(low, high, at_most=4):
        y = top + (high - price) / (high - low) * PLOT_HEIGHT
        svg.add(picture, "line", x1="0%", x2="100%", y1=y, y2=y, class_="grid")
        svg.add(picture, "text", f"{price:,.10g}", x=0, dx=-6, y=y + 4, class_="tick end")


def _bar_axis(picture: Element, n_bars: int, y: float) -> None:
    svg.add(picture, "line", x1="0%", x2="100%", y1=y, y2=y, class_="axis")
    core = {"x1": svg.percent(CORE_FIRST / n_bars), "x2": svg.percent((CORE_LAST + 1) / n_bars)}
    svg.add(picture, "line", **core, y1=y, y2=y, class_="core")
    for bar in (0, CORE_FIRST, CORE_LAST, n_bars - 1):
        last = bar == n_bars - 1
        x = svg.percent(1.0 if last else (bar + 0.5) / n_bars)
        svg.add(picture, "text", f"{bar}", x=x, y=y + 15, class_=f"tick {'end' if last else 'middle'}")
    svg.add(picture, "text", "bar (minutes)", x="50%", y=y + 30, class_="tick middle")


def _candles(plot: Element, window: GalleryWindow) -> None:
    low, high = _price_range(window)
    rising = np.asarray(window.close) >= np.asarray(window.open)
    scale = PLOT_HEIGHT / (high - low)
    opens, highs, lows, closes = (
        (high - np.asarray(prices, float)) * scale
        for prices in (window.open, window.high, window.low, window.close)
    )
    bars = range(len(closes))
    wicks = "".join(f"M{t + 0.5:g} {highs[t]:.1f}V{lows[t]:.1f}" for t in bars)
    svg.add(plot, "path", d=wicks, class_="wick")
    for style, chosen in (("rise", rising), ("fall", ~rising)):
        bodies = "".join(f"M{t + 0.15:g} {opens[t]:.1f}h.7V{closes[t]:.1f}h-.7z" for t in bars if chosen[t])
        svg.add(plot, "path", d=bodies, class_=style)


def _price_range(window: GalleryWindow) -> tuple[float, float]:
    low, high = float(np.min(window.low)), float(np.max(window.high))
    margin = 0.03 * (high - low) or 1.0
    return low - margin, high + margin
