"""The four answers of a report, and whether the target is met."""

import pytest

from moola_pipeline.report.data import Check, PreviousRun, Score, Target
from moola_pipeline.report.standings import headline
from moola_pipeline.report.verdict import calibration_note, check_texts, number, target_outcome, verdict
from moola_pipeline_tests.report.reports import (
    full_report,
    minimal_report,
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
    return verdict(report_data(details=details))[3]


def test_the_verdict_answers_four_questions_from_the_numbers():
    better, sure, trusted, changed = verdict(full_report())
    assert better.short == headline(full_report())
    assert better.sentence == (
        "Given the span of an expansion, Moola names its type with F1 0.74 [0.67, 0.81] (147 "
        "expansions). Best baseline (logistic regression on 21 price summaries): 0.80, Moola minus "
        "baseline −0.06 [−0.14, 0.02]: no difference shown (p 0.31). Best trivial baseline (position in "
        "the window only): 0.47, Moola minus trivial baseline 0.27 [0.19, 0.35]. Best ablation (same "
        "network, not pretrained): 0.73, Moola minus ablation 0.01 [−0.07, 0.09]. Given the window only, "
        "it finds and types expansions with F1 0.46 [0.39, 0.53] (147 windows). Best baseline (rule + "
        "ExtraTrees on 21 price summaries): 0.48, Moola minus baseline −0.02 [−0.10, 0.06]: no difference "
        "shown (p 0.64). Best trivial baseline (position in the window only): 0.09, Moola minus trivial "
        "baseline 0.37 [0.29, 0.45]. The annotator's second pass agrees with the first by 0.66 [0.59, "
        "0.73]: a reference, not an upper bound."
    )
    assert sure.short == (
        "A difference above 0.08 in type F1 (147 expansions) or 0.08 in event F1 (147 windows) counts as "
        "shown; a smaller one may not."
    )
    assert sure.sentence == (
        "Two primary comparisons, each baseline chosen on time folds before the test, not by its test "
        "score. P-values after Holm: type F1 0.31, event F1 0.64."
    )
    assert trusted.short == "Yes, but the market is simulated."
    assert trusted.sentence == (
        "2 of 2 integrity checks passed. 3 model versions, including this one, were scored on the test rows."
    )
    assert changed.short == "Settings changed."
    assert changed.sentence == (
        "Since the report of 2025-06-20 08:00 UTC, type F1 went from 0.70 [0.63, 0.77] to 0.74 [0.67, 0.81]; "
        "the intervals overlap, so this may be chance."
    )


def test_a_baseline_of_a_provisional_report_was_not_chosen_on_time_folds():
    provisional = full_report().model_copy(update={"n_folds": 5})
    assert "each baseline chosen by its score on the same windows" in verdict(provisional)[1].sentence


def test_the_baseline_shown_is_the_chosen_one_and_not_the_best_of_the_test():
    data = report_data(chosen_baselines={"type_f1_macro": "extra_trees_45_closes"})
    assert data.baseline_beside("type_f1_macro") == ("extra_trees_45_closes", score(0.71))
    assert data.baseline_beside("aucpr_retracement") == ("extra_trees_45_closes", score(0.70))
    assert data.baseline_beside("event_f1_macro") == ("rule_extra_trees_21_summaries", score(0.48))
    assert report_data().baseline_beside("type_f1_macro") == ("logistic_21_summaries", score(0.8))


def test_a_failed_integrity_check_makes_the_numbers_invalid():
    broken = {"no_leakage": Check(passed=False, kind="integrity", value=2, limit=0)}
    trusted = verdict(report_data(checks=broken))[2]
    assert trusted.short == "No."
    assert trusted.sentence.startswith("Failed: no_leakage. The numbers are not valid. 0 of 1 integrity")


def test_a_failed_calibration_check_is_reported():
    check = {"calibrated": Check(passed=False, kind="score", value=0.2, limit=0.09)}
    assert "Calibration error 0.20 exceeds the range" in calibration_note(report_data(checks=check))
    assert calibration_note(full_report()).startswith("Calibration error 0.05 lies within the range")
    assert calibration_note(minimal_report()) == ""


def test_the_check_of_the_target_shows_the_lower_bound_that_it_needs():
    value, limit = check_texts(full_report(), "target_f1")
    assert (value, limit) == ("0.74, lower bound 0.67", "0.75 and lower bound above 0.65")
    assert check_texts(full_report(), "calibrated") == ("0.05", "0.09")


def test_missing_parts_are_named():
    better, sure, trusted, changed = verdict(minimal_report())
    assert (sure.short, sure.sentence) == ("Unknown.", "No difference from a baseline was measured.")
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


def test_scores_without_an_interval_are_not_called_apart():
    unbounded = Score(estimate=0.5, low=None, high=None, n=147)
    then = {**report_data().metrics, "type_f1_macro": unbounded}
    before = changed_since(settings_changed=False, bars_changed=False, labels_changed=False, metrics=then)
    assert "do not overlap" not in change_answer(before).sentence


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
    assert ", and so is that of logistic regression on 21 price summaries: reaching" in outcome.why
    trivial = {"majority": met, "position_only": met}
    outcome = target_outcome(report_data(metrics=met, baselines={}, trivial_baselines=trivial))
    assert outcome.met is False
    assert ", and so is that of position in the window only and of 1 more: reaching" in outcome.why


def test_a_target_says_whether_it_is_the_default_one():
    assert target_outcome(report_data()).title == "Default target: type F1 0.75"
    chosen = report_data(target=Target(estimate=0.8, low=0.7))
    assert target_outcome(chosen).title == "Target: type F1 0.80"
    assert target_outcome(chosen).why == "It needs at least 0.80 with a lower bound above 0.70."


def test_negative_numbers_have_a_minus_sign_and_zero_has_none():
    assert [number(value) for value in (-0.061, -0.001, 0.0, None)] == ["−0.06", "0.00", "0.00", "–"]
