"""The three sentences of a report, and whether the user's target was met."""

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


def answer_about_change(before: PreviousRun | None):
    details = full_report().details.model_copy(update={"previous": before})
    return verdict(report_data(details=details))[2]


def test_intervals_decide_where_a_model_stands():
    model = Score(estimate=0.7, low=0.6, high=0.8, n=10)
    assert standing(model, score(0.4, 0.1)) == "above"
    assert standing(model, score(0.65, 0.1)) == "level with"
    assert standing(model, score(0.95, 0.05)) == "below"


def test_a_paired_difference_decides_before_the_two_intervals():
    model, other = score(0.7, 0.1), score(0.65, 0.1)
    assert standing(model, other) == "level with"
    assert standing(model, other, Score(estimate=0.05, low=0.01, high=0.09, n=10)) == "above"
    assert standing(model, other, Score(estimate=-0.05, low=-0.09, high=-0.01, n=10)) == "below"


def test_nothing_is_claimed_without_bounds():
    assert standing(Score(estimate=0.7, low=None, high=None, n=10), score(0.1)) is None


def test_three_questions_are_answered_from_the_numbers():
    better, trusted, changed = verdict(full_report())
    assert better.short == (
        "Better than every trivial baseline, but not shown to be better than the best baseline."
    )
    assert better.sentence == (
        "Given the span of an expansion, the model names its type (consolidation or retracement before it) "
        "with F1 0.74 [0.67, 0.81] (147 expansions): 0.27 above the best trivial baseline (difference 0.19 to "
        "0.35), 0.06 below the best baseline, logistic regression on 21 price summaries (difference −0.14 to "
        "0.02), 0.01 above the best ablation, same network, not pretrained (difference −0.07 to 0.09); given "
        "the window only, it finds and types expansions with F1 0.46 (0.39 to 0.53; best baseline 0.48; "
        "annotator's second pass 0.66)."
    )
    assert trusted.short == "As measurements, yes; but of a made-up market."
    assert trusted.sentence == (
        "2 of 2 integrity checks passed; probabilities mean what they say (error 0.05, chance alone up to "
        "0.09); 3 model versions looked at the test rows, this one included; differences in type F1 below "
        "0.08 cannot be told from chance."
    )
    assert changed.short == "Settings changed."
    assert changed.sentence == (
        "Since the report of 2025-06-20 08:00 UTC, type F1 went from 0.70 [0.63, 0.77] to 0.74 [0.67, 0.81]; "
        "the intervals overlap, so this may be chance."
    )


def test_a_better_peer_is_named_as_such():
    better = verdict(report_data(baselines={"logistic_21_summaries": {"type_f1_macro": score(0.95)}}))[0]
    assert better.short.endswith("but worse than the best baseline.")
    assert "the best baseline, logistic regression on 21 price summaries scores 0.95" in better.sentence


def test_a_model_that_no_baseline_nears_and_no_peer_equals_is_said_to_be_better():
    better = verdict(report_data(baselines={"logistic_21_summaries": scores(0.5, 0.2, 0.4)}))[0]
    assert better.short == "Better than every trivial baseline, and better than every baseline."


def test_a_failed_integrity_check_takes_all_trust():
    broken = {"no_leakage": Check(passed=False, kind="integrity", value=2, limit=0)}
    trusted = verdict(report_data(checks=broken))[1]
    assert trusted.short == "No."
    assert trusted.sentence.startswith("no_leakage failed, so the numbers prove nothing: 0 of 1 integrity")


def test_probabilities_that_failed_their_check_are_said_to_mislead():
    check = {"calibrated": Check(passed=False, kind="score", value=0.2, limit=0.09)}
    assert (
        "probabilities do not mean what they say (error 0.20"
        in verdict(report_data(checks=check))[1].sentence
    )


def test_what_is_missing_is_named():
    better, trusted, changed = verdict(minimal_report())
    assert better.sentence == "Type F1 was not measured."
    assert trusted.sentence == "No check was recorded, so nothing vouches for these numbers."
    assert changed.sentence == "There is no earlier report on this market and profile."
    alone = verdict(report_data(trivial_baselines={}, baselines={}))[0].sentence
    assert "no trivial baseline was scored, no baseline was scored" in alone


def test_other_bars_make_two_runs_incomparable():
    answer = answer_about_change(changed_since(bars_changed=True))
    assert answer.short == "Bars and settings changed."
    assert answer.sentence.endswith("; other bars, so the model alone did not do it.")


def test_equal_numbers_are_called_equal():
    same = changed_since(settings_changed=False, metrics=report_data().metrics)
    answer = answer_about_change(same)
    assert answer.short == "Bars, labels and settings are the same."
    assert "type F1 is the same 0.74 [0.67, 0.81]" in answer.sentence


@pytest.mark.parametrize(
    ("estimate", "low", "word"),
    [
        (TARGET_ESTIMATE, TARGET_LOW + 0.001, "MET"),
        (TARGET_ESTIMATE - 0.001, TARGET_LOW + 0.001, "NOT MET"),
        (TARGET_ESTIMATE, TARGET_LOW, "NOT MET"),
        (None, None, "NOT MEASURED"),
    ],
)
def test_the_target_is_met_at_the_estimate_and_above_the_low_bound(
    estimate: float | None, low: float | None, word: str
):
    found = Score(estimate=estimate, low=low, high=0.9, n=50)
    assert target_outcome(report_data(metrics={"type_f1_macro": found})).word == word


def test_an_estimate_inside_the_band_is_told_what_it_lacks():
    why = target_outcome(report_data()).why
    assert why == "It lies in the band, but met means at least 0.75, with an interval that stays above 0.65."


def test_minus_signs_are_minus_signs_and_zero_has_none():
    assert [number(value) for value in (-0.061, -0.001, 0.0, None)] == ["−0.06", "0.00", "0.00", "–"]
