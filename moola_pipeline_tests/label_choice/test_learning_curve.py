"""Learning curves on nested labels, and forecasts that must prove themselves."""

import numpy as np
import pytest

from moola_pipeline.label_choice.learning_curve import (
    CurvePoint,
    CurveSettings,
    forecast,
    learning_curve,
    measured_shares,
    nested_parts,
    power_law,
)
from moola_pipeline.label_choice.trees import best_threshold
from moola_pipeline.metrics.bootstrap import Resampled
from moola_pipeline_tests.made_bars import made_market

COUNTS = np.array([22.0, 44.0, 87.0, 174.0])


def points(scores: np.ndarray, spread: float = 0.02) -> list[CurvePoint]:
    noise = spread * np.random.default_rng(0).normal(size=400)
    return [
        CurvePoint(float(n), 1.2 * float(n), Resampled(float(score), score + noise, 200))
        for n, score in zip(COUNTS, scores, strict=True)
    ]


@pytest.mark.parametrize(("floor", "slope", "power"), [(0.2, 2.0, 0.5), (0.0, 1.5, 0.3), (0.3, 5.0, 1.0)])
def test_a_power_law_is_recovered(floor: float, slope: float, power: float):
    curve = 1 - floor - slope * COUNTS**-power
    assert power_law(COUNTS, curve[None], 348)[0] == pytest.approx(1 - floor - slope * 348**-power, abs=1e-9)


def test_a_falling_score_is_forecast_as_its_mean():
    assert power_law(COUNTS, np.array([[0.6, 0.5, 0.4, 0.3]]), 348)[0] == pytest.approx(0.45)


def test_a_forecast_that_held_is_shown_and_lies_in_its_interval():
    shown = forecast(points(1 - 0.2 - 2 * COUNTS**-0.5))
    assert shown.n_labels == 348
    assert shown.score is not None
    assert shown.score.estimate == pytest.approx(0.8 - 2 * 348**-0.5, abs=1e-6)
    assert shown.score.low < shown.score.estimate < shown.score.high
    assert shown.measured.low <= shown.proof <= shown.measured.high


def test_a_forecast_that_failed_is_not_shown():
    failed = forecast(points(np.array([0.30, 0.40, 0.50, 0.45])))
    assert failed.score is None
    assert failed.proof > failed.measured.high


def test_smaller_parts_lie_in_larger_ones_and_hold_their_share_of_labels():
    windows = made_market(20).windows
    parts = nested_parts(windows, (0.25, 0.5, 1.0), np.random.default_rng(0))
    names = [set(part.window_id.tolist()) for part in parts]
    assert names[0] < names[1] < names[2] == set(windows.window_id.tolist())
    n = len(windows.spans.window)
    for part, share in zip(parts, (0.25, 0.5, 1.0), strict=True):
        assert abs(len(part.spans.window) - share * n) <= 2


def test_a_clear_market_is_learned_from_few_labels_and_each_training_is_counted():
    made, seen = made_market(24), []
    settings = CurveSettings(n_folds=2, shares=(0.2, 0.5, 1.0), min_labels=6, orders=1, resamples=100)
    curve = learning_curve(made.bars, made.windows, settings, lambda done, total: seen.append((done, total)))
    assert seen == [(done, 6) for done in range(1, 7)]
    assert [point.n_labels for point in curve] == sorted(point.n_labels for point in curve)
    assert all(point.score.estimate > 0.6 for point in curve)
    again = learning_curve(made.bars, made.windows, settings)
    assert [point.score.estimate for point in again] == [point.score.estimate for point in curve]


def test_shares_with_too_few_labels_are_left_out_or_refused():
    assert measured_shares(174, CurveSettings()) == (0.125, 0.25, 0.5, 1.0)
    assert measured_shares(100, CurveSettings()) == (0.25, 0.5, 1.0)
    with pytest.raises(ValueError, match="a curve needs at least 80 labeled expansions, got 46"):
        measured_shares(46, CurveSettings())


def test_the_best_threshold_worked_by_hand():
    # sum 1.5; accepting one: 1.8 / 2.5, two: 2.8 / 3.5, three: 3 / 4.5
    assert best_threshold(np.array([0.1, 0.9, 0.5])) == pytest.approx(0.5)
    assert best_threshold(np.empty(0)) == 0.5


def test_two_counts_at_least_make_a_power_law():
    with pytest.raises(ValueError, match="at least 2 numbers of labels, got 1"):
        power_law(COUNTS[:1], np.ones((1, 1)), 10)


def test_incomplete_windows_are_neither_learned_from_nor_scored():
    made = made_market(30)
    settings = CurveSettings(n_folds=2, shares=(0.4, 0.6, 1.0), min_labels=6, orders=1, resamples=100)
    windows = made.windows._replace(complete=np.arange(len(made.windows.bar0)) % 9 != 4)
    curve, expected = (learning_curve(made.bars, it, settings) for it in (windows, windows.complete_windows))
    assert [point[:2] for point in curve] == [point[:2] for point in expected]
    assert [point.score.estimate for point in curve] == [point.score.estimate for point in expected]
