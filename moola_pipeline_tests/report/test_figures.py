"""Charts of a report: marks lie at their values and differ without color."""

from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from moola_pipeline.labels.splits import UNUSED
from moola_pipeline.report.data import Calibration, LearningPoint, LossCurve, MonthMix
from moola_pipeline.report.figures import (
    delay_figure,
    learning_figure,
    loss_figure,
    mix_figure,
    path_figures,
    reliability_figure,
    score_figure,
)
from moola_pipeline_tests.report.reports import full_report, minimal_report, score


def only_axes(figure: Figure | None) -> Any:
    """Typed as Any: matplotlib's types do not cover what the tests read."""
    assert figure is not None
    return figure.axes[0]


def lines(axes: Any, label: str) -> list[tuple[list[Any], list[Any]]]:
    """x and y of the lines with this label."""
    matching = [line for line in axes.lines if line.get_label() == label]
    return [(np.asarray(it.get_xdata()).tolist(), np.asarray(it.get_ydata()).tolist()) for it in matching]


def texts(axes: Any) -> list[str]:
    ticks = [*axes.get_xticklabels(), *axes.get_yticklabels()]
    return [text.get_text() for text in (*axes.texts, *ticks, axes.xaxis.label)]


def test_the_model_and_its_interval_lie_at_their_values():
    axes = only_axes(score_figure(full_report()))
    (ends, _), *_ = lines(axes, "interval model")
    assert ends == pytest.approx([0.67, 0.81])
    assert lines(axes, "model")[0][0] == [0.74]


def test_every_row_of_the_score_picture_has_a_plain_name():
    names = texts(only_axes(score_figure(full_report())))
    assert names.count("Moola") == names.count("best baseline") == names.count("best ablation") == 3
    assert names.count("annotator, 2nd pass") == 1
    assert "target 0.75" in names


def test_a_name_is_at_the_height_of_its_mark():
    axes = only_axes(score_figure(full_report()))
    named = zip(axes.get_yticks(), (it.get_text() for it in axes.get_yticklabels()), strict=True)
    assert [y for y, name in named if name == "Moola"] == [y for _, (y,) in lines(axes, "model")]


def test_the_line_of_the_target_crosses_type_f1_only():
    axes = only_axes(score_figure(full_report()))
    [line] = [it for it in axes.lines if it.get_label() == "target"]
    (at, same), (top, bottom) = line.get_data()
    assert at == same == 0.75
    assert len([y for _, (y,) in lines(axes, "model") if top < y < bottom]) == 1


def test_each_kind_of_method_has_its_own_marker():
    axes = only_axes(score_figure(full_report()))
    kinds = ("model", "baseline", "trivial_baseline", "second_pass")
    shapes = {kind: {it.get_marker() for it in axes.lines if it.get_label() == kind} for kind in kinds}
    assert all(len(markers) == 1 for markers in shapes.values())
    assert len(set().union(*shapes.values())) == 4


def test_there_is_no_figure_without_measurements():
    assert score_figure(minimal_report()) is None
    assert loss_figure([], "Pretraining") is None
    assert learning_figure([]) is None
    assert delay_figure({}, score(0.5)) is None
    assert path_figures([]) == {}
    assert mix_figure([]) is None
    assert mix_figure([_month("2024-12", "train", 0)]) is None
    assert reliability_figure(Calibration(bins=[], ece_band=(0.0, 0.1))) is None


def test_loss_curves_skip_values_that_are_not_finite():
    curve = LossCurve(seed=0, train=[2.0, float("nan"), 1.0], validation=[float("inf"), 3.0, 2.5])
    axes = only_axes(loss_figure([curve], "Pretraining"))
    train, validation, _ = axes.lines
    assert np.column_stack(train.get_data()).tolist() == [[1, 2.0], [3, 1.0]]
    assert np.column_stack(validation.get_data()).tolist() == [[2, 3.0], [3, 2.5]]
    assert train.get_linestyle() != validation.get_linestyle()
    assert lines(axes, "lowest") == [([3], [2.5])]


def test_a_loss_curve_of_one_epoch_is_drawn():
    axes = only_axes(loss_figure([LossCurve(0, [0.0], [0.0])], "Fine-tuning"))
    assert lines(axes, "lowest") == [([1], [0.0])]
    low, high = axes.get_xlim()
    assert low < 1 < high and 1 in axes.get_xticks()


def test_labeled_and_predicted_paths_differ_in_dashes_and_bands():
    drawn = path_figures(full_report().details.event_study)
    assert set(drawn) == {"consolidation", "retracement"}
    axes = only_axes(drawn["retracement"])
    labeled, predicted = (it for it in axes.lines if "n = 70" in str(it.get_label()))
    assert labeled.get_linestyle() != predicted.get_linestyle()
    filled, outlined = axes.collections
    assert len(filled.get_facecolor()) == 1 and len(outlined.get_facecolor()) == 0
    assert [it.get_text() for it in axes.get_legend().get_texts()] == ["labeled, n = 70", "predicted, n = 70"]


def test_both_types_share_one_y_scale_that_contains_all_paths():
    drawn = path_figures(full_report().details.event_study)
    limits = {figure.axes[0].get_ylim() for figure in drawn.values()}
    assert len(limits) == 1
    paths = full_report().details.event_study
    [(low, high)] = limits
    assert low < min(min(path.low) for path in paths) and high > max(max(path.high) for path in paths)


def test_a_learning_curve_without_scratch_has_one_line():
    points = [LearningPoint(n_labels=n, pretrained=score(0.5)) for n in (22, 44)]
    axes = only_axes(learning_figure(points))
    assert [line.get_label() for line in axes.lines] == ["pretrained"]
    assert [it.get_text() for it in axes.get_xticklabels()] == ["22", "44"]


def test_pretrained_and_scratch_differ_in_marks_and_dashes():
    first, second = only_axes(learning_figure(full_report().details.learning_curve)).lines
    assert first.get_marker() != second.get_marker()
    assert first.get_linestyle() != second.get_linestyle()


def test_the_delay_curve_has_a_line_for_hindsight():
    axes = only_axes(delay_figure({0: score(0.2), 5: score(0.4)}, score(0.5)))
    assert lines(axes, "live") == [([0, 5], [0.2, 0.4])]
    assert lines(axes, "whole window (hindsight)")[0][1] == [0.5, 0.5]
    ends = [np.asarray(it.get_segments()[0])[:, 1].tolist() for it in axes.collections]
    assert ends == [pytest.approx([0.13, 0.27]), pytest.approx([0.33, 0.47])]


def test_the_range_of_a_perfect_model_contains_the_diagonal():
    calibration = full_report().details.calibration
    assert calibration is not None
    bins = calibration.bins
    axes = only_axes(reliability_figure(calibration))
    assert len(axes.collections) == len(bins)
    for whisker, group in zip(axes.collections, bins, strict=True):
        (x, low), (_, high) = np.asarray(whisker.get_segments()[0])
        assert x == group.probability
        assert low <= group.probability <= high
    assert lines(axes, "observed") == [([it.probability for it in bins], [it.share for it in bins])]
    assert [text for text in texts(axes) if text.startswith("n ")] == [f"n {it.n}" for it in bins]


def _month(month: str, split: str, n: int) -> MonthMix:
    return MonthMix(month=month, split=split, retracement=n, consolidation=n, none=0)


def test_months_are_ordered_by_time_and_split_and_stacked():
    months = [
        MonthMix(month="2025-06", split="test", consolidation=2, retracement=1, none=0),
        MonthMix(month="2025-06", split="train", consolidation=4, retracement=3, unknown=2, none=1),
    ]
    figure = mix_figure(months)
    bars = {
        str(it.get_label()): [(bar.get_x() + 0.38, bar.get_y(), bar.get_height()) for bar in it]
        for it in only_axes(figure).containers
    }
    assert bars == {
        "retracement": [(0.5, 0, 3), (1.5, 0, 1)],
        "consolidation": [(0.5, 3, 4), (1.5, 1, 2)],
        "unknown": [(0.5, 7, 2)],
        "none": [(0.5, 9, 1)],
    }
    assert figure is not None
    assert [line.get_label() for line in figure.axes[1].lines] == ["train", "test"]


def test_unused_windows_have_their_own_column():
    months = [_month("2024-12", UNUSED, 1), _month("2024-12", "train", 3), _month("2025-01", "validation", 2)]
    figure = mix_figure(months)
    assert figure is not None
    assert [line.get_label() for line in figure.axes[1].lines] == ["train", UNUSED, "validation"]
    assert [bar.get_height() for bar in figure.axes[0].containers[0]] == [3, 1, 2]


@pytest.mark.parametrize(("n_months", "named"), [(12, True), (36, False)])
def test_few_months_have_names_and_many_have_years_only(n_months: int, named: bool):
    months = [_month(f"{2023 + i // 12}-{1 + i % 12:02d}", "train", 1) for i in range(n_months)]
    figure = mix_figure(months)
    assert figure is not None
    names = [text.get_text() for text in figure.axes[1].texts]
    assert ("07" in names) == named
    assert [text for text in names if len(text) == 4] == [str(2023 + year) for year in range(n_months // 12)]
