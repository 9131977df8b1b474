"""Figures inlined in a page: text stays text, no ids, readable on a phone."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.text import Text

from moola_pipeline.plotting import BLUE, FONT_SIZE, house_style
from moola_pipeline.report.candles import candle_figure
from moola_pipeline.report.figures import mix_figure, path_figures, reliability_figure, score_figure
from moola_pipeline.report.style import (
    PAGE_COLORS,
    WIDTH,
    chart,
    figure_of,
    free_rows,
    inline_svg,
    panel,
    show_key,
)
from moola_pipeline_tests.report.reports import full_report, gallery_window

PHONE = 390 - 2 * 0.8 * 16
"""Pixels between the margins of the page on a phone."""


def every_figure() -> dict[str, Figure]:
    data = full_report()
    figures = {
        "score": score_figure(data),
        "mix": mix_figure(data.details.class_mix),
        "path": path_figures(data.details.event_study)["retracement"],
        "reliability": reliability_figure(data.details.calibration) if data.details.calibration else None,
        "candles": candle_figure(gallery_window(np.random.default_rng(7))),
    }
    return {name: figure for name, figure in figures.items() if figure}


@house_style()
def made(text: str = "price", description: str = "a picture") -> Figure:
    axes = chart(description, "bars", text, key=True)
    axes.plot([0, 1], [1, 2], "o-", color=BLUE, label=text)
    show_key(axes)
    return figure_of(axes)


@pytest.mark.parametrize(
    "hostile", ["<script>alert('x')</script>&", "a$b$ \\frac{1}", 'x" onload="y', "日本 ↑"]
)
@pytest.mark.filterwarnings("ignore:Glyph")
def test_text_stays_text_and_is_escaped(hostile: str):
    inlined = inline_svg(made(hostile, hostile))
    drawn = ElementTree.fromstring(inlined)
    assert [it.text for it in drawn.iter("text")].count(hostile) == 2
    assert drawn.get("aria-label") == hostile
    assert "<script" not in inlined and not any("onload" in it.attrib for it in drawn.iter())


def test_inlined_figures_have_no_ids_addresses_or_css():
    for figure in every_figure().values():
        drawn = ElementTree.fromstring(inline_svg(figure))
        assert {it.tag for it in drawn.iter()} == {"svg", "path", "text"}
        assert not any(
            {"id", "href", "clip-path", "class"} & set(it.attrib) for it in drawn.iter() if it is not drawn
        )


def test_a_marker_is_drawn_at_each_point():
    drawn = ElementTree.fromstring(inline_svg(made()))
    places = [it.get("transform") for it in drawn.iter("path") if it.get("transform")]
    assert len(places) == 3  # two points and one in the key
    assert all(it.get("d") for it in drawn.iter("path"))


def test_inlining_is_deterministic():
    assert {name: inline_svg(it) for name, it in every_figure().items()} == {
        name: inline_svg(it) for name, it in every_figure().items()
    }


def test_colors_and_font_are_those_of_the_page():
    for figure in every_figure().values():
        inlined = inline_svg(figure)
        assert "font-family" not in inlined
        assert set(re.findall(r"var\(--(\w+)\)", inlined)) <= set(PAGE_COLORS.values())
        assert not re.search(r"#[0-9a-f]{6}", inlined)


def test_text_is_large_enough_on_a_phone():
    for figure in every_figure().values():
        sizes = [float(size) for size in re.findall(r"font-size: ([\d.]+)px", inline_svg(figure))]
        assert figure.get_figwidth() * 72 == WIDTH
        assert min(sizes) * PHONE / WIDTH >= 11
        assert set(sizes) == {FONT_SIZE}


@pytest.mark.parametrize("name", every_figure())
def test_no_text_is_cut_off_or_overlaps_another(name: str):
    figure = every_figure()[name]
    drawn = {it.text for it in ElementTree.fromstring(inline_svg(figure)).iter("text")}
    texts = [it for it in figure.findobj(Text) if isinstance(it, Text) and it.get_text() in drawn]
    shown = {it: it.get_window_extent() for it in texts if it.get_visible()}
    frame = figure.bbox
    for text, box in shown.items():
        assert box.x0 >= -1 and box.x1 <= frame.x1 + 1, text.get_text()
        assert box.y0 >= -1 and box.y1 <= frame.y1 + 1, text.get_text()
    apart = [box.padded(-1.5) for box in shown.values()]
    over = [(i, j) for i in range(len(apart)) for j in range(i) if apart[i].overlaps(apart[j])]
    assert not [(list(shown)[i].get_text(), list(shown)[j].get_text()) for i, j in over]


def test_margins_are_in_pixels():
    box = panel("", 200, left=37, right=74, top=20, bottom=50).get_position()
    assert (box.x0, box.x1, box.y0, box.y1) == pytest.approx((0.1, 0.8, 0.25, 0.9))


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(1, 30)), max_size=12))
def test_reaches_in_a_row_do_not_overlap_and_no_row_is_empty(spans: list[tuple[float, float]]):
    reaches = [(left, left + width) for left, width in spans]
    rows = free_rows(reaches)
    assert sorted(set(rows)) == list(range(len(set(rows))))
    for i, (left, right) in enumerate(reaches):
        assert all(rows[i] != rows[j] or left >= reaches[j][1] or right <= reaches[j][0] for j in range(i))
