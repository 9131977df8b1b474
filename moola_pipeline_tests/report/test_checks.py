"""Checks of a report, and the model faults that they must detect."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moola_pipeline.evaluation.sections import as_scores
from moola_pipeline.evaluation.trivial_baselines import trivial_type_baselines
from moola_pipeline.metrics.bootstrap import Resampled
from moola_pipeline.metrics.calibration import perfect_band
from moola_pipeline.metrics.scores import (
    ResampledWindows,
    Scored,
    resample_windows,
    score_ends,
    score_events,
    score_mean_pointer,
    score_probabilities,
    score_types,
)
from moola_pipeline.report.checks import (
    MEAN_POINTER,
    ONE_SPAN,
    REQUIRED_BASELINES,
    TRIVIAL_TYPE_BASELINES,
    UNTRAINED,
    margins,
    score_checks,
)
from moola_pipeline.report.comparisons import differences, primary_comparisons, smallest_difference
from moola_pipeline.report.data import Target
from moola_pipeline.report.metric_catalog import PRIMARIES, best
from moola_pipeline_tests.evaluation.made_answers import made_events, made_ground, made_p


@pytest.fixture(scope="module")
def resampled() -> ResampledWindows:
    return made_ground(resamples=500)


def model_scores(resampled: ResampledWindows, p: np.ndarray, events: pd.DataFrame) -> Scored:
    return {
        **score_types(resampled, p),
        **score_probabilities(resampled, p),
        **score_events(resampled, events),
        **score_ends(resampled, events),
    }


def baseline_scores(resampled: ResampledWindows, events: pd.DataFrame) -> dict[str, Scored]:
    """Baselines as in the report, with the labels in place of training data."""
    spans = resampled.windows.spans
    answers = trivial_type_baselines(spans.type, spans.start, spans.start)
    untrained = score_types(resampled, made_p(resampled, np.random.default_rng(9), signal=0.05))
    return {
        **{name: score_types(resampled, p) for name, p in answers.items()},
        ONE_SPAN: {},
        MEAN_POINTER: score_mean_pointer(resampled, events),
        UNTRAINED: untrained,
    }


def checked(resampled: ResampledWindows, p: np.ndarray, events: pd.DataFrame) -> dict[str, bool]:
    band = perfect_band(p, np.random.default_rng(0))
    found = score_checks(
        model_scores(resampled, p, events), baseline_scores(resampled, events), [band], Target()
    )
    return {name: check.passed for name, check in found.items()}


def calibrated_p(resampled: ResampledWindows, rng: np.random.Generator) -> np.ndarray:
    """Calibrated probabilities, right in 85 % of cases."""
    y = resampled.windows.spans.type
    right = rng.random(len(y)) < 0.85
    predicted_one = np.where(right, y, 1 - y) == 1
    return np.where(predicted_one, y[predicted_one].mean(), y[~predicted_one].mean())


def test_a_good_model_passes_every_check(resampled: ResampledWindows):
    rng = np.random.default_rng(0)
    assert checked(resampled, calibrated_p(resampled, rng), made_events(resampled, rng)) == {
        "baselines_present": True,
        "beats_baselines": True,
        "target_f1": True,
        "calibrated": True,
    }


def test_a_collapsed_model_is_no_better_than_the_majority(resampled: ResampledWindows):
    rng = np.random.default_rng(1)
    constant = np.full(len(resampled.windows.spans.type), 0.3)
    passed = checked(resampled, constant, made_events(resampled, rng))
    assert not passed["beats_baselines"]
    assert not passed["target_f1"]


@pytest.mark.parametrize("shift", [-12, 0, 12])
def test_a_constant_span_never_beats_the_mean_pointer(resampled: ResampledWindows, shift: int):
    rng = np.random.default_rng(2)
    spans = resampled.windows.spans
    start, end = (round(float(bars.mean())) + shift for bars in (spans.start, spans.end))
    everywhere = pd.DataFrame(
        {"window_id": resampled.windows.window_id, "start": start, "end": end, "type": 0}
    )
    p = calibrated_p(resampled, rng)
    assert not checked(resampled, p, everywhere)["beats_baselines"]
    assert checked(resampled, p, made_events(resampled, rng))["beats_baselines"]


def test_a_model_without_predictions_does_not_beat_the_baselines(resampled: ResampledWindows):
    rng = np.random.default_rng(3)
    nothing = made_events(resampled, rng).iloc[:0]
    assert not checked(resampled, calibrated_p(resampled, rng), nothing)["beats_baselines"]


def test_overconfident_probabilities_are_not_calibrated(resampled: ResampledWindows):
    rng = np.random.default_rng(4)
    y = resampled.windows.spans.type
    overconfident = np.where(rng.random(len(y)) < 0.7, y, 1 - y) * 0.98 + 0.01
    assert not checked(resampled, overconfident, made_events(resampled, rng))["calibrated"]


def test_a_missing_baseline_is_counted(resampled: ResampledWindows):
    rng = np.random.default_rng(5)
    p, events = calibrated_p(resampled, rng), made_events(resampled, rng)
    some = {name: scores for name, scores in baseline_scores(resampled, events).items() if name != "majority"}
    check = score_checks(model_scores(resampled, p, events), some, [(0.0, 0.1)], Target())[
        "baselines_present"
    ]
    assert (check.passed, check.kind) == (False, "integrity")
    assert (check.value, check.limit) == (len(REQUIRED_BASELINES) - 1, len(REQUIRED_BASELINES))
    assert set(TRIVIAL_TYPE_BASELINES) < set(REQUIRED_BASELINES)


def made(estimate: float, *values: float) -> Resampled:
    return Resampled(estimate, np.array(values), 9)


def test_the_margin_is_the_lower_bound_against_the_best_baseline():
    model = {"type_f1_macro": made(0.8, 0.7, 0.8, 0.9)}
    baselines = {
        "weak": {"type_f1_macro": made(0.3, 0.3, 0.3, 0.3)},
        "strong": {"type_f1_macro": made(0.6, 0.6, 0.5, 0.6)},
    }
    lower = np.quantile([0.1, 0.3, 0.3], 0.025)
    assert margins(model, baselines) == {"type_f1_macro": pytest.approx(lower)}
    assert differences(model, baselines)["strong"]["type_f1_macro"].estimate == pytest.approx(0.2)


def test_the_best_method_has_a_defined_score():
    methods = {"a": {"mcc": made(float("nan"))}, "b": {"mcc": made(0.2)}, "c": {}}
    winner = best(methods, "mcc")
    assert winner is not None
    assert winner[0] == "b"
    assert best(methods, "brier") is None


def test_the_page_and_the_smallest_difference_choose_the_same_of_two_equal_methods():
    model = {"mcc": made(0.5, *np.linspace(0.4, 0.6, 1001))}
    wide, narrow = made(0.4, *np.linspace(0.9, 0.1, 1001)), made(0.4, *np.linspace(0.4, 0.6, 1001))
    for methods in ({"a": {"mcc": narrow}, "b": {"mcc": wide}}, {"b": {"mcc": wide}, "a": {"mcc": narrow}}):
        shown = best({name: as_scores(scored) for name, scored in methods.items()}, "mcc")
        assert shown is not None
        gap = differences(model, methods)[shown[0]]["mcc"]
        half = (float(gap.high or 0) - float(gap.low or 0)) / 2
        assert smallest_difference(model, methods) == {"mcc": pytest.approx(half)}


def test_the_smallest_difference_is_half_the_width_of_the_paired_interval():
    model, baseline = made(0.5, *np.linspace(0.4, 0.6, 1001)), made(0.45, *np.full(1001, 0.45))
    width = np.quantile(model.values, 0.975) - np.quantile(model.values, 0.025)
    assert smallest_difference({"mcc": model}, {"baseline": {"mcc": baseline}}) == {
        "mcc": pytest.approx(width / 2)
    }
    assert smallest_difference({"mcc": model}, {"baseline": {}}) == {}


def test_primary_comparisons_are_paired_with_the_chosen_baselines_and_adjusted():
    steps = np.linspace(-0.1, 0.1, 1001)
    model = {"type_f1_macro": made(0.8, *(0.8 + steps)), "event_f1_macro": made(0.5, *(0.5 + steps))}
    baselines = {
        "far": {
            "type_f1_macro": made(0.6, *np.full(1001, 0.6)),
            "event_f1_macro": made(0.1, *np.full(1001, 0.1)),
        },
        "near": {"event_f1_macro": made(0.49, *np.full(1001, 0.49))},
    }
    first, second = primary_comparisons(model, baselines, {"type_f1_macro": "far", "event_f1_macro": "near"})
    assert (first.baseline, first.standing) == ("far", "better")
    assert first.p_value == pytest.approx(2 * 2 / 1002)  # the smaller of two: doubled by Holm
    assert first.smallest_difference == pytest.approx(0.0975, abs=1e-3)  # two tests: 97.5 %, not 95 %
    assert (second.baseline, second.standing) == ("near", "level")
    assert second.difference.estimate == pytest.approx(0.01)


@given(st.integers(0, 2**32 - 1), st.floats(-0.5, 0.5))
def test_a_difference_above_the_smallest_one_is_never_called_level(seed: int, shift: float):
    values = np.random.default_rng(seed).gamma(2.0, 0.1, 2000) - 0.2 + shift  # skewed, as bounded scores are
    model = {name: made(float(np.mean(values)), *values) for name in PRIMARIES}
    baselines = {"b": {name: made(0.0, *np.zeros(len(values))) for name in PRIMARIES}}
    for one in primary_comparisons(model, baselines, dict.fromkeys(PRIMARIES, "b")):
        size, smallest = abs(one.difference.estimate or 0), one.smallest_difference or 0
        if size > 1.05 * smallest:  # the p-value moves in steps of one resample
            assert one.standing in ("better", "worse")


def test_a_comparison_without_resamples_has_no_standing():
    nothing = {"type_f1_macro": made(0.8, *np.full(3, np.nan))}
    (only,) = primary_comparisons(nothing, {"b": nothing}, {"type_f1_macro": "b"})
    assert (only.p_value, only.standing, only.smallest_difference) == (None, None, None)


@pytest.mark.parametrize(("n", "passes"), [(6, False), (60, True)])
def test_all_right_reach_the_target_only_by_the_exact_interval(
    resampled: ResampledWindows, n: int, passes: bool
):
    """As the verdict does: six right of six are 1.00 [0.54, 1.00]."""
    rng = np.random.default_rng(0)
    scores = model_scores(resampled, made_p(resampled, rng), made_events(resampled, rng))
    right = scores | {"type_f1_macro": Resampled(1.0, np.ones(500), n)}
    assert score_checks(right, {}, [(0.0, 0.1)], Target())["target_f1"].passed == passes


def test_a_test_split_of_few_sessions_has_scores_and_no_intervals(resampled: ResampledWindows):
    few = resampled.windows._replace(
        session=np.resize(resampled.windows.session[:4], len(resampled.windows.session))
    )
    once = resample_windows(few, 500, np.random.default_rng(0))
    rng = np.random.default_rng(0)
    own = model_scores(once, made_p(once, rng), made_events(once, rng))
    worse = model_scores(once, made_p(once, rng, signal=-0.3), made_events(once, rng))
    chosen: dict[str, str] = dict.fromkeys(map(str, PRIMARIES), "worse")
    assert all(score.estimate is not None and score.low is None for score in as_scores(own).values())
    for one in primary_comparisons(own, {"worse": worse}, chosen):
        assert (one.p_value, one.standing, one.difference.low) == (None, None, None)
    checks = score_checks(own, {"worse": worse}, [(0.0, 0.1)], Target())
    assert not checks["beats_baselines"].passed and not checks["target_f1"].passed
