"""What a report concludes; and the faults of a model that it must catch."""

import numpy as np
import pandas as pd
import pytest

from moola_pipeline.evaluation.trivial_baselines import trivial_type_baselines
from moola_pipeline.metrics.bootstrap import Resampled
from moola_pipeline.metrics.calibration import perfect_band
from moola_pipeline.metrics.scores import (
    ResampledWindows,
    Scored,
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
    best_of,
    differences,
    margins,
    score_checks,
    smallest_difference,
)
from moola_pipeline_tests.evaluation.made_answers import made_events, made_ground, made_p


@pytest.fixture(scope="module")
def ground() -> ResampledWindows:
    return made_ground(resamples=500)


def model_scores(ground: ResampledWindows, p: np.ndarray, events: pd.DataFrame) -> Scored:
    return {
        **score_types(ground, p),
        **score_probabilities(ground, p),
        **score_events(ground, events),
        **score_ends(ground, events),
    }


def baseline_scores(ground: ResampledWindows, events: pd.DataFrame) -> dict[str, Scored]:
    """As the report makes them; what is known of training is taken from the labels themselves."""
    spans = ground.windows.spans
    answers = trivial_type_baselines(spans.type, spans.start, spans.start)
    untrained = score_types(ground, made_p(ground, np.random.default_rng(9), signal=0.05))
    return {
        **{name: score_types(ground, p) for name, p in answers.items()},
        ONE_SPAN: {},
        MEAN_POINTER: score_mean_pointer(ground, events),
        UNTRAINED: untrained,
    }


def checked(ground: ResampledWindows, p: np.ndarray, events: pd.DataFrame) -> dict[str, bool]:
    band = perfect_band(p, np.random.default_rng(0))
    found = score_checks(model_scores(ground, p, events), baseline_scores(ground, events), [band])
    return {name: check.passed for name, check in found.items()}


def calibrated_p(ground: ResampledWindows, rng: np.random.Generator) -> np.ndarray:
    """Probabilities of which the labels look like draws: 85 % right."""
    y = ground.windows.spans.type
    right = rng.random(len(y)) < 0.85
    said = np.where(right, y, 1 - y)
    ones = said == 1
    return np.where(ones, y[ones].mean(), y[~ones].mean())


def test_a_good_model_passes_everything(ground: ResampledWindows):
    rng = np.random.default_rng(0)
    assert checked(ground, calibrated_p(ground, rng), made_events(ground, rng)) == {
        "baselines_present": True,
        "beats_baselines": True,
        "target_f1": True,
        "calibrated": True,
    }


def test_a_collapsed_model_is_no_better_than_the_majority(ground: ResampledWindows):
    rng = np.random.default_rng(1)
    constant = np.full(len(ground.windows.spans.type), 0.3)
    passed = checked(ground, constant, made_events(ground, rng))
    assert not passed["beats_baselines"]
    assert not passed["target_f1"]


@pytest.mark.parametrize("shift", [-12, 0, 12])
def test_a_constant_pointer_is_no_better_than_the_mean_however_rarely_it_is_met(
    ground: ResampledWindows, shift: int
):
    rng = np.random.default_rng(2)
    spans = ground.windows.spans
    start, end = (round(float(bars.mean())) + shift for bars in (spans.start, spans.end))
    everywhere = pd.DataFrame({"window_id": ground.windows.window_id, "start": start, "end": end, "type": 0})
    p = calibrated_p(ground, rng)
    assert not checked(ground, p, everywhere)["beats_baselines"]
    assert checked(ground, p, made_events(ground, rng))["beats_baselines"]


def test_a_model_that_finds_nothing_is_not_ahead(ground: ResampledWindows):
    rng = np.random.default_rng(3)
    nothing = made_events(ground, rng).iloc[:0]
    assert not checked(ground, calibrated_p(ground, rng), nothing)["beats_baselines"]


def test_overconfident_probabilities_are_not_calibrated(ground: ResampledWindows):
    rng = np.random.default_rng(4)
    y = ground.windows.spans.type
    sure = np.where(rng.random(len(y)) < 0.7, y, 1 - y) * 0.98 + 0.01
    assert not checked(ground, sure, made_events(ground, rng))["calibrated"]


def test_a_missing_baseline_is_counted(ground: ResampledWindows):
    rng = np.random.default_rng(5)
    p, events = calibrated_p(ground, rng), made_events(ground, rng)
    some = {name: one for name, one in baseline_scores(ground, events).items() if name != "majority"}
    check = score_checks(model_scores(ground, p, events), some, [(0.0, 0.1)])["baselines_present"]
    assert (check.passed, check.kind) == (False, "integrity")
    assert (check.value, check.limit) == (len(REQUIRED_BASELINES) - 1, len(REQUIRED_BASELINES))
    assert set(TRIVIAL_TYPE_BASELINES) < set(REQUIRED_BASELINES)


def made(estimate: float, *values: float) -> Resampled:
    return Resampled(estimate, np.array(values), 9)


def test_the_margin_is_the_lower_bound_against_the_best_baseline():
    model = {"type_f1_macro": made(0.8, 0.7, 0.8, 0.9)}
    method_rows = {
        "weak": {"type_f1_macro": made(0.3, 0.3, 0.3, 0.3)},
        "strong": {"type_f1_macro": made(0.6, 0.6, 0.5, 0.6)},
    }
    lower = np.quantile([0.1, 0.3, 0.3], 0.025)
    assert margins(model, method_rows) == {"type_f1_macro": pytest.approx(lower)}
    assert differences(model, method_rows)["strong"]["type_f1_macro"].estimate == pytest.approx(0.2)


def test_the_best_of_rivals_skips_what_is_undefined():
    method_rows = {"a": {"x": made(float("nan"))}, "b": {"x": made(0.2)}, "c": {}}
    best = best_of(method_rows, "x")
    assert best is not None
    assert best[0] == "b"
    assert best_of(method_rows, "y") is None


def test_the_smallest_difference_is_half_the_width_of_the_paired_interval():
    model, method_name = made(0.5, *np.linspace(0.4, 0.6, 1001)), made(0.45, *np.full(1001, 0.45))
    width = np.quantile(model.values, 0.975) - np.quantile(model.values, 0.025)
    assert smallest_difference({"x": model}, {"baseline": {"x": method_name}}) == {
        "x": pytest.approx(width / 2)
    }
    assert smallest_difference({"x": model}, {"baseline": {}}) == {}
