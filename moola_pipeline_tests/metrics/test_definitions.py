import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import average_precision_score, brier_score_loss, f1_score, matthews_corrcoef

from moola_pipeline.metrics.definitions import (
    aucpr_retracement,
    brier,
    event_f1_macro,
    event_f1_untyped,
    mcc,
    prevalence,
    type_f1_macro,
)

# predicted as 1, 1, 0, 0, 1: tp 2, fn 1, fp 1, tn 1
Y = np.array([1, 1, 1, 0, 0])
P = np.array([0.9, 0.6, 0.4, 0.3, 0.8])


@st.composite
def weighted_rows(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels of both classes, probabilities with ties, and bootstrap counts with both classes."""
    n = draw(st.integers(2, 30))
    y = draw(arrays(np.int64, n, elements=st.integers(0, 1)))
    y[:2] = [0, 1]
    p = draw(arrays(np.float64, n, elements=st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.6, 0.75, 1.0])))
    weights = draw(arrays(np.int64, n, elements=st.integers(0, 3)))
    weights[:2] = np.maximum(weights[:2], 1)
    return y, p, weights


def test_type_f1_macro_by_hand():
    # retracement: 2*2/(2*2+1+1) = 2/3; consolidation: 2*1/(2*1+1+1) = 1/2
    assert type_f1_macro(Y, P) == pytest.approx((2 / 3 + 1 / 2) / 2)


def test_mcc_by_hand():
    # (2*1 - 1*1) / sqrt(3 * 3 * 2 * 2)
    assert mcc(Y, P) == pytest.approx(1 / 6)


def test_aucpr_by_hand():
    # by falling score: 1 (.9), 0 (.8), 1 (.6), 1 (.4), 0: precision at the hits 1/1, 2/3, 3/4
    assert aucpr_retracement(Y, P) == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)


def test_equal_probabilities_share_one_threshold():
    assert aucpr_retracement(np.array([1, 0, 0, 1]), np.full(4, 0.3)) == pytest.approx(0.5)


def test_brier_and_prevalence_by_hand():
    assert brier(Y, P) == pytest.approx((0.01 + 0.16 + 0.36 + 0.09 + 0.64) / 5)
    assert prevalence(Y) == pytest.approx(0.6)


def test_a_probability_of_exactly_one_half_is_consolidation():
    assert type_f1_macro(np.array([0, 1]), np.array([0.5, 0.51])) == 1


def test_a_constant_scores_one_class_and_the_prevalence():
    y = np.array([0] * 95 + [1] * 52)
    assert type_f1_macro(y, np.zeros(147)) == pytest.approx(190 / 242 / 2)
    assert mcc(y, np.zeros(147)) == 0
    assert aucpr_retracement(y, np.zeros(147)) == pytest.approx(52 / 147)


@given(weighted_rows())
def test_every_type_metric_equals_scikit_learn(rows):
    y, p, weights = rows
    predicted = (p > 0.5).astype(int)
    as_drawn = {"sample_weight": weights}
    by_class = [float(f1_score(y, predicted, pos_label=kind, sample_weight=weights)) for kind in (0, 1)]
    expected = sum(by_class) / 2
    assert type_f1_macro(y, p, weights) == pytest.approx(expected)
    assert mcc(y, p, weights) == pytest.approx(matthews_corrcoef(y, predicted, **as_drawn))
    assert aucpr_retracement(y, p, weights) == pytest.approx(average_precision_score(y, p, **as_drawn))
    assert brier(y, p, weights) == pytest.approx(brier_score_loss(y, p, pos_label=1, **as_drawn))


@given(weighted_rows())
def test_a_count_equals_repeating_the_row(rows):
    y, p, weights = rows
    many_y, many_p = np.repeat(y, weights), np.repeat(p, weights)
    for metric in (type_f1_macro, mcc, aucpr_retracement, brier):
        assert metric(y, p, weights) == pytest.approx(metric(many_y, many_p))
    assert prevalence(y, weights) == pytest.approx(prevalence(many_y))


@given(weighted_rows(), st.integers(0, 2**32 - 1))
def test_many_weightings_at_once_equal_one_at_a_time(rows, seed):
    y, p, _ = rows
    weights = np.random.default_rng(seed).integers(0, 3, (2, 3, len(y)))
    for metric in (type_f1_macro, mcc, aucpr_retracement, brier):
        together = metric(y, p, weights)
        assert together.shape == (2, 3)
        one_by_one = [[metric(y, p, row) for row in block] for block in weights]
        np.testing.assert_allclose(together, one_by_one)


def test_average_precision_without_any_retracement_is_undefined():
    assert np.isnan(aucpr_retracement(np.zeros(3), np.array([0.1, 0.2, 0.3])))
    assert np.isnan(aucpr_retracement(Y, P, np.array([[0, 0, 0, 1, 1]])))[0]


def test_event_f1_by_hand():
    counts = np.array(
        [
            [[1, 0, 1], [0, 0, 0]],  # window 1: consolidation one found, one missed
            [[0, 1, 0], [1, 1, 0]],  # window 2: a false consolidation; one retracement found, one false
            [[0, 0, 0], [0, 0, 0]],  # an empty window, left empty
        ]
    )
    # consolidation 2/(2+1+1), retracement 2/(2+1+0)
    assert event_f1_macro(counts) == pytest.approx((1 / 2 + 2 / 3) / 2)
    # window 1 twice, window 2 not: consolidation 4/(4+2), retracement without any event: 0
    assert event_f1_macro(counts, np.array([[2, 0, 1]])) == pytest.approx([(2 / 3 + 0) / 2])
    assert event_f1_untyped(counts.sum(axis=1, keepdims=True)) == pytest.approx(4 / (4 + 2 + 1))


def test_untyped_f1_refuses_typed_counts():
    with pytest.raises(ValueError, match=r"one column of types, got 2; match with typed=False"):
        event_f1_untyped(np.zeros((4, 2, 3)))


def test_weights_of_another_length_are_refused():
    with pytest.raises(ValueError, match=r"one column per row, 5, got shape \(3, 4\)"):
        type_f1_macro(Y, P, np.ones((3, 4)))
