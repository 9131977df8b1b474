"""Confident learning: the joint worked by hand, a naive twin, and planted slips."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moola_pipeline.label_choice import trees as trees_of_labels
from moola_pipeline.label_choice.contradictions import (
    CLASSES,
    class_probabilities,
    contradicted_labels,
    out_of_fold,
    overlaps,
)
from moola_pipeline.label_choice.trees import SpanProbabilities, fit_trees
from moola_pipeline.labels.folds import session_folds
from moola_pipeline.windows.spans import Spans
from moola_pipeline.windows.window_geometry import UNTYPED
from moola_pipeline_tests.made_bars import made_market


def test_the_confident_joint_worked_by_hand():
    given_class = np.array([0, 0, 0, 1, 1])
    p = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8], [0.4, 0.6]])
    # means: class 0 (0.9 + 0.8 + 0.1) / 3 = 0.6, class 1 (0.8 + 0.6) / 2 = 0.7; the last row reaches neither
    ranking = contradicted_labels(given_class, p)
    assert ranking.suggested.tolist() == [0, 0, 1, 1, 1]
    assert ranking.order.tolist()[0] == 2
    assert ranking.margin == pytest.approx([0.8, 0.6, -0.8, 0.6, 0.2])
    # given 0: counts 2 and 1 of 3 rows; given 1: its one certain row stands for both
    assert ranking.joint == pytest.approx(np.array([[2.0, 1.0], [0.0, 2.0]]))
    assert ranking.n_contradicted == pytest.approx(1.0)
    assert ranking.order.tolist() == [2, 4, 1, 3, 0]


def naive_suggested(given_class, p):
    out = []
    for i in range(len(p)):
        best, suggestion = -1.0, given_class[i]
        for j in range(p.shape[1]):
            own = [p[k, j] for k in range(len(p)) if given_class[k] == j]
            if own and p[i, j] >= np.mean(own) and p[i, j] > best:
                best, suggestion = p[i, j], j
        out.append(suggestion)
    return out


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 30), st.integers(2, 4))
def test_suggestions_equal_a_naive_loop_and_the_joint_keeps_the_counts(seed, n, n_classes):
    rng = np.random.default_rng(seed)
    given_class = rng.integers(0, n_classes, n)
    p = rng.dirichlet(np.ones(n_classes), n)
    ranking = contradicted_labels(given_class, p)
    assert ranking.suggested.tolist() == naive_suggested(given_class, p)
    assert ranking.joint.sum(axis=1) == pytest.approx(np.bincount(given_class, minlength=n_classes))
    assert sorted(ranking.order.tolist()) == list(range(n))
    flagged = ranking.suggested != given_class
    assert flagged[ranking.order].tolist() == sorted(flagged.tolist(), reverse=True)


def test_the_order_of_rows_does_not_matter():
    rng = np.random.default_rng(1)
    given_class, p = rng.integers(0, 3, 40), rng.dirichlet(np.ones(3), 40)
    shuffled = rng.permutation(40)
    one, other = contradicted_labels(given_class, p), contradicted_labels(given_class[shuffled], p[shuffled])
    assert shuffled[other.order].tolist() == one.order.tolist()


def test_labels_without_any_row_or_of_another_length_are_handled():
    assert contradicted_labels(np.empty(0, int), np.empty((0, 3))).order.tolist() == []
    with pytest.raises(ValueError, match=r"probability must be \(n, K\) for n=2 labels, got \(3, 2\)"):
        contradicted_labels(np.zeros(2, int), np.zeros((3, 2)))


def test_class_probabilities_worked_by_hand():
    p = class_probabilities(SpanProbabilities(np.array([0.8]), np.array([0.25])))
    assert dict(zip(CLASSES, p[0].tolist(), strict=True)) == pytest.approx(
        {"consolidation": 0.6, "retracement": 0.2, "none": 0.2}
    )


def test_spans_overlap_in_their_own_window_only():
    def spans(*rows: tuple[int, int, int]) -> Spans:
        window, start, end = np.array(rows, np.int64).T
        return Spans.untyped(window, start, end, np.ones(len(rows), np.int8))

    found = overlaps(spans((0, 40, 44), (0, 45, 47), (1, 40, 44)), spans((0, 44, 46), (2, 40, 44)))
    assert found.tolist() == [True, True, False]


def test_sessions_are_never_split_between_folds():
    session = np.repeat(np.arange(7), 3)
    fold = session_folds(session, 3)
    assert (np.diff(fold) >= 0).all()
    assert all(len(set(fold[session == name].tolist())) == 1 for name in range(7))
    assert set(fold.tolist()) == {0, 1, 2}
    with pytest.raises(ValueError, match="folds must number 2 to 7"):
        session_folds(session, 8)


def test_marks_of_unknown_type_are_not_ranked_but_nothing_is_proposed_on_them():
    made = made_market(30)
    spans = made.windows.spans
    kind = spans.type.copy()
    kind[::9] = UNTYPED
    answers = out_of_fold(made.bars, made.windows._replace(spans=replace(spans, type=kind)), n_folds=3)
    assert answers.given[: answers.n_labels].tolist() == kind[kind != UNTYPED].tolist()
    assert len(answers.spans.window) == len(answers.given) == len(answers.probability)
    proposed = answers.spans.select(np.arange(answers.n_labels, len(answers.given)))
    assert not overlaps(proposed, spans).any()
    contradicted_labels(answers.given, answers.probability)


def test_swapped_types_of_a_clear_market_come_first_and_no_row_is_lost():
    made = made_market(30)
    kind = made.windows.spans.type.copy()
    swapped = np.random.default_rng(2).choice(len(kind), 6, replace=False)
    kind[swapped] = 1 - kind[swapped]
    spans = made.windows.spans
    windows = made.windows._replace(spans=Spans(spans.window, spans.start, spans.end, spans.direction, kind))
    answers = out_of_fold(made.bars, windows, n_folds=3)
    n = len(kind)
    assert answers.given[:n].tolist() == kind.tolist()
    assert (answers.given[n:] == CLASSES.index("none")).all()
    assert answers.probability.sum(axis=1) == pytest.approx(1)
    assert not overlaps(answers.spans.select(np.arange(n, len(answers.given))), spans).any()
    ranking = contradicted_labels(answers.given, answers.probability)
    first = [row for row in ranking.order.tolist() if row < n][:10]
    assert len(set(first) & set(swapped.tolist())) >= 4  # by chance: 6 * 10 / n, less than one


def test_no_span_beside_the_labels_of_an_incomplete_window_counts_as_nothing():
    made = made_market(30)
    windows = made.windows._replace(complete=np.arange(len(made.windows.bar0)) % 4 != 3)
    empty = set(np.flatnonzero(~windows.complete)) - set(windows.spans.window)
    assert empty  # windows without a label, of which nothing is known
    answers, plain = (out_of_fold(made.bars, it, n_folds=3) for it in (windows, made.windows))
    n = len(windows.spans.type)
    others = answers.spans.window[n:]
    assert windows.complete[others].all()
    assert not windows.complete[plain.spans.window[n:]].all()
    assert answers.given[:n].tolist() == windows.spans.type.tolist()


def test_trees_learn_finding_from_complete_windows_and_need_both_types_there(monkeypatch: pytest.MonkeyPatch):
    made, n_fitted, loose = made_market(30), [], trees_of_labels.fit_proposer
    monkeypatch.setattr(
        trees_of_labels,
        "fit_proposer",
        lambda measures, *rest: (n_fitted.append(len(measures.net_atr)), loose(measures, *rest))[1],
    )
    windows = made.windows._replace(complete=np.arange(len(made.windows.bar0)) % 4 != 3)
    trees, expected = (fit_trees(made.bars, it) for it in (windows, windows.complete_windows))
    assert set(n_fitted) == {windows.complete.sum()}
    inputs = np.random.default_rng(0).normal(size=(50, 102))
    assert trees.judge.probability(inputs).tolist() == expected.judge.probability(inputs).tolist()
    few = made.windows._replace(complete=np.arange(len(made.windows.bar0)) < 4)
    with pytest.raises(ValueError, match="labels must hold at least 4 expansions of each type"):
        fit_trees(made.bars, few)
