import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moola_pipeline.metrics.matching import ANY_TYPE, candidates, event_counts, match_events, may_match

EVENT = ["window_id", "start", "end", "type"]
Span = tuple[int, int]


def events(*rows: tuple[str, int, int, int]) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=EVENT).astype({"start": int, "end": int, "type": int})


def spans(*pairs: Span, kind: int = 0) -> pd.DataFrame:
    return events(*(("w", onset, offset, kind) for onset, offset in pairs))


def outcome(truth: pd.DataFrame, predicted: pd.DataFrame, typed: bool = True) -> tuple[int, int, int]:
    counts = match_events(truth, predicted, typed).loc[:, ["tp", "fp", "fn"]].to_numpy(np.int64)
    tp, fp, fn = counts.sum(axis=0).tolist()
    return tp, fp, fn


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ((50, 55), (1, 0, 0)),
        ((53, 58), (1, 0, 0)),
        ((47, 52), (1, 0, 0)),
        ((54, 58), (0, 1, 1)),
        ((46, 55), (0, 1, 1)),
        ((50, 59), (0, 1, 1)),
        ((50, 58), (1, 0, 0)),
    ],
)
def test_a_six_bar_expansion_matches_within_three_bars_at_both_ends(found, expected):
    assert outcome(spans((50, 55)), spans(found)) == expected


@pytest.mark.parametrize(("end", "tp"), [(59 + 5, 1), (59 - 5, 1), (59 + 6, 0), (59 - 6, 0)])
def test_a_ten_bar_expansion_may_end_half_its_length_off(end, tp):
    assert outcome(spans((50, 59)), spans((50, end)))[0] == tp


@pytest.mark.parametrize(("end", "tp"), [(56 + 3, 1), (56 + 4, 0)])
def test_half_of_an_odd_length_is_not_rounded_up(end, tp):
    assert outcome(spans((50, 56)), spans((50, end)))[0] == tp


@pytest.mark.parametrize(("onset", "fp"), [(29, 0), (30, 1), (74, 1), (75, 0), (0, 0), (104, 0)])
def test_a_prediction_without_a_label_is_false_only_where_labels_are_complete(onset, fp):
    assert outcome(spans(), spans((onset, min(onset + 4, 104)))) == (0, fp, 0)


@pytest.mark.parametrize(("truth", "found"), [(30, 27), (74, 77)])
def test_a_prediction_outside_the_core_may_match_a_label_inside(truth, found):
    assert outcome(spans((truth, truth + 5)), spans((found, found + 5))) == (1, 0, 0)


def test_labels_outside_the_core_are_left_out():
    assert outcome(spans((29, 34), (75, 80)), spans((29, 34))) == (0, 0, 0)


def test_two_predictions_of_one_expansion_are_one_hit_and_one_false_alarm():
    assert outcome(spans((50, 55)), spans((50, 55), (51, 55))) == (1, 1, 0)


def test_as_many_pairs_as_possible_are_made():
    # the nearest label to 52 is 53, but taking it would leave 50 without a prediction
    assert outcome(spans((50, 53), (53, 56)), spans((52, 55), (56, 58))) == (2, 0, 0)


def test_a_prediction_in_the_core_is_matched_before_one_outside():
    assert outcome(spans((30, 35)), spans((28, 35), (32, 35))) == (1, 0, 0)


def test_the_type_must_agree_unless_it_is_ignored():
    truth, found = spans((50, 55), kind=0), spans((50, 55), kind=1)
    typed = match_events(truth, found)
    assert typed.to_numpy().tolist() == [["w", 0, 0, 0, 1], ["w", 1, 0, 1, 0]]
    assert match_events(truth, found, typed=False).to_numpy().tolist() == [["w", ANY_TYPE, 1, 0, 0]]


def test_events_of_different_windows_never_match():
    assert outcome(events(("a", 50, 55, 0)), events(("b", 50, 55, 0))) == (0, 1, 1)


def test_no_labels_and_no_predictions_give_an_empty_table():
    matches = match_events(spans(), spans())
    assert matches.columns.tolist() == ["window_id", "type", "tp", "fp", "fn"]
    assert len(matches) == 0


some_spans = st.lists(
    st.tuples(st.integers(24, 80), st.integers(0, 12)).map(lambda s: (s[0], min(s[0] + s[1], 104))),
    max_size=4,
)


def best_by_trying_all(truth: list[Span], found: list[Span]) -> tuple[int, int, int]:
    """Brute force over one-to-one assignments: most pairs, then fewest false positives."""
    labeled = [span for span in truth if 30 <= span[0] <= 74]
    best = (-1, 0)
    for n in range(min(len(labeled), len(found)) + 1):
        for chosen in itertools.combinations(range(len(labeled)), n):
            for partners in itertools.permutations(range(len(found)), n):
                near = all(
                    abs(labeled[i][0] - found[j][0]) <= 3
                    and abs(labeled[i][1] - found[j][1]) <= max(3, (labeled[i][1] - labeled[i][0] + 1) / 2)
                    for i, j in zip(chosen, partners, strict=True)
                )
                if near:
                    false = sum(30 <= f[0] <= 74 for j, f in enumerate(found) if j not in partners)
                    best = max(best, (n, -false))
    tp, minus_fp = best
    return tp, -minus_fp, len(labeled) - tp


@given(some_spans, some_spans)
def test_matching_equals_brute_force(truth, found):
    assert outcome(spans(*truth), spans(*found)) == best_by_trying_all(truth, found)


@given(some_spans, some_spans)
def test_every_label_is_found_or_missed_and_ignoring_types_never_loses_a_match(truth, found):
    kinds = [place % 2 for place in range(len(found))]
    predicted = spans(*found).assign(type=kinds)
    tp, _, fn = outcome(spans(*truth), predicted)
    assert tp + fn == sum(30 <= start <= 74 for start, _ in truth)
    assert outcome(spans(*truth), predicted, typed=False)[0] >= tp


def test_counts_keep_the_order_of_windows_and_types_and_fill_empty_ones():
    truth = events(("b", 50, 55, 1), ("a", 40, 45, 0))
    found = events(("b", 50, 55, 1), ("b", 70, 75, 0))
    counts = event_counts(match_events(truth, found), pd.Series(["c", "b", "a"]), types=(0, 1))
    assert counts.tolist() == [[[0, 0, 0], [0, 0, 0]], [[0, 1, 0], [1, 0, 0]], [[0, 0, 1], [0, 0, 0]]]
    untyped = event_counts(match_events(truth, found, typed=False), pd.Series(["a", "b"]), types=(ANY_TYPE,))
    assert untyped.tolist() == [[[0, 0, 1]], [[1, 1, 0]]]


def test_counts_refuse_missing_and_duplicate_windows():
    matches = match_events(spans((50, 55)), spans())
    with pytest.raises(
        ValueError, match="must name each scored window once, got 1 missing windows and 0 duplicates"
    ):
        event_counts(matches, pd.Series(["other"]), types=(0, 1))
    with pytest.raises(ValueError, match="got 0 missing windows and 1 duplicates"):
        event_counts(matches, pd.Series(["w", "w"]), types=(0, 1))


def test_collars_of_all_pairs_at_once():
    near = may_match(np.array([[50, 55], [60, 69]]), np.array([[53, 58], [60, 74], [60, 75]]))
    assert near.tolist() == [[True, False, False], [False, True, False]]


def test_candidates_are_groups_of_one_window_and_of_one_type_if_typed():
    truth = events(("a", 40, 45, 0), ("a", 60, 65, 1), ("b", 40, 45, 1))
    found = events(("a", 41, 45, 1), ("b", 41, 45, 1), ("b", 60, 62, 0), ("c", 40, 45, 0))
    typed = {tuple(map(tuple, pair)) for pair in candidates(truth, found, typed=True)}
    assert typed == {((1,), (0,)), ((2,), (1,))}
    untyped = {tuple(map(tuple, pair)) for pair in candidates(truth, found, typed=False)}
    assert untyped == {((0, 1), (0,)), ((2,), (1, 2))}
