import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moola_pipeline.metrics.definitions import (
    RankedPredictions,
    mean_average_precision,
    segment_f1_macro,
    segment_f1_micro,
)
from moola_pipeline.metrics.overlap import pair_overlapping, ranked_hits, segment_counts, temporal_iou
from moola_pipeline_tests.metrics.test_matching import events, spans


def scored(*rows: tuple[str, int, int, int, float]) -> pd.DataFrame:
    return events(*(row[:4] for row in rows)).assign(score=[row[4] for row in rows])


def test_temporal_iou_by_hand():
    # 50..59 and 55..64 share 5 of 15 bars; spans that only touch share none
    got = temporal_iou(np.array([[50, 59]]), np.array([[55, 64], [60, 62], [50, 59], [52, 53]]))
    np.testing.assert_allclose(got, [[5 / 15, 0, 1, 2 / 10]])


def test_residual_pairs_share_a_bar_without_a_collar():
    truth = spans((50, 59), (70, 74))
    assert pair_overlapping(truth, spans((58, 66))).tolist() == [0, -1]
    assert pair_overlapping(truth, spans((60, 69))).tolist() == [-1, -1]


def test_as_many_residual_pairs_as_possible_are_made_then_the_closest():
    truth = spans((40, 49), (50, 59))
    # 45..54 overlaps both equally; 52..59 overlaps the second only
    assert pair_overlapping(truth, spans((45, 54), (52, 59))).tolist() == [0, 1]
    assert pair_overlapping(spans((40, 49)), spans((48, 59), (41, 49))).tolist() == [1]


def test_labels_outside_the_core_have_no_residual():
    assert pair_overlapping(spans((29, 34), (75, 80)), spans((29, 34), (75, 80))).tolist() == [-1, -1]


def test_the_prediction_with_the_highest_score_takes_the_label():
    truth = events(("w", 50, 59, 0))
    found = scored(("w", 50, 59, 0, 0.2), ("w", 51, 59, 0, 0.9))
    assert ranked_hits(truth, found, 0.5).tolist() == [False, True]
    assert ranked_hits(truth, found, 0.95).tolist() == [True, False]


def test_a_match_needs_the_same_type_and_window_and_a_start_near_the_core():
    truth = events(("w", 30, 39, 1))
    found = scored(("w", 30, 39, 0, 1), ("v", 30, 39, 1, 1), ("w", 26, 39, 1, 1), ("w", 27, 39, 1, 1))
    assert ranked_hits(truth, found, 0.5).tolist() == [False, False, False, True]


def test_mean_average_precision_by_hand():
    # type 0, by falling score: hit, false, hit, of 3 labels: (1/1 + 2/3) / 3; type 1: its one label is second
    ranked = RankedPredictions(
        window=np.array([0, 1, 1, 0, 1]),
        type=np.array([0, 0, 0, 1, 1]),
        score=np.array([0.9, 0.8, 0.7, 0.6, 0.5]),
        hit=np.array([True, False, True, False, True]),
        judged=np.ones(5, bool),
    )
    labeled = np.array([[1, 0], [2, 1]])
    assert mean_average_precision(ranked, labeled) == pytest.approx(((1 + 2 / 3) / 3 + 1 / 2) / 2)
    # a prediction outside the core is never false
    lenient = ranked._replace(judged=np.array([True, False, True, True, True]))
    assert mean_average_precision(lenient, labeled) == pytest.approx(((1 + 1) / 3 + 1 / 2) / 2)
    # window 0 alone: type 1 has no label there
    assert np.isnan(mean_average_precision(ranked, labeled, np.array([1, 0])))


@given(st.integers(0, 2**32 - 1))
def test_weighted_average_precision_equals_copied_windows(seed):
    rng = np.random.default_rng(seed)
    window = rng.integers(0, 4, 12)
    ranked = RankedPredictions(
        window,
        rng.integers(0, 2, 12),
        rng.choice([0.1, 0.4, 0.4, 0.8], 12),
        rng.random(12) < 0.5,
        rng.random(12) < 0.8,
    )
    labeled = rng.integers(1, 4, (4, 2))
    weights = rng.integers(0, 3, 4)
    weights[0] = 1
    rows = np.repeat(np.arange(4), weights)
    copies = [np.flatnonzero(window == row) for row in rows]
    order = np.concatenate(copies)
    copied = RankedPredictions(
        np.repeat(np.arange(len(rows)), [len(c) for c in copies]), *(it[order] for it in ranked[1:])
    )
    expected = mean_average_precision(copied, labeled[rows])
    np.testing.assert_allclose(mean_average_precision(ranked, labeled, weights), expected)


def test_segments_by_hand():
    truth = events(("w", 50, 59, 0), ("w", 72, 80, 1))
    found = events(("w", 55, 64, 0), ("w", 78, 84, 1), ("w", 70, 71, 1), ("v", 20, 33, 0))
    counts = segment_counts(truth, found, pd.Series(["w", "v"]), types=(0, 1))
    # type 0: 55..59 right, 60..64 false, 50..54 missed
    # type 1: 78..80 right, 70..71 false, 72..77 missed; 81..84 are not scored
    # in v: it starts before bar 30, so it is never false
    assert counts[0].tolist() == [[5, 5, 5], [3, 2, 6]]
    assert counts[1].tolist() == [[0, 0, 0], [0, 0, 0]]
    assert segment_f1_micro(counts) == pytest.approx(16 / (16 + 7 + 11))
    assert segment_f1_macro(counts) == pytest.approx((10 / 20 + 6 / 14) / 2)


def test_bars_predicted_as_the_other_type_are_false_and_missed():
    counts = segment_counts(spans((50, 54)), spans((50, 54), kind=1), pd.Series(["w"]), (0, 1))
    assert counts[0].tolist() == [[0, 0, 5], [0, 5, 0]]


def test_segments_of_unknown_windows_are_refused():
    with pytest.raises(ValueError, match="must lie in a scored window"):
        segment_counts(spans((50, 54)), spans(), pd.Series(["other"]), (0, 1))
