"""Candle chart of a window: labeled expansions above, predicted expansions below."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from moola_pipeline.plotting import BLUE, INK, ORANGE, PAPER, SOFT, house_style
from moola_pipeline.report.data import GalleryWindow
from moola_pipeline.report.style import LINE_HEIGHT, ROUND, figure_of, free_rows, panel, pixel_rows
from moola_pipeline.windows.window_geometry import CORE_FIRST, CORE_LAST, WINDOW_BARS

PLOT_HEIGHT, ROW_HEIGHT, LEFT, RIGHT = 170, LINE_HEIGHT + 2, 50, 8
CHARACTER_BARS = 2.4
"""Width of a character in bars; a bar is 3 pixels wide."""
MARKED = {
    "truth": {"facecolor": BLUE, "linewidth": 0},
    "predicted": {"facecolor": "none", "edgecolor": ORANGE, "linewidth": 1.5, "linestyle": (0, (3.3, 2))},
}
"""Shading for labels, a dashed frame for predictions."""
STRENGTH = {"truth": 0.16, "predicted": 1.0}
FAINT = {"truth": 0.08, "predicted": 0.4}
"""Opacity where labels are not complete."""


@dataclass(frozen=True)
class _Span:
    first: int
    last: int
    text: str

    @property
    def reach(self) -> tuple[float, float]:
        """First and last bar that the span or its name covers."""
        width = CHARACTER_BARS * len(self.text)
        left = self.last + 1 - width if self.ends_left else self.first
        return min(left, self.first), max(left + width, self.last + 1)

    @property
    def ends_left(self) -> bool:
        """In the right half the name ends at the last bar, so that it is not cut off."""
        return self.first + self.last + 1 > WINDOW_BARS


@house_style()
def candle_figure(window: GalleryWindow, plot_height: float = PLOT_HEIGHT) -> Figure:
    """The window's candles (up hollow, down filled) between two strips of expansions.

    Args:
        window: Bars, labels and predictions.
        plot_height: Of the candles, pixels.
    """
    n_bars = len(window.close)
    truth = [_Span(first, last, _named(kind, sign)) for first, last, kind, sign in window.truth]
    predicted = [_Span(a, b, f"{_named(kind, sign)} {p:.2f}") for a, b, kind, sign, p in window.predicted]
    above, below = (free_rows([span.reach for span in spans]) for spans in (truth, predicted))
    top = 4 + ROW_HEIGHT * (1 + max(above, default=0))
    bottom = top + plot_height
    foot = bottom + 10 + ROW_HEIGHT * (1 + max(below, default=0))
    counted = f"{len(truth)} labeled and {len(predicted)} predicted expansions"
    description = f"Window {window.window_id}: {n_bars} one-minute bars, {counted}"
    axes = panel(description, foot + 36, left=LEFT, right=RIGHT, top=top, bottom=foot + 36 - bottom)
    axes.set(xlim=(0, n_bars), ylim=_price_range(window))
    axes.spines["bottom"].set_visible(False)
    axes.grid(visible=False, axis="x")
    axes.set_xticks([])
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=ROUND))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.10g}"))
    rows = pixel_rows(axes)
    _mark(axes, rows, truth, [top - ROW_HEIGHT * (row + 1) for row in above], "truth")
    _mark(axes, rows, predicted, [bottom + 6 + ROW_HEIGHT * row for row in below], "predicted")
    _draw_candles(axes, window)
    _draw_bar_axis(rows, n_bars, foot)
    return figure_of(axes)


def _named(kind: str, direction: int) -> str:
    return f"{kind} {'↑' if direction > 0 else '↓' if direction < 0 else ''}".rstrip()


def _mark(axes: Axes, rows: Axes, spans: Sequence[_Span], tops: Sequence[float], source: str) -> None:
    """Shade or frame each span in the chart, and write its name in its row."""
    color = {"truth": BLUE, "predicted": ORANGE}[source]
    for span, y in zip(spans, tops, strict=True):
        alpha = (STRENGTH if CORE_FIRST <= span.first <= CORE_LAST else FAINT)[source]
        axes.axvspan(span.first, span.last + 1, alpha=alpha, label=source, **MARKED[source])
        bar = Rectangle((span.first, y + 13), span.last + 1 - span.first, 3, facecolor=color, label=source)
        rows.add_artist(bar)
        anchor, side = (span.last + 1, "right") if span.ends_left else (span.first, "left")
        rows.text(anchor, y + 10.5, span.text, ha=side)


def _draw_bar_axis(rows: Axes, n_bars: int, y: float) -> None:
    rows.plot([0, n_bars], [y, y], color=SOFT, linewidth=1, label="axis")
    core = [CORE_FIRST, CORE_LAST + 1]
    rows.plot(core, [y, y], color=INK, linewidth=4, solid_capstyle="butt", label="core")
    for bar in (0, CORE_FIRST, CORE_LAST):
        rows.text(bar + 0.5, y + 15, f"{bar}", color=SOFT, ha="center")
    rows.text(n_bars, y + 15, f"{n_bars - 1}", color=SOFT, ha="right")
    rows.text(n_bars / 2, y + 30, "bar (minutes)", color=SOFT, ha="center")


def _draw_candles(axes: Axes, window: GalleryWindow) -> None:
    """One path for the wicks, one for rising and one for falling bodies: few bytes for many bars.

    As artists, not patches: matplotlib would read every patch to find the limits of the axes.
    """
    prices = (window.open, window.high, window.low, window.close)
    opens, highs, lows, closes = (np.asarray(price, float) for price in prices)
    middle, rising = np.arange(len(closes)) + 0.5, closes >= opens
    stroke = {"edgecolor": INK, "linewidth": 1}
    wicks = np.array([[middle, lows], [middle, highs]]).transpose(2, 0, 1)
    axes.add_artist(PathPatch(_joined(wicks, closed=False), fill=False, label="wicks", **stroke))
    left, right = middle - 0.35, middle + 0.35
    corners = np.array([[left, opens], [right, opens], [right, closes], [left, closes]]).transpose(2, 0, 1)
    for name, chosen, color in (("rise", rising, PAPER), ("fall", ~rising, INK)):
        bodies = _joined(corners[chosen], closed=True)
        axes.add_artist(PathPatch(bodies, facecolor=color, label=name, **stroke))


def _joined(shapes: np.ndarray, *, closed: bool) -> Path:
    """(n, corners, 2) shapes as one path."""
    n, n_corners, _ = shapes.shape
    codes = np.full((n, n_corners + closed), Path.LINETO)
    codes[:, 0] = Path.MOVETO
    if closed:
        codes[:, -1] = Path.CLOSEPOLY
        shapes = np.concatenate([shapes, shapes[:, :1]], axis=1)
    return Path(shapes.reshape(-1, 2), codes.ravel())


def _price_range(window: GalleryWindow) -> tuple[float, float]:
    low, high = float(np.min(window.low)), float(np.max(window.high))
    margin = 0.03 * (high - low) or 1.0
    return low - margin, high + margin
