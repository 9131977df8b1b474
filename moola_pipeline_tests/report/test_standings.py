"""How the model stands to the best baselines, and the headline that follows from it."""

import pytest

from moola_pipeline.report.data import PrimaryComparison, Score
from moola_pipeline.report.standings import beside_baseline, headline, standing
from moola_pipeline.report.tables import front_table
from moola_pipeline_tests.report.reports import (
    CHOSEN,
    full_report,
    minimal_report,
    primary,
    report_data,
    score,
    scores,
)

TYPE, EVENT = "type_f1_macro", "event_f1_macro"


def both(type_difference: float, type_p: float, event_difference: float, event_p: float):
    """The full report with these primary comparisons."""
    primaries = [
        primary(TYPE, CHOSEN[TYPE], type_difference, type_p),
        primary(EVENT, CHOSEN[EVENT], event_difference, event_p),
    ]
    return full_report().model_copy(update={"primaries": primaries})


@pytest.mark.parametrize(
    ("comparisons", "said"),
    [
        ((-0.06, 0.31, -0.02, 0.64), "Moola is not shown to be better than the best baseline."),
        ((0.12, 0.01, 0.1, 0.02), "Moola is better than the best baseline."),
        ((-0.12, 0.01, -0.1, 0.02), "Moola is worse than the best baseline."),
        (
            (0.12, 0.01, 0.02, 0.5),
            "Moola is better than the best baseline at naming the type, but is not shown to be better at "
            "finding expansions.",
        ),
        (
            (0.12, 0.051, -0.1, 0.05),
            "Moola is not shown to be better than the best baseline at naming the type, but is worse at "
            "finding expansions.",
        ),
    ],
)
def test_the_headline_follows_the_adjusted_p_values(
    comparisons: tuple[float, float, float, float], said: str
):
    assert headline(both(*comparisons)) == f"{said} It is better than the best trivial baseline."


@pytest.mark.parametrize("difference", [-0.1, 0.1])
@pytest.mark.parametrize("p_value", [0.01, 0.2])
def test_the_headline_and_the_table_use_the_same_standing(difference: float, p_value: float):
    data = both(difference, p_value, difference, p_value)
    rows = dict(front_table(data).rows)
    words = {cell.note.partition(",")[0] for cell in rows["Moola minus baseline"]}
    expected = "no difference shown" if p_value > 0.05 else "better" if difference > 0 else "worse"
    assert words == {expected}
    in_headline = {"no difference shown": "not shown to be better than", "better": "is better than"}
    assert in_headline.get(expected, "is worse than") in headline(data).partition("baseline.")[0]


def test_a_model_level_with_a_trivial_baseline_is_not_called_better():
    data = report_data(trivial_baselines={"majority": scores(0.7, 0.45, 0.7)})
    assert headline(data).endswith("It is not shown to be better than the best trivial baseline.")


def test_missing_comparisons_are_named():
    assert headline(minimal_report()).startswith("Not measured")
    alone = report_data(trivial_baselines={}, baselines={})
    assert (
        headline(alone)
        == "Moola is not compared with a baseline. It is not compared with a trivial baseline."
    )
    only_type = report_data(metrics={TYPE: score(0.74)})
    assert headline(only_type) == (
        "Moola is not shown to be better than the best baseline at naming the type. "
        "It is better than the best trivial baseline at naming the type."
    )


def test_a_baseline_that_was_not_chosen_before_the_test_is_exploratory():
    beside = beside_baseline(report_data(), TYPE)
    assert beside is not None
    assert (beside.key, beside.primary, beside.p_value) == ("logistic_21_summaries", False, None)
    differences = {"logistic_21_summaries": {TYPE: score(-0.06, 0.04)}}
    notes = dict(front_table(report_data(differences=differences)).rows)["Moola minus baseline"]
    assert notes[0].note == "worse, exploratory"


def test_the_smallest_difference_of_an_exploratory_baseline_is_half_the_interval_beside_it():
    differences = {"logistic_21_summaries": {TYPE: score(-0.06, 0.04)}}
    beside = beside_baseline(report_data(differences=differences), TYPE)
    assert beside is not None and beside.smallest_difference == pytest.approx(0.04)


def test_a_smallest_difference_of_zero_is_unknown():
    equal = Score(estimate=0.0, low=0.0, high=0.0, n=5)
    comparison = PrimaryComparison(
        metric=TYPE, baseline=CHOSEN[TYPE], difference=equal, p_value=1.0, smallest_difference=0.0
    )
    data = report_data(chosen_baselines=CHOSEN, primaries=[comparison])
    assert dict(front_table(data).rows)["smallest difference"][0].text == "–"


def test_a_model_is_better_or_worse_only_if_the_intervals_do_not_overlap():
    model = Score(estimate=0.7, low=0.6, high=0.8, n=10)
    assert standing(model, score(0.4, 0.1)) == "better"
    assert standing(model, score(0.65, 0.1)) == "level"
    assert standing(model, score(0.95, 0.05)) == "worse"


def test_a_paired_difference_takes_precedence_over_the_two_intervals():
    model, other = score(0.7, 0.1), score(0.65, 0.1)
    assert standing(model, other) == "level"
    assert standing(model, other, Score(estimate=0.05, low=0.01, high=0.09, n=10)) == "better"
    assert standing(model, other, Score(estimate=-0.05, low=-0.09, high=-0.01, n=10)) == "worse"


def test_standing_is_undefined_without_bounds():
    assert standing(Score(estimate=0.7, low=None, high=None, n=10), score(0.1)) is None
