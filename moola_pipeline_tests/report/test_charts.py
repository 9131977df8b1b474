"""The pictures of a report: drawn where the numbers lie, told apart without color."""

import re
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moola_pipeline.report import svg
from moola_pipeline.report.candles import candle_picture
from moola_pipeline.report.charts import score_picture
from moola_pipeline.report.curves import (
    delay_picture,
    learning_picture,
    loss_picture,
    path_pictures,
    reliability_picture,
)
from moola_pipeline.report.data import Calibration, LearningPoint, LossCurve, MonthMix
from moola_pipeline.report.label_mix import mix_picture
from moola_pipeline.windows.window_geometry import WINDOW_BARS
from moola_pipeline_tests.report.reports import full_report, gallery_window, minimal_report, score


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def parsed(picture: str | None) -> Element:
    return ElementTree.fromstring(picture or "")


def of_class(drawn: Element, tag: str, *names: str) -> list[Element]:
    wanted = set(names)
    return [one for one in drawn.iter(tag) if wanted <= set((one.get("class") or "").split())]


def texts(drawn: Element) -> list[str]:
    return [one.text or "" for one in drawn.iter("text")]


def test_the_model_and_its_interval_lie_at_their_values():
    drawn = parsed(score_picture(full_report()))
    first, *_ = of_class(drawn, "line", "interval", "model")
    assert (first.get("x1"), first.get("x2")) == ("67.00%", "81.00%")
    assert of_class(drawn, "circle", "mark", "model")[0].get("cx") == "74.00%"


def test_every_row_of_the_front_picture_is_named_in_words():
    said = texts(parsed(score_picture(full_report())))
    assert said.count("Moola") == said.count("best simpler method") == said.count("best baseline") == 3
    assert said.count("annotator, 2nd look") == 1
    assert "your target" in said


def test_rivals_have_marks_of_their_own_shape():
    drawn = parsed(score_picture(full_report()))
    shapes = {
        kind: {one.get("d") for one in of_class(drawn, "path", kind)}
        for kind in ("peer", "baseline", "ceiling")
    }
    assert all(len(paths) == 1 for paths in shapes.values())
    assert len(set().union(*shapes.values())) == 3


def test_nothing_measured_draws_nothing():
    assert score_picture(minimal_report()) is None
    assert loss_picture([], "Pretraining") is None
    assert learning_picture([]) is None
    assert delay_picture({}, score(0.5)) is None
    assert path_pictures([]) == {}
    assert mix_picture([]) is None
    assert reliability_picture(Calibration(bins=[], ece_band=(0.0, 0.1))) is None


def test_losses_leave_out_what_is_not_a_number():
    curve = LossCurve(seed=0, train=[2.0, float("nan"), 1.0], validation=[float("inf"), 3.0, 2.5])
    drawn = parsed(loss_picture([curve], "Pretraining"))
    assert [len(str(line.get("points")).split()) for line in drawn.iter("polyline")] == [2, 2]
    assert len(of_class(drawn, "circle", "lowest")) == 1


def test_a_training_of_one_epoch_is_drawn():
    drawn = parsed(loss_picture([LossCurve(0, [0.0], [0.0])], "Fine-tuning"))
    assert [circle.get("cx") for circle in drawn.iter("circle")] == ["50.00%"]


def test_labeled_and_predicted_paths_differ_in_dashes_and_bands():
    pictures = path_pictures(full_report().details.event_study)
    assert set(pictures) == {"consolidation", "retracement"}
    drawn = parsed(pictures["retracement"])
    assert len(of_class(drawn, "polygon", "band", "solid")) == 1
    assert len(of_class(drawn, "polygon", "band", "dashed")) == 1
    assert {"labeled, n = 70", "predicted, n = 70"} <= set(texts(drawn))


def test_both_types_share_one_upright_scale():
    pictures = path_pictures(full_report().details.event_study)
    ticks = [
        [text for text in texts(parsed(one)) if re.fullmatch(r"−?[\d.]+", text)] for one in pictures.values()
    ]
    assert ticks[0] == ticks[1]


def test_a_learning_curve_without_scratch_has_one_line():
    points = [LearningPoint(n_labels=n, pretrained=score(0.5)) for n in (22, 44)]
    drawn = parsed(learning_picture(points))
    assert len(list(drawn.iter("polyline"))) == 1
    assert "from scratch" not in texts(drawn)


def test_the_delay_curve_is_set_beside_hindsight():
    drawn = parsed(delay_picture({0: score(0.2), 5: score(0.4)}, score(0.5)))
    assert "the whole window read (hindsight)" in texts(drawn)
    assert len(of_class(drawn, "circle", "dot")) == 2


def test_a_perfect_models_range_holds_the_diagonal():
    known = full_report().details.calibration
    assert known is not None
    drawn = parsed(reliability_picture(known))
    whiskers = of_class(drawn, "line", "whisker", "perfect")
    assert len(whiskers) == len(known.bins)
    for whisker, one in zip(whiskers, known.bins, strict=True):
        diagonal = 20 + (1 - one.probability) * 170
        assert float(str(whisker.get("y2"))) <= diagonal <= float(str(whisker.get("y1")))


def test_months_stand_in_order_of_time_and_split_and_add_up():
    months = [
        MonthMix(month="2025-06", split="test", consolidation=2, retracement=1, none=0),
        MonthMix(month="2025-06", split="train", consolidation=4, retracement=3, none=1),
    ]
    drawn = parsed(mix_picture(months))
    assert [text for text in texts(drawn) if text in ("train", "test")] == ["train", "test"]
    heights = {
        kind: [float(str(one.get("height"))) for one in of_class(drawn, "rect", kind)]
        for kind in ("consolidation", "retracement", "none")
    }
    assert len(heights["none"]) == 1
    assert heights["consolidation"][0] == pytest.approx(2 * heights["consolidation"][1], abs=0.02)
    assert heights["retracement"][0] == pytest.approx(3 * heights["none"][0], abs=0.02)


def test_candles_are_drawn_where_the_prices_lie():
    flat = np.full(WINDOW_BARS, 100.0)
    close = flat.copy()
    close[10] = 110.0
    window = gallery_window(
        np.random.default_rng(0), open=flat, high=close, low=flat, close=close, truth=[], predicted=[]
    )
    drawn = parsed(candle_picture(window))
    rise = next(path for path in drawn.iter("path") if path.get("class") == "rise")
    bodies = re.findall(r"M([\d.]+) ([\d.]+)h.7V([\d.]+)", str(rise.get("d")))
    assert len(bodies) == WINDOW_BARS
    left, bottom, top = map(float, bodies[10])
    assert left == 10.15
    assert bottom - top == pytest.approx(170 / 1.06, abs=0.2)
    assert not next(path for path in drawn.iter("path") if path.get("class") == "fall").get("d")


def test_an_expansion_is_shaded_from_its_first_bar_through_its_last(rng: np.random.Generator):
    drawn = parsed(candle_picture(gallery_window(rng)))
    boxes = of_class(drawn, "rect", "truth", "box")
    assert [(box.get("x"), box.get("width")) for box in boxes] == [
        (svg.percent(44 / WINDOW_BARS), svg.percent(9 / WINDOW_BARS))
    ]
    names = [one.text for one in of_class(drawn, "text", "name")]
    assert names == ["retracement ↑", "retracement ↑ 0.83", "consolidation ↓ 0.40"]


def test_where_labels_are_not_complete_frames_are_faint(rng: np.random.Generator):
    predicted = [
        (29, 33, "retracement", 1, 0.5),
        (30, 33, "retracement", 1, 0.5),
        (75, 80, "retracement", 1, 0.5),
    ]
    drawn = parsed(candle_picture(gallery_window(rng, predicted=predicted)))
    faint = ["unknown" in str(box.get("class")) for box in of_class(drawn, "rect", "predicted", "box")]
    assert faint == [True, False, True]


def test_labels_of_neighboring_expansions_stand_in_rows_of_their_own(rng: np.random.Generator):
    crowded = [(first, first + 4, "retracement", 1) for first in (30, 36, 42, 100)]
    drawn = parsed(candle_picture(gallery_window(rng, truth=crowded, predicted=[])))
    heights = [one.get("y") for one in of_class(drawn, "text", "name")]
    assert len(set(heights[:3])) == 3
    assert heights[3] == heights[0]


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.integers(2, 8))
def test_ticks_are_few_even_and_inside(low: float, span: float, at_most: int):
    ticks = svg.round_ticks(low, low + span, at_most)
    assert 1 <= len(ticks) <= at_most
    assert ticks.min() >= low - 1e-6 * span and ticks.max() <= low + span * (1 + 1e-6)
    assert np.allclose(np.diff(ticks), np.diff(ticks)[0] if len(ticks) > 1 else 0)


def test_no_tick_is_a_negative_zero():
    assert not np.signbit(svg.round_ticks(-0.01, 1.0)[0])
