from dataclasses import replace

import numpy as np
import pytest

from moola_pipeline.evaluation.baselines import BaselineInputs
from moola_pipeline.evaluation.shuffled_labels import permuted_training, shuffled_predictions
from moola_pipeline.metrics.scores import ResampledWindows, score_types
from moola_pipeline.windows.window_geometry import UNTYPED
from moola_pipeline_tests.evaluation.made_answers import made_ground, made_p


@pytest.fixture(scope="module")
def resampled() -> ResampledWindows:
    return made_ground(resamples=300)


def inputs_of(y: np.ndarray, rng: np.random.Generator, signal: float) -> BaselineInputs:
    """45 closes whose drift depends on the type, with the given strength."""
    drift = np.linspace(3, 0, 45)[None, :] * y[:, None] * signal
    return BaselineInputs(drift + rng.normal(0, 0.3, (len(y), 45)), np.zeros((len(y), 45, 1)))


def test_permuted_labels_are_at_chance_even_with_a_strong_signal(resampled: ResampledWindows):
    rng = np.random.default_rng(0)
    y, labeled = rng.integers(0, 2, 174), resampled.windows.spans.type
    got = permuted_training(resampled, inputs_of(y, rng, 1.0), y, inputs_of(labeled, rng, 1.0), rng)
    assert got.low < 0 < got.high
    assert got.n == len(labeled)


def test_without_a_signal_the_mean_is_near_zero(resampled: ResampledWindows):
    rng = np.random.default_rng(1)
    y, labeled = rng.integers(0, 2, 174), resampled.windows.spans.type
    got = permuted_training(resampled, inputs_of(y, rng, 0.0), y, inputs_of(labeled, rng, 0.0), rng)
    assert abs(got.estimate) < 0.06
    assert got.low < 0 < got.high


def test_a_leak_past_the_permutation_is_detected(resampled: ResampledWindows):
    """Injected fault: the permutation changes nothing."""

    class Leaking(np.random.Generator):
        def permutation(self, x: np.ndarray) -> np.ndarray:  # type: ignore[override]
            return x

    rng = Leaking(np.random.PCG64(2))
    y, labeled = rng.integers(0, 2, 174), resampled.windows.spans.type
    got = permuted_training(resampled, inputs_of(y, rng, 1.0), y, inputs_of(labeled, rng, 1.0), rng)
    assert got.low > 0


def test_shuffled_predictions_are_at_chance(resampled: ResampledWindows):
    rng = np.random.default_rng(3)
    p = made_p(resampled, rng)
    shuffled, own = shuffled_predictions(resampled, p, rng), score_types(resampled, p)
    share = float(np.mean(resampled.windows.spans.type))
    assert shuffled["aucpr_retracement"].estimate == pytest.approx(share, abs=0.05)
    assert abs(shuffled["mcc"].estimate) < 0.08
    assert own["type_f1_macro"].minus(shuffled["type_f1_macro"]).interval.low > 0


def test_controls_leave_out_expansions_of_unknown_type(resampled: ResampledWindows):
    spans = resampled.windows.spans
    unknown = np.arange(len(spans.type)) % 3 == 0
    unsure = replace(spans, type=np.where(unknown, UNTYPED, spans.type))
    labeled = replace(resampled, windows=resampled.windows._replace(spans=unsure))
    inputs = inputs_of(spans.type, np.random.default_rng(0), 0.5)
    known = BaselineInputs(inputs.paths[~unknown], inputs.features[~unknown])
    one, other = (
        permuted_training(to, inputs, spans.type, test_inputs, np.random.default_rng(1))
        for to, test_inputs in ((labeled, inputs), (labeled.typed, known))
    )
    assert one == other and one.n == (~unknown).sum()
    p = np.random.default_rng(2).random(len(unknown))
    first, second = (
        shuffled_predictions(to, values, np.random.default_rng(3))["mcc"].estimate
        for to, values in ((labeled, p), (labeled.typed, p[~unknown]))
    )
    assert first == second
