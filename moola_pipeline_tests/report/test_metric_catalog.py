"""Titles of metrics, and names of baselines and ablations."""

import pytest

from moola_pipeline.evaluation.baselines import TYPE_BASELINES
from moola_pipeline.metrics.definitions import residual_metrics
from moola_pipeline.report.checks import REQUIRED_BASELINES
from moola_pipeline.report.metric_catalog import best, goodness, method_name, metric, part
from moola_pipeline_tests.report.reports import FOUND, OTHERS, TYPED, score


@pytest.mark.parametrize(
    "name", [*TYPED, *FOUND, *OTHERS, *residual_metrics("onset"), *residual_metrics("offset")]
)
def test_every_score_has_a_title_a_meaning_and_a_question(name: str):
    known = metric(name)
    assert known.title and known.meaning
    assert known.question in ("detection", "identification", "onset")
    assert known.title != name


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("map_iou50", "Mean average precision at 50 % overlap"),
        ("onset_bias_bars", "Start: mean error"),
        ("offset_within_3", "End: error of at most 3"),
        ("event_f1_live_5", "Event F1, live, delay 5"),
        ("event_f1_untyped_live_0", "Event F1, live, type ignored, delay 0"),
        ("something_new", "Something new"),
    ],
)
def test_metric_names_have_titles(name: str, title: str):
    assert metric(name).title == title


def test_every_baseline_has_a_plain_name():
    assert all(
        "_" not in method_name(name) for name in (*REQUIRED_BASELINES, "training_share", *TYPE_BASELINES)
    )
    assert method_name("rule_extra_trees_21_summaries") == "rule + ExtraTrees on 21 price summaries"
    assert method_name("oracle") == "oracle"


def test_an_unknown_part_keeps_its_name():
    assert part("learning_curve") == "Learning curve"
    assert part("moon_phase") == "Moon phase"


def test_best_means_lowest_error_least_bias_or_highest_f1():
    errors = {"a": {"onset_mae_bars": score(3.0)}, "b": {"onset_mae_bars": score(1.0)}}
    assert best(errors, "onset_mae_bars") == ("b", score(1.0))
    shifts = {"a": {"onset_bias_bars": score(-2.0)}, "b": {"onset_bias_bars": score(0.5)}}
    assert best(shifts, "onset_bias_bars") == ("b", score(0.5))
    f1s = {"a": {"type_f1_macro": score(0.7)}, "b": {"type_f1_macro": score(0.6)}, "c": {}}
    assert best(f1s, "type_f1_macro") == ("a", score(0.7))
    assert best({"a": {"prevalence": score(0.3)}}, "prevalence") is None
    assert best({}, "type_f1_macro") is None
    assert goodness("ece", 0.1) > goodness("ece", 0.2)
