"""The frame of a line chart: where values lie, its axes, its lines, bands and their names."""

from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

import numpy as np

from moola_pipeline.report import svg

TOP, BOTTOM = 20, 190
"""Pixels of the upper and the lower end of the plot; the name of the upright axis stands above."""
HEIGHT = BOTTOM + 40


@dataclass(frozen=True)
class Axes:
    """Values to places: x as a share of the width, y in pixels from the top."""

    x_low: float
    x_high: float
    y_low: float
    y_high: float

    @classmethod
    def around(
        cls, x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray, x_margin: float = 0.0
    ) -> "Axes":
        """Axes that hold all finite values, with some air above and below."""
        xs, ys = (np.asarray(values, float) for values in (x, y))
        ys = ys[np.isfinite(ys)]
        low, high = float(ys.min()), float(ys.max())
        air = 0.05 * (high - low) or 0.5 * abs(high) or 1.0
        left, right = float(xs.min()), float(xs.max())
        margin = x_margin * (right - left) or (0.0 if right > left else 0.5)
        return cls(left - margin, right + margin, low - air, high + air)

    def x(self, value: float) -> float:
        """Share of the width."""
        return (value - self.x_low) / (self.x_high - self.x_low)

    def y(self, value: float) -> float:
        """Pixels from the top."""
        return TOP + (self.y_high - value) / (self.y_high - self.y_low) * (BOTTOM - TOP)

    def place(self, value: float) -> str:
        """The x of a value as SVG writes it."""
        return svg.percent(self.x(value))


def framed(
    axes: Axes,
    description: str,
    x_title: str,
    y_title: str,
    x_ticks: Sequence[tuple[float, str]] | None = None,
) -> Element:
    """An empty chart with both axes.

    Args:
        axes: Where values lie.
        description: For those who cannot see it.
        x_title, y_title: What is shown, with its unit.
        x_ticks: Values and what stands below them; round numbers if None.
    """
    picture = svg.drawing(HEIGHT, description)
    for tick in svg.round_ticks(axes.y_low, axes.y_high):
        y = axes.y(float(tick))
        svg.add(picture, "line", x1="0%", x2="100%", y1=y, y2=y, class_="grid")
        svg.add(picture, "text", _tick(tick), x=0, dx=-6, y=y + 4, class_="tick end")
    ticks = x_ticks or [(float(at), _tick(at)) for at in svg.round_ticks(axes.x_low, axes.x_high)]
    for value, text in ticks:
        svg.add(picture, "text", text, x=axes.place(value), y=BOTTOM + 16, class_="tick middle")
    svg.add(picture, "line", x1="0%", x2="100%", y1=BOTTOM, y2=BOTTOM, class_="axis")
    svg.add(picture, "text", x_title, x="50%", y=BOTTOM + 33, class_="tick middle")
    svg.add(picture, "text", y_title, x=0, dx=-30, y=10, class_="tick")
    return picture


def draw_line(
    picture: Element, axes: Axes, x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray, style: str
) -> None:
    """A line through the points whose y is finite."""
    points = " ".join(f"{1000 * axes.x(a):.1f},{axes.y(b):.1f}" for a, b in _finite(x, y))
    plot = svg.stretched(picture, 1000, 0, BOTTOM)
    svg.add(plot, "polyline", points=points, class_=f"line {style}")


def draw_band(
    picture: Element,
    axes: Axes,
    x: Sequence[float] | np.ndarray,
    low: Sequence[float] | np.ndarray,
    high: Sequence[float] | np.ndarray,
    style: str,
) -> None:
    """The area between two lines."""
    there = [*_finite(x, low), *reversed(list(_finite(x, high)))]
    points = " ".join(f"{1000 * axes.x(a):.1f},{axes.y(b):.1f}" for a, b in there)
    svg.add(svg.stretched(picture, 1000, 0, BOTTOM), "polygon", points=points, class_=f"band {style}")


def draw_whisker(picture: Element, axes: Axes, x: float, low: float, high: float, style: str) -> None:
    """An upright interval."""
    place = axes.place(x)
    svg.add(picture, "line", x1=place, x2=place, y1=axes.y(low), y2=axes.y(high), class_=f"whisker {style}")


def draw_dot(picture: Element, axes: Axes, x: float, y: float, style: str) -> None:
    """A marker: round, or square for the dashed style."""
    if style == "dashed":
        svg.add(
            picture, "rect", x=axes.place(x), y=axes.y(y) - 4, width=8, height=8,
            transform="translate(-4 0)", class_="dot dashed",
        )  # fmt: skip
    else:
        svg.add(picture, "circle", cx=axes.place(x), cy=axes.y(y), r=4, class_=f"dot {style}")


def draw_level(picture: Element, axes: Axes, y: float, text: str) -> None:
    """A level to compare with, named at its left end."""
    at = axes.y(y)
    svg.add(picture, "line", x1="0%", x2="100%", y1=at, y2=at, class_="level")
    svg.add(picture, "text", text, x=0, dx=4, y=at - 5, class_="name")


def _finite(x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray) -> list[tuple[float, float]]:
    return [(float(a), float(b)) for a, b in zip(x, y, strict=True) if np.isfinite(b)]


def _tick(value: float) -> str:
    return f"{value:.4g}".replace("-", "−")
