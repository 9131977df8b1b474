"""The transform equals the published one.

Reference values: in a separate environment (aeon 1.6.0 pins an older pandas and numba),
`aeon.transformations.collection.convolution_based.MiniRocket` was fitted on ONE training series, so
that its random choice of a series is fixed and its biases must be these quantiles. For lengths 20, 30,
45 and 105 and for 252 to 10,000 outputs, all outputs were equal bit for bit; with the published biases
also for 174 training series. The numbers below come from aeon.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moola_pipeline.evaluation.minirocket import KERNELS, MiniRocket

TRAIN = [3, 5, 4, 6, 9, 8, 7, 9, 12, 11, 10, 13, 12, 15, 14, 13, 16, 18, 17, 19]
TEST = (
    [0, 1, 3, 2, 4, 3, 5, 7, 6, 8, 10, 9, 8, 11, 10, 12, 11, 9, 10, 13],
    [9, 7, 8, 6, 5, 6, 4, 3, 5, 4, 2, 3, 1, 2, 0, 1, 3, 2, 4, 5],
)
PLACES = [0, 1, 2, 50, 83, 84, 100, 150, 167, 168, 200, 251]
PUBLISHED = (
    [0.5, 0.95, 0, 0.583333, 0, 0.3, 0.55, 0.666667, 0.083333, 0.75, 0.75, 0],
    [0.85, 0.9, 0.916667, 0.333333, 0, 0.25, 0.75, 0, 0, 1, 1, 0],
)
PUBLISHED_BIASES = [
    -17.514708, -26.514708, 2.154303, 2.874935, 13.351447, 3.124892,
    -4.0, 7.139514, 25.0, -39.985725, -16.456394, 43.293476,
]  # fmt: skip
PUBLISHED_SUM = 248.11667


def fitted() -> MiniRocket:
    return MiniRocket.fit(np.array(TRAIN, float)[None, :, None], n_outputs=252)


def test_dilations_and_biases_by_hand():
    # 3 biases a kernel, dilations 2**0, 2**0.62, 2**1.25 cut to whole bars: 1, 1, 2
    transform = fitted()
    assert transform.dilations.tolist() == [1, 2]
    assert transform.n_biases.tolist() == [2, 1]
    assert transform.biases.shape == (1, 252)
    # kernel 0 weighs 2 at its first three bars and -1 at the six others
    padded = np.concatenate([np.zeros(4), TRAIN, np.zeros(4)])
    weights = np.array([2, 2, 2, -1, -1, -1, -1, -1, -1])
    convolved = [float(weights @ padded[at : at + 9]) for at in range(20)]
    golden = (np.sqrt(5) + 1) / 2
    assert transform.biases[0, 0] == pytest.approx(np.quantile(convolved, golden % 1), rel=1e-5)
    shares = transform(np.array(TRAIN, float)[None, :, None])
    assert shares[0, 0] == pytest.approx(np.mean(np.array(convolved) > transform.biases[0, 0]))


def test_outputs_equal_the_published_transform():
    transform = fitted()
    shares = transform(np.array(TEST, float)[:, :, None])
    np.testing.assert_allclose(transform.biases[0, PLACES], PUBLISHED_BIASES, atol=5e-5)  # float32
    np.testing.assert_allclose(shares[:, PLACES], PUBLISHED, atol=1e-6)
    assert shares.sum() == pytest.approx(PUBLISHED_SUM, abs=1e-3)


def test_there_are_84_kernels_whose_weights_sum_to_zero():
    weights = np.full((84, 9), -1)
    for kernel, places in zip(weights, KERNELS, strict=True):
        kernel[places] = 2
    assert len({tuple(kernel) for kernel in weights}) == 84
    assert (weights.sum(axis=1) == 0).all()


def test_channels_are_transformed_separately():
    rng = np.random.default_rng(0)
    series = rng.normal(size=(7, 45, 2))
    both = MiniRocket.fit(series, n_outputs=2000)(series)
    first, second = (MiniRocket.fit(series[:, :, [i]], n_outputs=1000)(series[:, :, [i]]) for i in (0, 1))
    np.testing.assert_array_equal(both, np.concatenate([first, second], axis=1))


@given(st.integers(0, 2**32 - 1))
def test_a_constant_shift_changes_no_output_without_padding(seed):
    rng = np.random.default_rng(seed)
    series = rng.integers(-9, 9, (4, 30, 1)).astype(float)
    transform = MiniRocket.fit(series, n_outputs=84)
    inner = np.arange(84) % 2 == 1
    moved = transform(series + 16)
    np.testing.assert_array_equal(moved[:, inner], transform(series)[:, inner])


def test_series_shorter_than_a_kernel_are_refused():
    with pytest.raises(ValueError, match="at least 9 bars, got 2 of 8 bars"):
        MiniRocket.fit(np.zeros((2, 8, 1)))
    with pytest.raises(ValueError, match="got 0 of 45 bars"):
        MiniRocket.fit(np.zeros((0, 45, 1)))
