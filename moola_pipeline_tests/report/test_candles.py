"""Candle chart of a window: candles at their prices, spans at their bars, names without overlap."""

from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from moola_pipeline.report.candles import candle_figure
from moola_pipeline.windows.window_geometry import WINDOW_BARS
from moola_pipeline_tests.report.reports import gallery_window


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def labeled(figure: Figure, label: str, axes: int = 0) -> list[Any]:
    return [it for it in figure.axes[axes].get_children() if it.get_label() == label]


def names(figure: Figure) -> dict[str, tuple[float, float]]:
    """Names of spans and their positions: bar, pixels from the top."""
    texts = figure.axes[1].texts
    return {it.get_text(): it.get_position() for it in texts if "↑" in it.get_text() or "↓" in it.get_text()}


def test_candles_are_drawn_at_their_prices():
    flat = np.full(WINDOW_BARS, 100.0)
    close = flat.copy()
    close[10] = 110.0
    figure = candle_figure(
        gallery_window(
            np.random.default_rng(0), open=flat, high=close, low=flat, close=close, truth=[], predicted=[]
        )
    )
    [rise], [fall], [wicks] = (labeled(figure, name) for name in ("rise", "fall", "wicks"))
    bodies = rise.get_path().vertices.reshape(-1, 5, 2)
    assert len(bodies) == WINDOW_BARS
    assert len(fall.get_path().vertices) == 0
    assert bodies[10, :4].tolist() == [[10.15, 100], [10.85, 100], [10.85, 110], [10.15, 110]]
    assert wicks.get_path().vertices.reshape(-1, 2, 2)[10].tolist() == [[10.5, 100], [10.5, 110]]
    assert rise.get_facecolor() != fall.get_facecolor()


def test_an_expansion_is_shaded_from_its_first_bar_through_its_last(rng: np.random.Generator):
    figure = candle_figure(gallery_window(rng))
    [box] = labeled(figure, "truth")
    assert (box.get_x(), box.get_x() + box.get_width()) == (44, 53)
    [bar] = labeled(figure, "truth", axes=1)
    assert (bar.get_x(), bar.get_width()) == (44, 9)
    assert list(names(figure)) == ["retracement ↑", "retracement ↑ 0.83", "consolidation ↓ 0.40"]


def test_labels_are_named_above_the_candles_and_predictions_below_with_a_dashed_frame(
    rng: np.random.Generator,
):
    figure = candle_figure(gallery_window(rng))
    box = figure.axes[0].get_position()
    height = figure.get_figheight() * 72
    top, bottom = (1 - box.y1) * height, (1 - box.y0) * height
    (_, above), (_, below), _ = names(figure).values()
    assert above < top and below > bottom
    assert labeled(figure, "truth")[0].get_linestyle() != labeled(figure, "predicted")[0].get_linestyle()
    assert labeled(figure, "predicted")[0].get_facecolor()[3] == 0


def test_frames_are_faint_outside_the_core(rng: np.random.Generator):
    predicted = [(first, first + 4, "retracement", 1, 0.5) for first in (29, 30, 75)]
    figure = candle_figure(gallery_window(rng, predicted=predicted))
    strengths = [box.get_alpha() for box in labeled(figure, "predicted")]
    assert strengths[0] == strengths[2] < strengths[1]


def test_names_of_neighboring_expansions_are_in_separate_rows(rng: np.random.Generator):
    crowded = [(first, first + 4, f"type{first}", 1) for first in (30, 36, 42, 100)]
    heights = [y for _, y in names(candle_figure(gallery_window(rng, truth=crowded, predicted=[]))).values()]
    assert len(set(heights[:3])) == 3
    assert heights[3] == heights[0]


@pytest.mark.parametrize("first", [0, 40, 52, 90, 100])
def test_a_name_is_never_cut_off(first: int, rng: np.random.Generator):
    spans = [(first, first + 4, "consolidation", -1, 0.55)]
    figure = candle_figure(gallery_window(rng, truth=[], predicted=spans))
    [text] = [it for it in figure.axes[1].texts if "0.55" in it.get_text()]
    figure.draw_without_rendering()
    extent = text.get_window_extent()
    assert figure.bbox.x0 <= extent.x0 and extent.x1 <= figure.bbox.x1
