import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve

from moola_pipeline.metrics.calibration import ece, equal_mass, perfect_band, reliability


def made_predictions(n: int = 147, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    p = rng.beta(2, 3, n)
    return (rng.random(n) < p).astype(np.int64), p


def test_one_bin_by_hand():
    # predicted 0.2, share 1/4: distance 0.05; the standard error of the share is sqrt(3/16/4) = 0.2165
    y, p = np.array([1, 0, 0, 0]), np.full(4, 0.2)
    z = np.linspace(-8, 8, 200_001)
    density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    integral = float(np.sum(np.abs(0.05 + np.sqrt(3 / 64) * z) * density) * (z[1] - z[0]))
    assert integral == pytest.approx(0.17733, abs=1e-5)
    assert ece(y, p) == 0  # 0.10 - 0.177 is below 0
    distance, spread = 0.05, np.sqrt(3 / 6400)
    expected = 2 * distance - float(np.sum(np.abs(distance + spread * z) * density) * (z[1] - z[0]))
    assert ece(np.repeat(y, 100), np.repeat(p, 100)) == pytest.approx(expected, abs=1e-6)


def published_debiased(y: np.ndarray, p: np.ndarray, rng: np.random.Generator) -> float:
    """Estimator of Kumar, Liang and Ma (resampled normal shares), as a loop over bins."""
    order = np.argsort(p, kind="stable")
    bins = [order[equal_mass(p)[order] == number] for number in range(5)]
    plugin = sum(len(rows) / len(p) * abs(y[rows].mean() - p[rows].mean()) for rows in bins)
    drawn = []
    for _ in range(20_000):
        total = 0.0
        for rows in bins:
            share = y[rows].mean()
            resampled = rng.normal(share, np.sqrt(share * (1 - share) / len(rows)))
            total += len(rows) / len(p) * abs(resampled - p[rows].mean())
        drawn.append(total)
    return 2 * plugin - float(np.mean(drawn))


def test_the_closed_form_equals_the_resampled_estimator():
    y, _ = made_predictions(200, 3)
    p = np.random.default_rng(4).beta(2, 3, 200)  # unrelated to y: badly calibrated
    assert ece(y, p) == pytest.approx(published_debiased(y, p, np.random.default_rng(0)), abs=2e-3)


def test_bins_equal_scikit_learn_quantile_bins():
    y, p = made_predictions(150)
    share, predicted = calibration_curve(y, p, n_bins=5, strategy="quantile")
    bins = reliability(y, p)
    np.testing.assert_allclose(bins.share, share)
    np.testing.assert_allclose(bins.probability, predicted)
    assert bins.n.tolist() == [30] * 5


@given(st.lists(st.sampled_from([0.1, 0.3, 0.5, 0.9]), min_size=5, max_size=60))
def test_equal_probabilities_share_a_bin_whatever_their_order(values):
    p = np.array(values)
    bins = equal_mass(p)
    assert all(len(set(bins[p == value])) == 1 for value in set(values))
    assert ((bins >= 0) & (bins < 5)).all()


def plugin(y: np.ndarray, p: np.ndarray) -> float:
    bins = reliability(y, p)
    return float((bins.n * np.abs(bins.share - bins.probability)).sum() / len(y))


def test_debiasing_removes_sampling_noise():
    made = [made_predictions(147, seed) for seed in range(200)]
    debiased, raw = (np.mean([float(score(y, p)) for y, p in made]) for score in (ece, plugin))
    assert debiased < 0.7 * raw
    assert debiased < 0.05


def test_overconfidence_increases_the_error():
    y, p = made_predictions(2000, 1)
    sharper = p**3 / (p**3 + (1 - p) ** 3)
    assert ece(y, sharper) > ece(y, p) + 0.05


def test_the_band_contains_a_perfect_model_at_its_nominal_rate():
    inside = 0
    for seed in range(200):
        y, p = made_predictions(147, seed)
        inside += ece(y, p) <= perfect_band(p, np.random.default_rng(seed))[1]
    assert 0.94 <= inside / 200 <= 1  # the upper bound excludes 2.5 %


def test_the_band_narrows_with_more_labels():
    _, few = made_predictions(100)
    _, many = made_predictions(2000)
    rng = np.random.default_rng(0)
    assert perfect_band(many, rng)[1] < perfect_band(few, rng)[1] / 2


def test_a_shifted_prior_is_outside_the_band():
    y, p = made_predictions(400)
    odds = p / (1 - p) * 4
    assert ece(y, odds / (1 + odds)) > perfect_band(p, np.random.default_rng(0))[1]


def test_resamples_are_not_biased_above_the_sample():
    y, p = made_predictions(147, 2)
    weights = np.random.default_rng(0).multinomial(147, np.full(147, 1 / 147), size=2000)
    values = ece(y, p, weights)
    assert values.shape == (2000,)
    assert np.quantile(values, 0.025) <= ece(y, p) <= np.quantile(values, 0.975)


def test_unit_weights_equal_no_weights():
    y, p = made_predictions()
    np.testing.assert_allclose(ece(y, p, np.ones((2, 147))), ece(y, p))
