"""Deterministic MiniRocket: shares of positive values after convolution with fixed kernels."""

from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np

N_OUTPUTS = 10_000
MAX_DILATIONS = 32
KERNEL_BARS = 9
KERNELS = np.array(list(combinations(range(KERNEL_BARS), 3)))
"""(84, 3): positions of weight 2 in each kernel; all other weights are -1."""


@dataclass(frozen=True)
class MiniRocket:
    """A transform fitted on training series; channels are transformed separately.

    Attributes:
        dilations: (n_dilations,) bars between the weights of a kernel.
        n_biases: (n_dilations,) biases of each kernel at that dilation.
        biases: (channels, n_outputs) float32, quantiles of the convolved training series.

    Source:
        Dempster, Schmidt and Webb (2021), KDD, "MiniRocket", the deterministic variant: biases are
        quantiles over all training series, not over one random series per kernel. Channels share
        the outputs; the published transform draws random sets of channels instead.
    """

    dilations: np.ndarray
    n_biases: np.ndarray
    biases: np.ndarray

    @classmethod
    def fit(cls, series: np.ndarray, n_outputs: int = N_OUTPUTS) -> "MiniRocket":
        """Choose dilations by the length and biases by the values of the training series.

        Args:
            series: (n, T, channels), T >= 9.
            n_outputs: Approximate total over all channels; at least 84 per channel.

        Raises:
            ValueError: If the series are shorter than a kernel or there are none.
        """
        n, length, channels = np.shape(series)
        if n == 0 or length < KERNEL_BARS:
            raise ValueError(
                f"MiniRocket needs series of at least {KERNEL_BARS} bars, got {n} of {length} bars"
            )
        per_kernel = max(n_outputs // (channels * len(KERNELS)), 1)
        dilations, n_biases = _dilations(length, per_kernel)
        golden = (np.sqrt(5) + 1) / 2
        quantiles = (np.arange(1, len(KERNELS) * per_kernel + 1) * golden % 1).astype(np.float32)
        parts = _by_dilation(quantiles, n_biases)
        biases = [
            np.concatenate(
                [
                    _quantiles(_convolved(channel, dilation).reshape(len(KERNELS), -1), levels).ravel()
                    for dilation, levels in zip(dilations, parts, strict=True)
                ]
            )
            for channel in np.moveaxis(np.asarray(series, np.float32), -1, 0)
        ]
        return cls(dilations, n_biases, np.asarray(biases, np.float32))

    def __call__(self, series: np.ndarray) -> np.ndarray:
        """Shares of values above each bias: (n, T, channels) to (n, channels * n_outputs) float32."""
        by_channel = [
            self._transformed(channel, biases)
            for channel, biases in zip(
                np.moveaxis(np.asarray(series, np.float32), -1, 0), self.biases, strict=True
            )
        ]
        return np.concatenate(by_channel, axis=1)

    def _transformed(self, series: np.ndarray, biases: np.ndarray) -> np.ndarray:
        shares = []
        for number, (dilation, part) in enumerate(
            zip(self.dilations, _by_dilation(biases, self.n_biases), strict=True)
        ):
            convolved = _convolved(series, dilation)  # (84, n, T)
            # Every other kernel uses only positions without padding.
            padding = dilation * (KERNEL_BARS - 1) // 2
            inner = (number + np.arange(len(KERNELS))) % 2 == 1
            share = np.empty((len(KERNELS), part.shape[1], len(series)), np.float32)
            for which, bars in ((~inner, slice(None)), (inner, slice(padding, -padding))):
                values = convolved[which][..., bars]
                for place, bias in enumerate(part[which].T):
                    share[which, place] = (values > bias[:, None, None]).mean(axis=-1)
            shares.append(share.reshape(-1, len(series)))
        return np.concatenate(shares).T


def _quantiles(values: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Quantiles of each row, interpolated linearly: values (k, m) and levels (k, q) to (k, q).

    `np.quantile` takes the same levels for all rows.
    """
    ranked = np.sort(values, axis=1)
    place = levels.astype(np.float64) * (values.shape[1] - 1)
    below = np.floor(place).astype(np.int64)
    low, high = (np.take_along_axis(ranked, at, 1) for at in (below, np.ceil(place).astype(np.int64)))
    return low + (high - low) * (place - below)


def _by_dilation(values: np.ndarray, n_biases: np.ndarray) -> list[np.ndarray]:
    """Split values in output order into one (84, n_biases) block per dilation."""
    stops = np.append(0, np.cumsum(n_biases) * len(KERNELS))
    return [values[a:b].reshape(len(KERNELS), -1) for a, b in pairwise(stops)]


def _dilations(length: int, per_kernel: int) -> tuple[np.ndarray, np.ndarray]:
    """Dilations up to the series length, evenly on a log scale, and the number of biases at each."""
    n_dilations = min(per_kernel, MAX_DILATIONS)
    widest = np.log2((length - 1) / (KERNEL_BARS - 1))
    spread = np.logspace(0, widest, n_dilations, base=2).astype(np.int32)
    dilations, times = np.unique(spread, return_counts=True)
    n_biases = (times * (per_kernel / n_dilations)).astype(np.int32)
    for left_over in range(per_kernel - int(n_biases.sum())):
        n_biases[left_over % len(n_biases)] += 1
    return dilations, n_biases


def _convolved(series: np.ndarray, dilation: int) -> np.ndarray:
    """(n, T) series convolved with every kernel, zero-padded: (84, n, T)."""
    length = series.shape[1]
    reach = dilation * (KERNEL_BARS - 1) // 2
    padded = np.pad(series, ((0, 0), (reach, reach)))
    moved = np.stack([padded[:, at * dilation : at * dilation + length] for at in range(KERNEL_BARS)])
    return 3 * moved[KERNELS].sum(axis=1) - moved.sum(axis=0)
