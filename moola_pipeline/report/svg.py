"""SVG elements that keep their place in percent and their text in pixels, so that phones can read them."""

from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

import numpy as np


def drawing(height: float, description: str) -> Element:
    """An empty picture as wide as its surroundings and `height` pixels high."""
    attributes = {"class": "drawing", "width": "100%", "height": f"{height:g}"}
    return Element("svg", attributes | {"role": "img", "aria-label": description})


def add(parent: Element, tag: str, text: str | None = None, **attributes: str | float) -> Element:
    """Append an element; `stroke_width` becomes `stroke-width`, `class_` becomes `class`."""
    named = {name.rstrip("_").replace("_", "-"): _written(value) for name, value in attributes.items()}
    element = SubElement(parent, tag, named)
    element.text = text
    return element


def stretched(parent: Element, width: float, top: float, height: float) -> Element:
    """A part whose x runs 0..width over the whole picture; strokes keep their width in pixels."""
    box = f"0 0 {width:g} {height:g}"
    element = add(parent, "svg", x=0, y=top, width="100%", height=height, viewBox=box, overflow="visible")
    element.set("preserveAspectRatio", "none")
    return element


def percent(share: float) -> str:
    """A share of the width, 0..1, as an SVG coordinate."""
    return f"{100 * share:.2f}%"


def markup(element: Element) -> str:
    """The element as text, everything in it escaped."""
    return ElementTree.tostring(element, encoding="unicode", short_empty_elements=False)


def round_ticks(low: float, high: float, at_most: int = 5) -> np.ndarray:
    """Round numbers in low..high, evenly spaced, at most `at_most` of them."""
    if not high > low:
        return np.array([low])
    power = 10.0 ** np.floor(np.log10((high - low) / at_most))
    for step in power * np.array([1, 2, 2.5, 5, 10, 20]):
        first, last = np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9)
        if last - first < at_most:
            break
    return np.arange(first, last + 1) * step + 0.0  # no negative zero


def _written(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")
