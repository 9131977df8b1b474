"""Expansions of unknown type count in finding; no score of the type reads them as a class."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moola_pipeline.metrics.alarms import alarm_counts
from moola_pipeline.metrics.breakdowns import LabeledStarts, ScoredPredictions, break_down, confusion
from moola_pipeline.metrics.matching import OUTCOMES, match_events
from moola_pipeline.metrics.overlap import near_unknown, ranked_hits, segment_counts
from moola_pipeline.metrics.prior_shift import score_shifted
from moola_pipeline.metrics.scores import (
    ResampledWindows,
    Scored,
    events_of,
    score_ends,
    score_events,
    score_probabilities,
    score_ranking,
    score_types,
)
from moola_pipeline.windows.window_geometry import UNTYPED
from moola_pipeline_tests.evaluation.made_answers import N_EXPANSIONS, made_events, made_ground, made_p

EVENT = ["window_id", "start", "end", "type"]
GROUND = made_ground(resamples=50)
P = made_p(GROUND, np.random.default_rng(1))
EVENTS = made_events(GROUND, np.random.default_rng(2))
SOME = np.arange(N_EXPANSIONS) % 4 == 1
TYPED_EVENT_SCORES = ("event_f1_macro", "segment_f1_micro", "segment_f1_macro")


def with_unknown(unknown: np.ndarray) -> ResampledWindows:
    """The made windows with the types of some expansions unknown."""
    spans = GROUND.windows.spans
    spans = replace(spans, type=np.where(unknown, UNTYPED, spans.type))
    return replace(GROUND, windows=GROUND.windows._replace(spans=spans))


def without(removed: np.ndarray) -> ResampledWindows:
    """The made windows without some of the expansions."""
    spans = GROUND.windows.spans.select(~removed)
    windows = GROUND.windows._replace(spans=spans)
    return ResampledWindows(windows, GROUND.event_weights[:, ~removed], GROUND.window_weights)


def events(*rows: tuple[int, int, int]) -> pd.DataFrame:
    """Expansions of one window as start, end, type."""
    return pd.DataFrame([("w", *row) for row in rows], columns=EVENT).astype({"type": int})


def outcome(truth: pd.DataFrame, predicted: pd.DataFrame, typed: bool = True) -> list[int]:
    """True positives, false positives and misses of all types."""
    return match_events(truth, predicted, typed)[OUTCOMES].to_numpy(np.int64).sum(axis=0).tolist()


def assert_same(scored: Scored, expected: Scored) -> None:
    assert scored.keys() == expected.keys()
    for name, score in scored.items():
        assert (score.n, score.estimate) == (expected[name].n, expected[name].estimate), name
        np.testing.assert_array_equal(score.values, expected[name].values, err_msg=name)


@pytest.mark.parametrize("kind", [0, 1])
def test_an_unknown_label_is_neither_found_nor_missed_and_what_it_matches_is_not_false(kind: int):
    unknown, found = events((50, 55, UNTYPED)), events((51, 56, kind))
    assert outcome(unknown, found) == [0, 0, 0]
    assert outcome(unknown, events()) == [0, 0, 0]
    assert outcome(unknown, events((62, 67, kind))) == [0, 1, 0]
    assert outcome(unknown, found, typed=False) == [1, 0, 0]
    assert outcome(unknown, events(), typed=False) == [0, 0, 1]


def test_an_unknown_label_excuses_one_prediction_of_any_type():
    both = events((50, 55, 0), (51, 56, 1))
    assert outcome(events((50, 55, UNTYPED)), both) == [0, 1, 0]


def test_a_label_of_known_type_comes_first_and_the_unknown_one_takes_what_is_left():
    labels = events((50, 55, 1), (54, 58, UNTYPED))
    assert outcome(labels, events((52, 57, 1))) == [1, 0, 0]
    assert outcome(labels, events((52, 57, 0))) == [0, 0, 1]
    assert outcome(labels, events((52, 57, 1), (49, 54, 1))) == [1, 0, 0]


def test_a_second_pass_that_is_not_sure_of_a_type_neither_agrees_nor_disagrees():
    known, unsure = events((50, 55, 1)), events((51, 56, UNTYPED))
    assert outcome(known, unsure) == outcome(unsure, known) == outcome(unsure, unsure) == [0, 0, 0]
    assert outcome(known, unsure, typed=False) == [1, 0, 0]
    assert outcome(known, events((65, 70, UNTYPED))) == [0, 0, 1]
    assert outcome(known, events((65, 70, UNTYPED)), typed=False) == [0, 1, 1]


some_events = st.lists(
    st.tuples(st.integers(27, 77), st.integers(2, 8), st.sampled_from([0, 1])).map(
        lambda it: (it[0], it[0] + it[1], it[2])
    ),
    max_size=4,
)


@settings(deadline=None)
@given(some_events, some_events, some_events)
def test_unknown_labels_only_take_away_false_positives(known, unknown, found):
    """Against the same labels without the unknown ones."""
    unsure = [(start, end, UNTYPED) for start, end, _ in unknown]
    alone = outcome(events(*known), events(*found))
    tp, fp, fn = outcome(events(*known, *unsure), events(*found))
    assert (tp, fn) == (alone[0], alone[2])
    assert alone[1] - len(unsure) <= fp <= alone[1]


@settings(deadline=None)
@given(some_events, st.data())
def test_the_typed_counts_do_not_depend_on_which_types_are_unknown_of_perfect_predictions(labels, data):
    """A prediction equal to each label is never false, whatever types are unknown."""
    labels = [it for i, it in enumerate(labels) if 30 <= it[0] <= 74 and it not in labels[:i]]
    unknown = data.draw(st.lists(st.booleans(), min_size=len(labels), max_size=len(labels)))
    truth = events(
        *((a, b, UNTYPED if is_unknown else k) for (a, b, k), is_unknown in zip(labels, unknown, strict=True))
    )
    assert outcome(truth, events(*labels)) == [len(labels) - sum(unknown), 0, 0]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.booleans(), min_size=N_EXPANSIONS, max_size=N_EXPANSIONS))
def test_no_subset_of_unknown_types_changes_the_untyped_event_f1(unknown: list[bool]):
    scored, expected = (score_events(it, EVENTS) for it in (with_unknown(np.array(unknown)), GROUND))
    assert_same(
        {"event_f1_untyped": scored["event_f1_untyped"]}, {"event_f1_untyped": expected["event_f1_untyped"]}
    )


def test_unknown_types_change_no_score_of_where_an_expansion_is():
    assert_same(score_ends(with_unknown(SOME), EVENTS), score_ends(GROUND, EVENTS))


def test_scores_of_the_type_equal_those_without_the_unknown_rows():
    unknown, fewer, p = with_unknown(SOME), without(SOME), P[~SOME]
    assert_same(score_types(unknown, P), score_types(fewer, p))
    assert_same(score_probabilities(unknown, P), score_probabilities(fewer, p))
    shifted, expected = score_shifted(unknown, [P], [0.35], 0.23), score_shifted(fewer, [p], [0.35], 0.23)
    for name, scored in shifted.items():
        assert_same(scored, expected[name])
    assert score_types(unknown, P)["type_f1_macro"].n == N_EXPANSIONS - SOME.sum()


@pytest.mark.parametrize("kind", [0.0, 1.0])
def test_predictions_for_unknown_rows_change_no_score_of_the_type(kind: float):
    """Guard: a reader of the class number as retracement or as consolidation would see them."""
    unknown, other = with_unknown(SOME), np.where(SOME, kind, P)
    assert_same(score_types(unknown, other), score_types(unknown, P))
    assert_same(score_probabilities(unknown, other), score_probabilities(unknown, P))
    y = unknown.windows.spans.type
    assert confusion(y, other) == confusion(y, P) == confusion(y[~SOME], P[~SOME])


def test_the_guard_sees_a_class_read_from_the_class_number():
    """Planted fault: unknown rows as consolidations, then as retracements."""
    for kind in (0, 1):
        spans = with_unknown(SOME).windows.spans
        read = replace(
            GROUND,
            windows=GROUND.windows._replace(spans=replace(spans, type=np.where(SOME, kind, spans.type))),
        )
        assert score_types(read, P)["mcc"].estimate != score_types(with_unknown(SOME), P)["mcc"].estimate


def test_unknown_labels_and_the_predictions_at_them_can_be_left_out_of_the_scores_by_type():
    """One prediction at each label: without the unknown ones and theirs, the scores by type are the same."""
    found = events_of(GROUND.windows).assign(score=np.random.default_rng(3).random(N_EXPANSIONS))
    found["type"] = np.where(np.arange(N_EXPANSIONS) % 3 == 0, 1 - found["type"], found["type"])
    unknown, fewer = with_unknown(SOME), without(SOME)
    left = found.loc[~SOME].reset_index(drop=True)
    scored, expected = score_events(unknown, found), score_events(fewer, left)
    assert_same(
        {name: scored[name] for name in TYPED_EVENT_SCORES},
        {name: expected[name] for name in TYPED_EVENT_SCORES},
    )
    ranked, expected = score_ranking(unknown, found), score_ranking(fewer, left)
    for name, score in ranked.items():
        np.testing.assert_allclose(score.values, expected[name].values, rtol=1e-12, err_msg=name)


def test_a_ranked_proposal_at_an_unknown_label_is_neither_right_nor_wrong():
    labels = events((50, 59, UNTYPED), (30, 35, 1))
    found = events((50, 59, 0), (50, 58, 1), (30, 35, 1), (70, 75, 0)).assign(score=[0.9, 0.8, 0.7, 0.6])
    hit = ranked_hits(labels, found, 0.5)
    assert hit.tolist() == [False, False, True, False]
    assert near_unknown(labels, found, hit, 0.5).tolist() == [True, False, False, False]


def test_bars_of_an_unknown_label_are_neither_false_nor_missed():
    ids = pd.Series(["w"])
    unknown, known = events((50, 59, UNTYPED)), events((50, 59, 1))
    assert segment_counts(unknown, events((55, 64, 1)), ids, (0, 1)).tolist() == [[[0, 0, 0], [0, 5, 0]]]
    assert segment_counts(unknown, events(), ids, (0, 1)).tolist() == [[[0, 0, 0], [0, 0, 0]]]
    assert segment_counts(known, events((55, 64, UNTYPED)), ids, (0, 1)).tolist() == [[[0, 0, 0], [0, 0, 5]]]


def test_an_alarm_at_an_unknown_label_is_neither_right_nor_false():
    labels = events((50, 55, UNTYPED)).assign(direction=1)
    alarms = pd.DataFrame({"window_id": ["w"], "start": [51], "type": [1], "direction": [1], "closed": [52]})
    assert alarm_counts(labels, alarms, 3)[OUTCOMES].to_numpy().tolist() == [[0, 0, 0]]
    assert alarm_counts(labels, alarms, 3, typed=False)[OUTCOMES].to_numpy().tolist() == [[1, 0, 0]]
    assert alarm_counts(labels, alarms, 0)[OUTCOMES].to_numpy().tolist() == [[0, 1, 0]]


def test_breakdowns_score_types_without_the_unknown_rows():
    times = pd.date_range("2025-04-01", periods=60_000, freq="min", tz="UTC")
    unknown, fewer = with_unknown(SOME), without(SOME)

    def by_way(resampled: ResampledWindows, p: np.ndarray) -> dict[str, dict[str, Scored]]:
        spans = resampled.windows.spans
        starts = LabeledStarts(resampled.windows.bar0[spans.window] + spans.start, spans.direction)
        return break_down(resampled, starts, [ScoredPredictions(p, EVENTS)], times)

    scored, expected = by_way(unknown, P), by_way(fewer, P[~SOME])
    for way, name in (("type", "type_f1"), ("hour", "type_f1_macro"), ("direction", "type_f1_macro")):
        for group in expected[way]:
            both = (
                {key: it for key, it in of[way][group].items() if key == name} for of in (scored, expected)
            )
            assert_same(*both)
    untyped = (of["direction"]["up"]["event_f1_untyped"].estimate for of in (scored, by_way(GROUND, P)))
    assert len(set(untyped)) == 1
