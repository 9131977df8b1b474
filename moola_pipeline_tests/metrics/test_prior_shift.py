"""Re-estimation of a class prior without labels."""

import numpy as np
import pytest

from moola_pipeline.metrics.prior_shift import reestimated_prior, with_prior


def drawn(share: float, n: int, seed: int, prior: float) -> tuple[np.ndarray, np.ndarray]:
    """Classes at a share, and probabilities of a perfect model calibrated at `prior`."""
    rng = np.random.default_rng(seed)
    y = rng.random(n) < share
    x = rng.standard_normal(n) + np.where(y, 1.0, -1.0)
    return y, 1 / (1 + np.exp(-(2 * x + np.log(prior / (1 - prior)))))


def test_an_uninformative_probability_becomes_the_new_share():
    """p = 0.5 at prior 0.5 becomes 0.2 at a share of 0.2."""
    assert with_prior(np.array([0.5]), 0.5, 0.2) == pytest.approx(0.2)
    assert with_prior(np.array([0.8]), 0.4, 0.4) == pytest.approx(0.8)


@pytest.mark.parametrize("share", [0.1, 0.23, 0.4, 0.7])
def test_the_new_share_is_estimated_without_labels(share: float):
    y, p = drawn(share, 20_000, 1, prior=0.4)
    assert reestimated_prior(p, 0.4) == pytest.approx(y.mean(), abs=0.015)


def test_a_count_equals_repeating_the_row():
    _, p = drawn(0.3, 500, 2, prior=0.4)
    weights = np.random.default_rng(3).integers(0, 4, 500)
    assert reestimated_prior(p, 0.4, weights) == pytest.approx(reestimated_prior(np.repeat(p, weights), 0.4))


def test_the_corrected_prior_lowers_the_error():
    y, p = drawn(0.23, 20_000, 4, prior=0.43)
    corrected = with_prior(p, 0.43, reestimated_prior(p, 0.43))
    assert np.square(corrected - y).mean() < np.square(p - y).mean()


def test_uninformative_probabilities_leave_the_prior_unchanged():
    assert reestimated_prior(np.full(50, 0.4), 0.4) == pytest.approx(0.4)
