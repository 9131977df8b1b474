"""Doubt about windows, and draws from it with spread over sessions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moola_pipeline.label_choice.doubt import draw_spread, entropy, unlabeled_windows, window_doubt
from moola_pipeline.label_choice.trees import ScoredProposals, SpanProbabilities
from moola_pipeline.windows.spans import Spans


def scored(window: list[int], expansion: list[float], retracement: list[float]) -> ScoredProposals:
    at = np.array(window, np.int64)
    spans = Spans.untyped(at, np.full(len(at), 40), np.full(len(at), 44), np.ones(len(at), np.int8))
    return ScoredProposals(spans, SpanProbabilities(np.array(expansion), np.array(retracement)))


def test_doubt_worked_by_hand():
    # window 0: 1 bit for the judge, and half of 1 bit for the type; window 2: sure of both
    doubt = window_doubt(scored([0, 2, 2], [0.5, 1.0, 0.0], [0.5, 1.0, 0.5]), 3)
    assert doubt == pytest.approx([1.5, 0.0, 0.0], abs=1e-9)
    # a sure expansion of unsure type is one bit of doubt, of two such windows have two
    assert window_doubt(scored([0, 0], [1.0, 1.0], [0.5, 0.5]), 1) == pytest.approx([2.0], abs=1e-9)


def test_entropy_is_symmetric_and_greatest_at_one_half():
    p = np.linspace(0, 1, 21)
    assert entropy(p) == pytest.approx(entropy(1 - p))
    assert entropy(p).argmax() == 10
    assert entropy(np.array([0.25])) == pytest.approx([0.8112781], abs=1e-6)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 9), st.integers(0, 5)), min_size=1, max_size=40),
    st.integers(0, 30),
    st.integers(1, 3),
    st.sampled_from([0.0, 1.0, 4.0]),
    st.integers(0, 99),
)
def test_no_session_gives_more_than_its_share_and_nothing_comes_twice(rows, n, per_session, sharpness, seed):
    doubt, session = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    drawn = draw_spread(doubt, session, n, np.random.default_rng(seed), per_session, sharpness)
    assert len(set(drawn.tolist())) == len(drawn)
    counts = np.bincount(session[drawn], minlength=6)
    assert counts.max(initial=0) <= per_session
    assert len(drawn) == min(n, sum(min(per_session, int((session == s).sum())) for s in range(6)))


def test_a_window_with_twice_the_doubt_comes_first_twice_as_often():
    rng, first = np.random.default_rng(0), []
    for _ in range(3000):
        first.append(draw_spread(np.array([1.0, 2.0]), np.array([0, 1]), 1, rng, sharpness=1.0)[0])
    assert np.mean(first) == pytest.approx(2 / 3, abs=0.03)
    even = [
        draw_spread(np.array([1.0, 9.0]), np.array([0, 1]), 1, rng, sharpness=0.0)[0] for _ in range(3000)
    ]
    assert np.mean(even) == pytest.approx(1 / 2, abs=0.03)


def test_windows_without_doubt_come_last():
    doubt = np.array([0.0, 1e-3, 0.0, 1e-3])
    drawn = draw_spread(doubt, np.arange(4), 4, np.random.default_rng(1))
    assert set(drawn[:2].tolist()) == {1, 3}


def test_one_seed_draws_the_same_windows():
    doubt, session = np.random.default_rng(3).random(50), np.arange(50) // 5
    draws = [draw_spread(doubt, session, 10, np.random.default_rng(7)).tolist() for _ in range(2)]
    assert draws[0] == draws[1]


def test_no_unlabeled_window_touches_a_labeled_one_or_passes_the_end():
    segment, labeled = np.repeat([0, 1], 700), np.array([200, 800])
    free = unlabeled_windows(segment, 1200, labeled)
    tiled = unlabeled_windows(segment, 1200, np.empty(0))
    assert tiled.tolist() == [40, 145, 250, 355, 460, 565, 740, 845, 950, 1055]
    assert free.tolist() == [40, 355, 460, 565, 950, 1055]
    assert (np.abs(free[:, None] - labeled[None, :]) >= 105).all()


def test_shapes_that_differ_are_named():
    with pytest.raises(ValueError, match=r"one shape, got \(2,\) and \(3,\)"):
        draw_spread(np.ones(2), np.zeros(3), 1, np.random.default_rng(0))
