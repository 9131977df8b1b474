"""Matching of proposals with labels, and the fit of the span proposer."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from moola_pipeline.models.span_proposer import ORDERINGS, RankedSpans, SpanProposer, propose
from moola_pipeline.training.proposer_fit import f_beta, fit_proposer, improve_proposer, matches
from moola_pipeline.windows.spans import SpanMeasures, Spans
from moola_pipeline_tests.training.conftest import SplitRows

Span = tuple[int, int, int]
QUICK = settings(deadline=None, derandomize=True, max_examples=150)


def labels_of(*spans: Span) -> Spans:
    window, start, end = (np.array(column, np.int64) for column in zip(*sorted(spans), strict=True))
    return Spans(window, start, end, np.ones(len(window), np.int8), np.zeros(len(window), np.int64))


def proposals_of(*spans: Span) -> Spans:
    window, start, end = (np.array(column, np.int64) for column in zip(*sorted(spans), strict=True))
    return Spans.untyped(window, start, end, np.ones(len(window), np.int8))


def agrees(proposal: Span, label: Span) -> bool:
    length = label[2] - label[1] + 1
    return (
        proposal[0] == label[0]
        and abs(proposal[1] - label[1]) <= 3
        and abs(proposal[2] - label[2]) <= max(3, length / 2)
    )


spans = st.tuples(st.integers(0, 1), st.integers(30, 60), st.integers(1, 12)).map(
    lambda drawn: (drawn[0], drawn[1], drawn[1] + drawn[2])
)
some_spans = st.lists(spans, min_size=1, max_size=6, unique_by=lambda span: span[:2])


def test_matches_worked_by_hand():
    labels = labels_of((0, 40, 44), (0, 70, 79), (1, 50, 52))
    proposals = proposals_of(
        (0, 37, 41),  # onset and end off by 3 bars: the limit
        (0, 41, 44),  # nearer, so it gets the label
        (0, 70, 84),  # half the labeled length of 10 is 5
        (1, 50, 56),  # ends 4 bars late; more than 3 and than half of 3
        (2, 50, 52),
    )

    assert matches(proposals, labels).tolist() == [-1, 0, 1, -1, -1]


@pytest.mark.parametrize(
    ("start", "end", "found"),
    [(43, 44, 0), (44, 44, -1), (37, 41, 0), (36, 41, -1), (40, 47, 0), (40, 48, -1)],
)
def test_the_collar_ends_at_3_bars(start: int, end: int, found: int):
    assert matches(proposals_of((0, start, end)), labels_of((0, 40, 44))).tolist() == [found]


@QUICK
@given(some_spans, some_spans)
def test_each_match_is_within_the_collar_and_each_label_is_matched_once(
    proposed: list[Span], labeled: list[Span]
):
    proposals, labels = sorted(proposed), sorted(labeled)
    found = matches(proposals_of(*proposals), labels_of(*labels))

    hits = found[found >= 0].tolist()
    assert len(hits) == len(set(hits))
    assert all(agrees(proposals[i], labels[j]) for i, j in enumerate(found.tolist()) if j >= 0)


@QUICK
@given(some_spans, some_spans)
def test_matches_against_an_optimal_assignment(proposed: list[Span], labeled: list[Span]):
    proposals, labels = sorted(proposed), sorted(labeled)
    agreement = np.array([[agrees(p, t) for t in labels] for p in proposals])
    rows, columns = linear_sum_assignment(agreement, maximize=True)
    best = int(agreement[rows, columns].sum())

    n_found = int((matches(proposals_of(*proposals), labels_of(*labels)) >= 0).sum())

    # Greedy matching by onset finds at least half of the optimum, and all of it if every span has at
    # most one partner.
    assert best / 2 <= n_found <= best
    if agreement.sum(axis=0).max() <= 1 or agreement.sum(axis=1).max() <= 1:
        assert n_found == best


def test_f_beta_worked_by_hand():
    labels = labels_of((0, 40, 44), (0, 60, 64), (1, 50, 54))
    proposals = proposals_of((0, 40, 44), (1, 30, 34), (1, 70, 74), (1, 20, 24), (1, 80, 84))

    # 1 hit, 2 misses, 2 false ones: those at 20 and 80 lie outside the core.
    assert f_beta(proposals, labels, 1.0) == pytest.approx(2 / (2 + 2 + 2))
    assert f_beta(proposals, labels, 2.0) == pytest.approx(5 / (5 + 4 * 2 + 2))


def test_no_proposals_score_0():
    none = proposals_of((0, 40, 44)).select(slice(0))

    assert f_beta(none, labels_of((0, 40, 44)), 1.0) == 0


def test_planted_surges_are_recovered(train: SplitRows, validation: SplitRows):
    proposer = fit_proposer(train.measures, train.windows.spans)

    assert f_beta(propose(train.measures, proposer), train.windows.spans, 1.0) > 0.95
    unseen = propose(validation.measures, proposer)
    assert f_beta(unseen, validation.windows.spans, 1.0) > 0.9
    found = matches(unseen, validation.windows.spans)
    labeled = validation.windows.spans
    hit = found >= 0
    assert np.array_equal(unseen.direction[hit], labeled.direction[found[hit]])
    assert np.abs(unseen.start[hit] - labeled.start[found[hit]]).mean() < 1


def test_random_labels_are_not_learned(train: SplitRows):
    spans = train.windows.spans
    rng = np.random.default_rng(0)
    start = rng.integers(30, 75, len(spans.start))
    anywhere = replace(spans, start=start, end=start + (spans.end - spans.start))
    order = np.lexsort((anywhere.start, anywhere.window))
    chance = anywhere.select(order)

    assert f_beta(propose(train.measures, fit_proposer(train.measures, chance)), chance, 1.0) < 0.5


def test_the_fitted_rule_beats_nearly_every_random_one(train: SplitRows):
    spans = train.windows.spans
    fitted = f_beta(propose(train.measures, fit_proposer(train.measures, spans)), spans, 1.0)
    rng = np.random.default_rng(0)
    scores = []
    for _ in range(200):
        shortest = int(rng.integers(1, 8))
        proposer = SpanProposer(
            min_net_atr=rng.uniform(0.5, 8),
            min_efficiency=rng.uniform(0, 1),
            min_length=shortest,
            max_length=int(rng.integers(max(shortest, 6), 21)),
            ordering=ORDERINGS[rng.integers(4)],
        )
        scores.append(f_beta(propose(train.measures, proposer), spans, 1.0))

    assert np.mean(np.array(scores) > fitted) < 0.1
    assert np.median(scores) < 0.9


def test_a_larger_beta_gives_at_least_as_many_hits(train: SplitRows):
    spans = train.windows.spans
    factor = np.random.default_rng(0).uniform(0.3, 1.7, (len(train.windows.bar0), 1, 1))
    measures = SpanMeasures(train.measures.net_atr * factor.astype(np.float32), train.measures.efficiency)
    balanced, recall = (propose(measures, fit_proposer(measures, spans, beta)) for beta in (1.0, 6.0))

    hits = [int((matches(proposals, spans) >= 0).sum()) for proposals in (balanced, recall)]
    assert hits[1] >= hits[0]
    assert len(recall.window) > len(balanced.window)


def noisy(rows: SplitRows, seed: int) -> SpanMeasures:
    """Measures with noise, so that no rule finds the labels without errors."""
    factor = np.random.default_rng(seed).uniform(0.2, 1.8, (len(rows.windows.bar0), 1, 1))
    return SpanMeasures(rows.measures.net_atr * factor.astype(np.float32), rows.measures.efficiency)


def test_an_improved_rule_is_at_least_as_good_as_a_fitted_one_and_as_random_search(
    train: SplitRows, monkeypatch: pytest.MonkeyPatch
):
    spans, measures, tried = train.windows.spans, noisy(train, 0), []
    one_rule = RankedSpans.propose

    def counted(ranked: RankedSpans, proposer: SpanProposer) -> Spans:
        tried.append(proposer)
        return one_rule(ranked, proposer)

    monkeypatch.setattr(RankedSpans, "propose", counted)
    improved = improve_proposer(measures, spans)
    budget = len(tried)
    scores = [
        f_beta(propose(measures, proposer), spans, 1.0)
        for proposer in (improved, fit_proposer(measures, spans))
    ]
    assert scores[0] >= scores[1]
    assert 0.3 < scores[0] < 1
    rng = np.random.default_rng(1)
    by_chance = []
    for _ in range(budget):
        shortest, longest = sorted(rng.integers(1, 21, 2).tolist())
        proposer = SpanProposer(
            min_net_atr=rng.uniform(0.5, 8),
            min_efficiency=rng.uniform(0, 1),
            min_length=shortest,
            max_length=longest,
            ordering=ORDERINGS[rng.integers(4)],
        )
        by_chance.append(f_beta(propose(measures, proposer), spans, 1.0))
    assert scores[0] >= max(by_chance)


def test_no_single_change_improves_an_improved_rule(train: SplitRows):
    spans, measures = train.windows.spans, noisy(train, 2)
    improved = improve_proposer(measures, spans)
    score = f_beta(propose(measures, improved), spans, 1.0)
    changes = [{"min_length": n} for n in range(1, 21)] + [{"max_length": n} for n in range(1, 21)]
    for change in changes:
        assert f_beta(propose(measures, improved.model_copy(update=change)), spans, 1.0) <= score


def test_the_same_windows_give_the_same_rule(train: SplitRows):
    assert fit_proposer(train.measures, train.windows.spans) == fit_proposer(
        train.measures, train.windows.spans
    )


def test_fitting_without_an_expansion_is_refused(train: SplitRows):
    none = train.windows.spans.select(slice(0))
    with pytest.raises(ValueError, match="labeled must hold at least one expansion, got none"):
        fit_proposer(train.measures, none)
