import numpy as np
import pytest

from moola_pipeline.evaluation.baselines import TYPE_BASELINES, BaselineInputs, fit_type_baseline
from moola_pipeline.metrics.definitions import type_f1_macro


def made_paths(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Paths that fall before the start for retracements and are flat for consolidations."""
    y = np.arange(n) % 2
    drift = np.linspace(3, 0, 45)[None, :] * y[:, None]
    return drift + rng.normal(0, 0.3, (n, 45)) * np.linspace(1, 0, 45), y


def inputs_of(paths: np.ndarray) -> BaselineInputs:
    """The same paths as closes, and as the second of three features."""
    features = np.stack([np.ones_like(paths), paths, paths[::-1]], axis=2)
    return BaselineInputs(paths, features)


@pytest.mark.parametrize("name", TYPE_BASELINES)
def test_every_baseline_finds_a_planted_signal_and_is_deterministic_for_a_seed(name):
    rng = np.random.default_rng(0)
    paths, y = made_paths(80, rng)
    test_paths, labeled = made_paths(40, rng)
    first, second = (
        fit_type_baseline(name, inputs_of(paths), y, 5).predict_proba(inputs_of(test_paths)) for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)
    assert first.shape == (40,)
    assert ((first >= 0) & (first <= 1)).all()
    assert type_f1_macro(labeled, first) > 0.9


@pytest.mark.parametrize("name", TYPE_BASELINES)
def test_baselines_are_at_chance_without_a_signal(name):
    rng = np.random.default_rng(1)
    paths, y = rng.normal(0, 1, (120, 45)), rng.integers(0, 2, 120)
    test_paths, labeled = rng.normal(0, 1, (400, 45)), rng.integers(0, 2, 400)
    p = fit_type_baseline(name, inputs_of(paths), y, 1).predict_proba(inputs_of(test_paths))
    assert type_f1_macro(labeled, p) < 0.58


def test_baselines_can_be_fitted_on_four_labels():
    paths, y = made_paths(4, np.random.default_rng(2))
    y = np.array([0, 0, 0, 1])
    for name in TYPE_BASELINES:
        fitted = fit_type_baseline(name, inputs_of(paths), y, 0)
        assert fitted.predict_proba(inputs_of(paths)).shape == (4,)


def test_an_unknown_baseline_and_a_single_class_are_refused():
    paths, y = made_paths(10, np.random.default_rng(2))
    with pytest.raises(ValueError, match=r"must be one of logistic_45_closes, .*, got oracle"):
        fit_type_baseline("oracle", inputs_of(paths), y, 0)
    with pytest.raises(ValueError, match=r"both types, got classes \[0\]"):
        fit_type_baseline(TYPE_BASELINES[0], inputs_of(paths), y * 0, 0)
