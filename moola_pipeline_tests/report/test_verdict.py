"""The three answers of a report, and whether the target is met."""

import pytest

from moola_pipeline.report.data import Check, PreviousRun, Score
from moola_pipeline.report.verdict import (
    TARGET_ESTIMATE,
    TARGET_LOW,
    number,
    standing,
    target_outcome,
    verdict,
)
from moola_pipeline_tests.report.reports import full_report, minimal_report, report_data, score, scores


def changed_since(**changes) -> PreviousRun:
    before = full_report().details.previous
    assert before is not None
    return before.model_copy(update=changes)


def change_answer(before: PreviousRun | None):
    details = full_report().details.model_copy(update={"previous": before})
    return verdict(report_data(details=details))[2]


def test_a_model_is_above_or_below_only_if_the_intervals_do_not_overlap():
    model = Score(estimate=0.7, low=0.6, high=0.8, n=10)
    assert standing(model, score(0.4, 0.1)) == "above"
    assert standing(model, score(0.65, 0.1)) == "level with"
    assert standing(model, score(0.95, 0.05)) == "below"


def test_a_paired_difference_takes_precedence_over_the_two_intervals():
    model, other = score(0.7, 0.1), score(0.65, 0.1)
    assert standing(model, other) == "level with"
    assert standing(model, other, Score(estimate=0.05, low=0.01, high=0.09, n=10)) == "above"
    assert standing(model, other, Score(estimate=-0.05, low=-0.09, high=-0.01, n=10)) == "below"


def test_standing_is_undefined_without_bounds():
    assert standing(Score(estimate=0.7, low=None, high=None, n=10), score(0.1)) is None


def test_the_verdict_answers_three_questions_from_the_numbers():
    better, trusted, changed = verdict(full_report())
    assert (
        better.short == "Better than every trivial baseline, but not clearly better than the best baseline."
    )
    assert better.sentence == (
        "Given the span of an expansion, the model names its type with F1 0.74 [0.67, 0.81] (147 "
        "expansions). Best baseline (logistic regression on 21 price summaries): 0.80, model minus baseline "
        "−0.06 [−0.14, 0.02]. Best trivial baseline (position in the window only): 0.47, model minus trivial "
        "baseline 0.27 [0.19, 0.35]. Best ablation (same network, not pretrained): 0.73, model minus "
        "ablation 0.01 [−0.07, 0.09]. With 147 expansions only a difference above 0.08 would show. "
        "Given the window only, it finds and types expansions with F1 0.46 [0.39, 0.53]; "
        "best baseline: 0.48; annotator's second pass: 0.66."
    )
    assert trusted.short == "Yes, but the market is simulated."
    assert trusted.sentence == (
        "2 of 2 integrity checks passed. Calibration error 0.05 lies within the range that a perfectly "
        "calibrated model would show at this sample size (up to 0.09). 3 model versions, including this one, "
        "were scored on the test rows."
    )
    assert changed.short == "Settings changed."
    assert changed.sentence == (
        "Since the report of 2025-06-20 08:00 UTC, type F1 went from 0.70 [0.63, 0.77] to 0.74 [0.67, 0.81]; "
        "the intervals overlap, so this may be chance."
    )


def test_a_better_baseline_is_named():
    better = verdict(report_data(baselines={"logistic_21_summaries": {"type_f1_macro": score(0.95)}}))[0]
    assert better.short.endswith("but worse than the best baseline.")
    assert "Best baseline (logistic regression on 21 price summaries): 0.95." in better.sentence


def test_a_model_above_all_baselines_is_better():
    better = verdict(report_data(baselines={"logistic_21_summaries": scores(0.5, 0.2, 0.4)}))[0]
    assert better.short == "Better than every trivial baseline, and better than every baseline."


def test_a_failed_integrity_check_makes_the_numbers_invalid():
    broken = {"no_leakage": Check(passed=False, kind="integrity", value=2, limit=0)}
    trusted = verdict(report_data(checks=broken))[1]
    assert trusted.short == "No."
    assert trusted.sentence.startswith("Failed: no_leakage. The numbers are not valid. 0 of 1 integrity")


def test_a_failed_calibration_check_is_reported():
    check = {"calibrated": Check(passed=False, kind="score", value=0.2, limit=0.09)}
    assert "Calibration error 0.20 exceeds the range" in verdict(report_data(checks=check))[1].sentence


def test_missing_parts_are_named():
    better, trusted, changed = verdict(minimal_report())
    assert better.sentence == "Type F1 was not measured."
    assert trusted.sentence == "No check was recorded."
    assert changed.sentence == "There is no earlier report on this market and profile."
    alone = verdict(report_data(trivial_baselines={}, baselines={}))[0].sentence
    assert "No baseline was scored. No trivial baseline was scored." in alone


def test_changed_bars_are_named_as_a_cause():
    answer = change_answer(changed_since(bars_changed=True))
    assert answer.short == "Bars and settings changed."
    assert answer.sentence.endswith("; the bars changed too, so the model alone does not explain this.")


def test_unchanged_numbers_are_reported_as_unchanged():
    same = changed_since(settings_changed=False, metrics=report_data().metrics)
    answer = change_answer(same)
    assert answer.short == "Bars, labels and settings are the same."
    assert "type F1 has not changed: 0.74 [0.67, 0.81]" in answer.sentence


@pytest.mark.parametrize(
    ("estimate", "low", "word"),
    [
        (TARGET_ESTIMATE, TARGET_LOW + 0.001, "MET"),
        (TARGET_ESTIMATE - 0.001, TARGET_LOW + 0.001, "NOT MET"),
        (TARGET_ESTIMATE, TARGET_LOW, "NOT MET"),
        (None, None, "NOT MEASURED"),
    ],
)
def test_the_target_needs_the_estimate_and_a_lower_bound_above_the_limit(
    estimate: float | None, low: float | None, word: str
):
    type_f1 = Score(estimate=estimate, low=low, high=0.9, n=50)
    assert target_outcome(report_data(metrics={"type_f1_macro": type_f1})).word == word


def test_an_unmet_target_inside_the_band_states_the_requirement():
    why = target_outcome(report_data()).why
    assert why == (
        "Type F1 is inside the band, but the target needs at least 0.75 with a lower bound above 0.65."
    )


def test_negative_numbers_have_a_minus_sign_and_zero_has_none():
    assert [number(value) for value in (-0.061, -0.001, 0.0, None)] == ["−0.06", "0.00", "0.00", "–"]
