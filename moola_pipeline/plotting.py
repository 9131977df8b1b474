"""House style of all figures: colors, fonts, and equal bytes for equal figures."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

PAPER, INK, SOFT, GRID = "#ffffff", "#1a1a1a", "#595f66", "#d4d8dc"
BLUE, ORANGE, GREEN, RED = "#0b4f8a", "#a34a00", "#2a9d8f", "#c0392b"
FONT_SIZE = 11.5
STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib: the same text layout on every machine
    "font.size": FONT_SIZE,
    "text.color": INK,
    "text.parse_math": False,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": SOFT,
    "axes.labelsize": "medium",
    "axes.titlesize": "medium",
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "grid.color": GRID,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelsize": "medium",
    "ytick.labelsize": "medium",
    "xtick.major.pad": 5,
    "ytick.major.pad": 6,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "lines.linewidth": 1.8,
    "legend.frameon": False,
    "legend.fontsize": "medium",
    "svg.fonttype": "none",
    "svg.hashsalt": "moola",
}
_ONE_AT_A_TIME = RLock()
"""matplotlib's settings are global: two threads that draw would overwrite each other's."""


@contextmanager
def house_style() -> Iterator[None]:
    """Draw in the house style; also usable as a decorator."""
    with _ONE_AT_A_TIME, rc_context(STYLE):
        yield


@house_style()
def picture_file(figure: Figure, suffix: str) -> bytes:
    """Render a figure: equal figures give equal bytes, and an SVG keeps its text as text.

    Args:
        figure: Drawn in `house_style`.
        suffix: .png or .svg.
    """
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # file names may use any script
        undated = {"Date": None} if suffix == ".svg" else None
        figure.savefig(content, format=suffix.removeprefix("."), metadata=undated)
    return content.getvalue()
