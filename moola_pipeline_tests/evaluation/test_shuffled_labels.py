import numpy as np
import pytest

from moola_pipeline.evaluation.baselines import BaselineInputs
from moola_pipeline.evaluation.shuffled_labels import permuted_training, shuffled_answers
from moola_pipeline.metrics.scores import ResampledWindows, score_types
from moola_pipeline_tests.evaluation.made_answers import made_ground, made_p


@pytest.fixture(scope="module")
def resampled() -> ResampledWindows:
    return made_ground(resamples=300)


def seen_of(y: np.ndarray, rng: np.random.Generator, signal: float) -> BaselineInputs:
    """45 closes whose drift tells the type as loudly as asked."""
    drift = np.linspace(3, 0, 45)[None, :] * y[:, None] * signal
    return BaselineInputs(drift + rng.normal(0, 0.3, (len(y), 45)), np.zeros((len(y), 45, 1)))


def test_permuted_labels_teach_nothing_however_loud_the_signal(resampled: ResampledWindows):
    rng = np.random.default_rng(0)
    y, labeled = rng.integers(0, 2, 174), resampled.windows.spans.type
    got = permuted_training(resampled, seen_of(y, rng, 1.0), y, seen_of(labeled, rng, 1.0), rng)
    assert got.low < 0 < got.high
    assert got.n == len(labeled)


def test_without_a_signal_the_mean_is_close_to_zero(resampled: ResampledWindows):
    rng = np.random.default_rng(1)
    y, labeled = rng.integers(0, 2, 174), resampled.windows.spans.type
    got = permuted_training(resampled, seen_of(y, rng, 0.0), y, seen_of(labeled, rng, 0.0), rng)
    assert abs(got.estimate) < 0.06
    assert got.low < 0 < got.high


def test_answers_that_leak_past_the_permutation_are_seen(resampled: ResampledWindows):
    """A fault planted: the order of rows gives the label away, so permuting it changes nothing."""

    class Leaking(np.random.Generator):
        def permutation(self, x: np.ndarray) -> np.ndarray:  # type: ignore[override]
            return x

    rng = Leaking(np.random.PCG64(2))
    y, labeled = rng.integers(0, 2, 174), resampled.windows.spans.type
    got = permuted_training(resampled, seen_of(y, rng, 1.0), y, seen_of(labeled, rng, 1.0), rng)
    assert got.low > 0


def test_a_models_answers_dealt_at_random_are_chance_with_its_own_mix(resampled: ResampledWindows):
    rng = np.random.default_rng(3)
    p = made_p(resampled, rng)
    dealt, own = shuffled_answers(resampled, p, rng), score_types(resampled, p)
    share = float(np.mean(resampled.windows.spans.type))
    assert dealt["aucpr_retracement"].estimate == pytest.approx(share, abs=0.05)
    assert abs(dealt["mcc"].estimate) < 0.08
    assert own["type_f1_macro"].minus(dealt["type_f1_macro"]).interval.low > 0
