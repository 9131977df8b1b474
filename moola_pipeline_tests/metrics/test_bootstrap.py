import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import bootstrap as scipy_bootstrap
from sklearn.metrics import average_precision_score, f1_score

from moola_pipeline.metrics.bootstrap import (
    N_RESAMPLES,
    Interval,
    Resampled,
    exact_share,
    holm,
    interval,
    mean_over_seeds,
    resample,
    session_weights,
    two_sided_p,
)
from moola_pipeline.metrics.definitions import (
    aucpr_retracement,
    brier,
    event_f1_macro,
    event_f1_untyped,
    mcc,
    type_f1_macro,
)


def made_predictions(
    n: int = 147, n_sessions: int = 56, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, pd.Series]:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    p = np.clip(0.3 + 0.3 * y + rng.normal(0, 0.3, n), 0, 1)
    sessions = pd.Series(pd.Timestamp("2025-04-01") + pd.to_timedelta(rng.integers(0, n_sessions, n), "D"))
    return y, p, sessions


def test_rows_of_one_session_are_drawn_together():
    sessions = pd.Series(["mon", "tue", "mon", "wed", "tue"])
    weights = session_weights(sessions, 500, np.random.default_rng(1))
    assert weights.shape == (500, 5)
    np.testing.assert_array_equal(weights[:, 0], weights[:, 2])
    np.testing.assert_array_equal(weights[:, 1], weights[:, 4])
    np.testing.assert_array_equal(weights[:, [0, 1, 3]].sum(axis=1), 3)


@given(st.lists(st.integers(0, 6), min_size=1, max_size=30), st.integers(0, 2**32 - 1))
def test_each_resample_draws_as_many_sessions_as_there_are(sessions, seed):
    column = pd.Series(sessions)
    weights = session_weights(column, 20, np.random.default_rng(seed))
    firsts = column.drop_duplicates().index
    assert (weights[:, firsts].sum(axis=1) == len(firsts)).all()


def test_the_same_generator_state_draws_the_same_resamples():
    _, _, sessions = made_predictions()
    first, second = (session_weights(sessions, 50, np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, session_weights(sessions, 50, np.random.default_rng(8)))


def test_weighted_scores_equal_a_naive_loop_over_copied_rows():
    y, p, sessions = made_predictions(60, 20)
    weights = session_weights(sessions, 40, np.random.default_rng(2))
    f1 = resample(lambda w: type_f1_macro(y, p, w), weights)
    precision = resample(lambda w: aucpr_retracement(y, p, w), weights)
    assert f1.estimate == pytest.approx(f1_score(y, p > 0.5, average="macro"))
    for drawn, fast_f1, fast_precision in zip(weights, f1.values, precision.values, strict=True):
        rows = [row for row, times in enumerate(drawn) for _ in range(times)]
        assert fast_f1 == pytest.approx(f1_score(y[rows], p[rows] > 0.5, average="macro", labels=[0, 1]))
        assert fast_precision == pytest.approx(average_precision_score(y[rows], p[rows]))


def naive_session_interval(y: np.ndarray, p: np.ndarray, sessions: pd.Series) -> tuple[float, float]:
    """Naive version: draw session names, copy their rows, score, sort."""
    rng = np.random.default_rng(99)
    rows_of = {name: np.flatnonzero(sessions == name) for name in sessions.unique()}
    scores = []
    for _ in range(N_RESAMPLES):
        drawn = rng.choice(len(rows_of), size=len(rows_of))
        rows = np.concatenate([list(rows_of.values())[place] for place in drawn])
        scores.append(np.square(p[rows] - y[rows]).mean())
    return np.percentile(scores, 2.5), np.percentile(scores, 97.5)


def test_the_interval_agrees_with_a_naive_cluster_bootstrap():
    y, p, sessions = made_predictions()
    weights = session_weights(sessions, N_RESAMPLES, np.random.default_rng(3))
    got = resample(lambda w: brier(y, p, w), weights).interval
    low, high = naive_session_interval(y, p, sessions)
    width = high - low
    assert (got.low, got.high) == pytest.approx((low, high), abs=0.06 * width)


def test_with_one_row_per_session_the_interval_is_scipys_percentile_interval():
    y, p, _ = made_predictions(80)
    weights = session_weights(pd.Series(range(80)), 4000, np.random.default_rng(4))
    got = resample(lambda w: type_f1_macro(y, p, w), weights).interval
    expected = scipy_bootstrap(
        (y, p),
        lambda a, b: float(type_f1_macro(a, b)),
        paired=True,
        vectorized=False,
        n_resamples=4000,
        method="percentile",
        rng=np.random.default_rng(5),
    ).confidence_interval
    width = expected.high - expected.low
    assert (got.low, got.high) == pytest.approx((expected.low, expected.high), abs=0.06 * width)


def test_correlated_rows_within_sessions_widen_the_interval():
    rng = np.random.default_rng(6)
    day = np.repeat(np.arange(30), 5)
    y, p = rng.integers(0, 2, 150), np.repeat(rng.random(30), 5)
    p = np.where(y == 1, p, 1 - p)  # right or wrong by day
    clustered, single = (
        resample(
            lambda w: type_f1_macro(y, p, w),
            session_weights(pd.Series(names), 1000, np.random.default_rng(6)),
        ).interval
        for names in (day, np.arange(150))
    )
    assert clustered.high - clustered.low > 1.5 * (single.high - single.low)


def test_the_interval_covers_the_true_value_near_its_nominal_rate():
    rng = np.random.default_rng(8)
    covered = 0
    for _ in range(200):
        values = rng.normal(0, 1, 40).repeat(3)
        weights = session_weights(pd.Series(np.arange(40).repeat(3)), 400, rng)
        got = resample(lambda w, v=values: (w @ v) / w.sum(axis=-1), weights).interval
        covered += got.low <= 0 <= got.high
    assert 0.88 <= covered / 200 <= 0.99


def test_percentiles_worked_by_hand():
    got = interval(np.arange(1001.0), 480, 12)
    assert (got.estimate, got.low, got.high, got.n) == pytest.approx((480, 25, 975, 12))


def test_resamples_without_a_score_are_skipped():
    values = np.append(np.arange(1001.0), [np.nan] * 50)
    assert interval(values, 480, 12).low == pytest.approx(25)
    nothing = interval(np.full(5, np.nan), 0.5, 3)
    assert np.isnan([nothing.low, nothing.high]).all()


def test_a_paired_difference_is_narrower_than_its_parts():
    y, p, sessions = made_predictions()
    weights = session_weights(sessions, N_RESAMPLES, np.random.default_rng(3))
    score = resample(lambda w: type_f1_macro(y, p, w), weights)
    other = resample(lambda w: type_f1_macro(y, np.roll(p, 1), w), weights)
    assert score.minus(score).interval == Interval(0, 0, 0, len(y))
    gap = score.minus(other)
    assert gap.estimate == pytest.approx(score.estimate - other.estimate)
    np.testing.assert_allclose(gap.values, score.values - other.values)
    nudged = resample(lambda w: type_f1_macro(y, np.clip(p + 0.02, 0, 1), w), weights)
    difference, own = score.minus(nudged).interval, score.interval
    assert difference.high - difference.low < own.high - own.low


def test_a_difference_of_unequal_resamples_is_refused():
    with pytest.raises(ValueError, match="the same resamples on both sides, got 3 and 4"):
        Resampled(0.5, np.zeros(3), 9).minus(Resampled(0.5, np.zeros(4), 9))


def test_seeds_are_averaged_inside_each_resample():
    runs = [Resampled(0.2, np.array([0.1, 0.3]), 9), Resampled(0.4, np.array([0.5, 0.3]), 9)]
    mean = mean_over_seeds(runs)
    assert mean.estimate == pytest.approx(0.3)
    np.testing.assert_allclose(mean.values, [0.3, 0.3])
    with pytest.raises(ValueError, match="got 0 runs"):
        mean_over_seeds([])


def test_no_session_is_refused():
    with pytest.raises(ValueError, match="at least one session, got none"):
        session_weights(pd.Series([], dtype="datetime64[ns]"), 10, np.random.default_rng(0))


def test_two_thousand_resamples_of_every_metric_take_seconds_at_most():
    y, p, sessions = made_predictions()
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 2, (140, 2, 3))
    windows = session_weights(pd.Series(rng.integers(0, 63, 140)), N_RESAMPLES, rng)
    started = time.perf_counter()
    weights = session_weights(sessions, N_RESAMPLES, rng)
    for metric in (type_f1_macro, mcc, aucpr_retracement, brier):
        resample(lambda w, metric=metric: metric(y, p, w), weights)
    resample(lambda w: event_f1_macro(counts, w), windows)
    resample(lambda w: event_f1_untyped(counts[:, :1], w), windows)
    assert time.perf_counter() - started < 2


@pytest.mark.parametrize(("n", "low"), [(5, 0.478), (20, 0.832), (147, 0.975)])
def test_all_right_of_n_has_the_exact_binomial_interval(n: int, low: float):
    """Bounds of Clopper and Pearson, from tables."""
    right = exact_share(Interval(1.0, 1.0, 1.0, n))
    assert (right.low, right.high) == (pytest.approx(low, abs=1e-3), 1.0)
    wrong = exact_share(Interval(0.0, 0.0, 0.0, n))
    assert (wrong.low, wrong.high) == (0.0, pytest.approx(1 - low, abs=1e-3))


def test_other_intervals_stay_as_the_resamples_give_them():
    for shown in (Interval(0.8, 0.7, 0.9, 5), Interval(1.0, 0.9, 1.0, 5), Interval(1.0, 1.0, 1.0, 0)):
        assert exact_share(shown) == shown


def test_the_p_value_of_no_difference_is_uniform_and_of_a_large_one_small():
    rng = np.random.default_rng(0)
    drawn = rng.normal(size=(400, 1))
    p = [two_sided_p(shift + rng.normal(size=999)) for shift in drawn.ravel()]
    assert 0.02 < np.mean(np.array(p) < 0.05) < 0.08
    assert two_sided_p(np.full(999, 0.1)) == pytest.approx(2 / 1000)
    assert two_sided_p(np.zeros(9)) == 1.0
    assert np.isnan(two_sided_p(np.full(3, np.nan)))


def test_holm_multiplies_the_smallest_p_value_most_and_keeps_the_order():
    assert holm({"a": 0.04, "b": 0.01}) == {"a": pytest.approx(0.04), "b": pytest.approx(0.02)}
    assert holm({"a": 0.03, "b": 0.029}) == {"a": pytest.approx(0.058), "b": pytest.approx(0.058)}
    assert holm({"a": 0.9, "b": 0.8}) == {"a": 1.0, "b": 1.0}
    assert holm({}) == {}
