"""Calibration stays near the identity unless many labels contradict it."""

import numpy as np
import pytest
from scipy.optimize import minimize

from moola_pipeline.training.thresholds import MIN_SCALE, STRENGTH, calibrate_near_identity


def drawn(n: int, scale: float, shift: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and answers whose true log-odds are scale * logit + shift."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, n)
    return logits, rng.random(n) < 1 / (1 + np.exp(-(scale * logits + shift)))


def test_two_labels_worked_by_hand():
    # Both logits 0, one label of each class: the identity is already optimal.
    assert calibrate_near_identity(np.zeros(2), np.array([True, False])) == pytest.approx(
        (1.0, 0.0), abs=1e-9
    )


def test_the_result_minimizes_the_penalized_log_loss():
    logits, positive = drawn(110, 1.7, -0.8)

    def penalized(fitted: np.ndarray) -> float:
        scaled = fitted[0] * logits + fitted[1]
        loss = np.logaddexp(0, np.where(positive, -scaled, scaled)).sum()
        return float(loss + STRENGTH * ((fitted[0] - 1) ** 2 + fitted[1] ** 2))

    expected = minimize(penalized, [1.0, 0.0], tol=1e-12).x
    assert calibrate_near_identity(logits, positive) == pytest.approx(tuple(expected), abs=1e-4)


def test_few_labels_have_little_effect_and_many_have_full_effect():
    few, many = (calibrate_near_identity(*drawn(n, 1.8, -1.0)) for n in (30, 100_000))

    assert abs(few[0] - 1) < 0.5 and -0.7 < few[1] < 0
    assert many == pytest.approx((1.8, -1.0), abs=0.05)


@pytest.mark.parametrize("label", [True, False])
def test_with_one_class_calibration_is_the_identity(label: bool):
    assert calibrate_near_identity(np.linspace(-1, 1, 9), np.full(9, label)) == (1.0, 0.0)


def test_the_order_of_the_logits_is_never_reversed():
    logits, positive = drawn(2000, -2.0, 0.5)
    scale, shift = calibrate_near_identity(logits, positive)

    assert scale == MIN_SCALE
    assert np.mean(1 / (1 + np.exp(-(scale * logits + shift)))) == pytest.approx(positive.mean(), abs=0.01)


def test_logits_far_from_zero_do_not_overflow():
    scale, shift = calibrate_near_identity(np.array([-500.0, 500.0, 400.0]), np.array([False, True, False]))

    assert np.isfinite([scale, shift]).all() and scale > 0
