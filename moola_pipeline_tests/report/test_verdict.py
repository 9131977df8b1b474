"""The three answers of a report, and whether the target is met."""

import pytest

from moola_pipeline.report.data import Check, PreviousRun, PrimaryComparison, Score, Target
from moola_pipeline.report.verdict import Answer, number, standing, target_outcome, verdict
from moola_pipeline_tests.report.reports import (
    CHOSEN,
    full_report,
    minimal_report,
    primary,
    report_data,
    score,
)

TARGET = Target()


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
    assert better.short == (
        "Better than every trivial baseline. Beside the best baseline, it types no better (n 147) and finds "
        "and types no better (n 147)."
    )
    assert better.sentence == (
        "Given the span of an expansion, the model names its type with F1 0.74 [0.67, 0.81] (147 "
        "expansions). Best baseline on time folds (logistic regression on 21 price summaries): 0.80, model "
        "minus baseline −0.06 [−0.14, 0.02]: no difference shown (p 0.31 after Holm; n 147 shows differences "
        "above 0.08). Best trivial baseline (position in the window only): 0.47, model minus trivial "
        "baseline 0.27 [0.19, 0.35]. Best ablation (same network, not pretrained): 0.73, model minus "
        "ablation 0.01 [−0.07, 0.09]. "
        "Given the window only, it finds and types expansions with F1 0.46 [0.39, 0.53]. Best baseline on "
        "time folds (rule + ExtraTrees on 21 price summaries): 0.48, model minus baseline −0.02 [−0.10, "
        "0.06]: no difference shown (p 0.64 after Holm; n 147 shows differences above 0.08). The annotator's "
        "second pass agrees with the first by 0.66."
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


def compared(*primaries: PrimaryComparison) -> Answer:
    return verdict(report_data(chosen_baselines=CHOSEN, primaries=list(primaries)))[0]


@pytest.mark.parametrize(
    ("difference", "p_value", "said"),
    [
        (0.1, 0.01, "types better (n 147)"),
        (-0.1, 0.01, "types worse (n 147)"),
        (0.1, 0.051, "types no better (n 147)"),
    ],
)
def test_a_model_is_better_only_if_the_adjusted_p_value_says_so(difference: float, p_value: float, said: str):
    answer = compared(primary("type_f1_macro", CHOSEN["type_f1_macro"], difference, p_value))
    assert answer.short.endswith(f"Beside the best baseline, it {said}.")


def test_the_baseline_shown_is_the_chosen_one_and_not_the_best_of_the_test():
    data = report_data(chosen_baselines={"type_f1_macro": "extra_trees_45_closes"})
    assert data.baseline_beside("type_f1_macro") == ("extra_trees_45_closes", score(0.71))
    assert data.baseline_beside("aucpr_retracement") == ("extra_trees_45_closes", score(0.70))
    assert data.baseline_beside("event_f1_macro") == ("rule_extra_trees_21_summaries", score(0.48))
    assert report_data().baseline_beside("type_f1_macro") == ("logistic_21_summaries", score(0.8))


def test_without_a_chosen_baseline_nothing_is_compared():
    assert (
        verdict(report_data())[0].short == "Better than every trivial baseline; not compared with baselines."
    )


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
        (TARGET.estimate, TARGET.low + 0.001, "MET"),
        (TARGET.estimate - 0.001, TARGET.low + 0.001, "NOT MET"),
        (TARGET.estimate, TARGET.low, "NOT MET"),
        (None, None, "NOT MEASURED"),
    ],
)
def test_the_target_needs_the_estimate_and_a_lower_bound_above_the_limit(
    estimate: float | None, low: float | None, word: str
):
    type_f1 = Score(estimate=estimate, low=low, high=0.9, n=50)
    assert target_outcome(report_data(metrics={"type_f1_macro": type_f1}, baselines={})).word == word


def test_a_target_that_a_baseline_meets_too_is_not_green():
    met = {"type_f1_macro": score(0.76)}
    outcome = target_outcome(report_data(metrics=met, baselines={"logistic_21_summaries": met}))
    assert (outcome.met, outcome.word) == (False, "MET, AND BY A BASELINE TOO")
    assert "that of logistic regression on 21 price summaries is too" in outcome.why
    trivial = {"majority": met, "position_only": met}
    outcome = target_outcome(report_data(metrics=met, baselines={}, trivial_baselines=trivial))
    assert outcome.met is False
    assert "that of position in the window only and 1 more is too" in outcome.why


def test_a_target_says_whether_it_is_the_default_one():
    assert target_outcome(report_data()).title == "Default target: type F1 0.75"
    chosen = report_data(target=Target(estimate=0.8, low=0.7))
    assert target_outcome(chosen).title == "Target: type F1 0.80"
    assert target_outcome(chosen).why == "It needs at least 0.80 with a lower bound above 0.70."


def test_negative_numbers_have_a_minus_sign_and_zero_has_none():
    assert [number(value) for value in (-0.061, -0.001, 0.0, None)] == ["−0.06", "0.00", "0.00", "–"]
