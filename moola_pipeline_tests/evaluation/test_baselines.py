import numpy as np
import pytest

from moola_pipeline.evaluation.baselines import TYPE_BASELINES, BaselineInputs, fit_type_baseline
from moola_pipeline.metrics.definitions import type_f1_macro


def made_paths(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Paths that fall into the start for retracements and stand still for consolidations."""
    y = np.arange(n) % 2
    drift = np.linspace(3, 0, 45)[None, :] * y[:, None]
    return drift + rng.normal(0, 0.3, (n, 45)) * np.linspace(1, 0, 45), y


def seen_of(paths: np.ndarray) -> BaselineInputs:
    """The same paths as closes, and as the second of three features."""
    features = np.stack([np.ones_like(paths), paths, paths[::-1]], axis=2)
    return BaselineInputs(paths, features)


@pytest.mark.parametrize("name", TYPE_BASELINES)
def test_every_peer_finds_a_planted_signal_and_answers_alike_for_a_seed(name):
    rng = np.random.default_rng(0)
    paths, y = made_paths(80, rng)
    asked, labeled = made_paths(40, rng)
    one, again = (
        fit_type_baseline(name, seen_of(paths), y, np.random.default_rng(5)).predict_proba(seen_of(asked))
        for _ in range(2)
    )
    np.testing.assert_array_equal(one, again)
    assert one.shape == (40,)
    assert ((one >= 0) & (one <= 1)).all()
    assert type_f1_macro(labeled, one) > 0.9


@pytest.mark.parametrize("name", TYPE_BASELINES)
def test_peers_do_no_better_than_chance_without_a_signal(name):
    rng = np.random.default_rng(1)
    paths, y = rng.normal(0, 1, (120, 45)), rng.integers(0, 2, 120)
    asked, labeled = rng.normal(0, 1, (400, 45)), rng.integers(0, 2, 400)
    p = fit_type_baseline(name, seen_of(paths), y, rng).predict_proba(seen_of(asked))
    assert type_f1_macro(labeled, p) < 0.58


def test_a_handful_of_labels_is_enough_to_fit_on():
    paths, y = made_paths(4, np.random.default_rng(2))
    y = np.array([0, 0, 0, 1])
    for name in TYPE_BASELINES:
        fitted = fit_type_baseline(name, seen_of(paths), y, np.random.default_rng(0))
        assert fitted.predict_proba(seen_of(paths)).shape == (4,)


def test_an_unknown_peer_or_a_single_class_is_refused():
    paths, y = made_paths(10, np.random.default_rng(2))
    with pytest.raises(ValueError, match=r"must be one of logistic_45_closes, .*, got oracle"):
        fit_type_baseline("oracle", seen_of(paths), y, np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"both types, got classes \[0\]"):
        fit_type_baseline(TYPE_BASELINES[0], seen_of(paths), y * 0, np.random.default_rng(0))
