"""Figures of the page: as wide as a phone, inlined as SVG in the page's colors and font."""

import re
from typing import cast
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from moola_pipeline.plotting import BLUE, FONT_SIZE, GRID, INK, ORANGE, PAPER, SOFT, picture_file

WIDTH = 370
"""Pixels of a figure on a phone; `.drawing` in the style sheet limits its growth."""
POINTS_PER_INCH = 72
"""A point, matplotlib's unit of text and lines, is one pixel of these figures."""
PAGE_COLORS = {PAPER: "paper", INK: "ink", SOFT: "soft", GRID: "line", BLUE: "model", ORANGE: "mark"}
"""Names in the style sheet, which has other values for dark mode."""
LINE_HEIGHT = 16
ROUND = [1, 2, 2.5, 5, 10]
"""Steps between ticks, times a power of ten."""
_FAMILY = re.compile(r"font-family: [^;]+; ")
_LONG_NUMBER = re.compile(r"-?\d+\.\d{3,}")


def panel(description: str, height: float, *, left: float, right: float, top: float, bottom: float) -> Axes:
    """Axes of a new figure of WIDTH times `height` pixels; margins are in pixels too.

    `description` becomes the label of the figure, for screen readers.
    """
    figure = Figure((WIDTH / POINTS_PER_INCH, height / POINTS_PER_INCH), POINTS_PER_INCH, label=description)
    size = ((WIDTH - left - right) / WIDTH, (height - top - bottom) / height)
    axes = figure.add_axes((left / WIDTH, bottom / height, *size))
    axes.spines["left"].set_visible(False)
    return axes


def figure_of(axes: Axes) -> Figure:
    """The figure of a `panel`."""
    return cast("Figure", axes.get_figure(root=True))


def chart(
    description: str, x_title: str, y_title: str, *, key: bool = False, height: float = 212, above: float = 0
) -> Axes:
    """A panel for lines with round ticks; the title of the y axis is above it.

    Args:
        description: For screen readers.
        x_title, y_title: Axis titles with units.
        key: Leave a line below `y_title` for `show_key`.
        height: Of the figure, pixels.
        above: Pixels to leave empty above the axes, for text.
    """
    top = 20 + LINE_HEIGHT * key + above
    axes = panel(description, height + top, left=48, right=10, top=top, bottom=38)
    axes.set_xlabel(x_title, labelpad=3)
    title_line(axes, y_title)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=ROUND))
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=ROUND))
    axes.grid(visible=False, axis="x")
    return axes


def title_line(axes: Axes, text: str) -> None:
    """Write above the axes, from the left edge of the figure."""
    place = {"xy": (0, 1), "xycoords": "figure fraction", "xytext": (0, -FONT_SIZE)}
    axes.annotate(text, textcoords="offset points", color=SOFT, **place)


def show_key(axes: Axes) -> None:
    """Write the key of the labeled lines above the axes, from the left edge of the figure."""
    box = axes.get_position()
    place = {
        "loc": "lower left",
        "bbox_to_anchor": (-box.x0 / box.width, 1),
        "borderaxespad": 0.2,
        "borderpad": 0,
    }
    axes.legend(ncols=2, handlelength=2.4, columnspacing=1.4, handletextpad=0.6, **place)


def pixel_rows(axes: Axes) -> Axes:
    """Axes over the whole height of the figure: x as in `axes`, y in pixels from the top."""
    figure, box = figure_of(axes), axes.get_position()
    over = figure.add_axes((box.x0, 0, box.width, 1), label="rows", frameon=False)
    over.set(xlim=axes.get_xlim(), ylim=(figure.get_figheight() * POINTS_PER_INCH, 0))
    over.set_axis_off()
    return over


def free_rows(reaches: list[tuple[float, float]]) -> list[int]:
    """The first free row for each (left, right) reach, so that no two in one row overlap."""
    taken: list[list[tuple[float, float]]] = []
    rows = []
    for left, right in reaches:
        free = (row for row, used in enumerate(taken) if all(left >= b or right <= a for a, b in used))
        row = next(free, len(taken))
        taken += [[]] if row == len(taken) else []
        taken[row].append((left, right))
        rows.append(row)
    return rows


def inline_svg(figure: Figure) -> str:
    """The figure as one `svg` element without ids, in the font and colors of the page.

    The figure's label becomes its aria-label. Nothing is clipped: all marks must lie inside the axes.
    """
    drawn = ElementTree.fromstring(picture_file(figure, ".svg"))
    width, height = (f"{inches * POINTS_PER_INCH:g}" for inches in figure.get_size_inches())
    description = {"role": "img", "aria-label": str(figure.get_label())}
    root = Element("svg", {"class": "drawing", "viewBox": f"0 0 {width} {height}", **description})
    for element, attributes in _flattened(drawn):
        style = _FAMILY.sub("", attributes.pop("style"))
        for color, name in PAGE_COLORS.items():
            style = style.replace(color, f"var(--{name})")
        short = {name: _shortened(value) for name, value in attributes.items()}
        SubElement(root, _tag(element), {**short, "style": style}).text = element.text
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=False)


def _flattened(drawn: Element) -> list[tuple[Element, dict[str, str]]]:
    """Paths and texts in drawing order; each use of a marker becomes a path."""
    markers = {it.get("id"): it for defs in drawn.iter() if _tag(defs) == "defs" for it in defs}
    flat = []
    for element in drawn.iter():
        if element in markers.values():
            continue
        if _tag(element) == "use":
            address = next(value for name, value in element.items() if name.endswith("href"))
            marker = markers[address.removeprefix("#")]
            style = f"{element.get('style')}; {marker.get('style')}"
            place = f"translate({element.get('x')} {element.get('y')})"
            flat.append((marker, {"d": marker.get("d", ""), "transform": place, "style": style}))
        elif _tag(element) == "path":
            attributes = {
                name: value for name, value in element.items() if name in ("d", "style", "transform")
            }
            flat.append((element, attributes))
        elif _tag(element) == "text":
            attributes = dict(element.items())
            if attributes["transform"].startswith("rotate(-0 "):
                del attributes["transform"]
            flat.append((element, attributes))
    return flat


def _tag(element: Element) -> str:
    return element.tag.rpartition("}")[2]


def _shortened(value: str) -> str:
    shorter = _LONG_NUMBER.sub(lambda number: f"{float(number[0]):.2f}".rstrip("0").rstrip("."), value)
    return re.sub(r"\s*\n|(?<=[a-zA-Z]) ", "", shorter)
