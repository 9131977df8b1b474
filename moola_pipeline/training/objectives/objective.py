"""The interface of a pretraining objective, and how each of them reads the encoder's states."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from moola_pipeline.models.encoder import Encoder
from moola_pipeline.training.initial import initialize
from moola_pipeline.windows.before import BARS_BEFORE_START


class Dropping(NamedTuple):
    """Share of the encoder's states that are dropped before they are read, and the source of the draws."""

    share: float
    generator: torch.Generator


class Objective(Protocol):
    """A question about unlabeled windows whose answer lies in the bars."""

    @property
    def decoder(self) -> nn.Module:
        """Reads the answer from the encoder's states.

        It learns with the encoder and is neither counted nor served.
        """
        ...

    def draw(self, bar0: np.ndarray, rng: np.random.Generator) -> Any:
        """A batch of windows, (B,) rows of bar 0, with what is shown and what is asked of them."""
        ...

    def loss(self, encoder: Encoder, batch: Any, dropping: Dropping | None = None) -> Tensor:
        """Mean error of the answers to a batch."""
        ...

    def size(self, batch: Any) -> int:
        """How many answers a batch asks for."""
        ...

    def rival_errors(self, batches: Sequence[Any]) -> dict[str, float]:
        """The same error of guesses that need no encoder."""
        ...


def dropped(states: Tensor, dropping: Dropping | None) -> Tensor:
    """States with a share of them set to 0 and the rest scaled up; unchanged if `dropping` is None."""
    if dropping is None:
        return states
    kept = torch.rand(states.shape, generator=dropping.generator).to(states.device) >= dropping.share
    return states * kept / (1 - dropping.share)


def standardized(encoder: Encoder, features: np.ndarray) -> np.ndarray:
    """Features in units of their training spread, as the encoder has them; (..., F) to (..., F)."""
    return (features - encoder.center.cpu().numpy()) / encoder.scale.cpu().numpy()


def before_states(states: Tensor, row: Tensor, onset: Tensor) -> Tensor:
    """What a classifier reads of the bars before a span: the eve's states, and the mean of 45 bars'.

    Args:
        states: (B, T, 2H).
        row: (n,) index in the batch.
        onset: (n,) bar of the view that the span starts at, > 0.

    Returns:
        (n, 4H).
    """
    first = (onset - BARS_BEFORE_START).clamp_min(0)
    return torch.cat([states[row, onset - 1], mean_states(states, row, first, onset)], dim=1)


def mean_states(states: Tensor, row: Tensor, first: Tensor, stop: Tensor) -> Tensor:
    """Mean of the states of bars first..stop-1: (n, 2H); arguments as in `before_states`."""
    sums = torch.cat([torch.zeros_like(states[:, :1]), states.cumsum(dim=1)], dim=1)
    return (sums[row, stop] - sums[row, first]) / (stop - first)[:, None]


def two_layers(n_inputs: int, n_units: int, n_outputs: int, seed: int) -> nn.Sequential:
    """A decoder whose first layer is drawn by `seed` and whose answers begin at zero."""
    last = nn.Linear(n_units, n_outputs)
    decoder = nn.Sequential(nn.Linear(n_inputs, n_units), nn.Tanh(), last)
    initialize(decoder, seed)
    nn.init.zeros_(last.weight)
    return decoder


def ridge_error(ridge: np.ndarray, inputs: np.ndarray, targets: np.ndarray) -> float:
    """Mean squared error of `imputation.fit_ridge` coefficients on (n, d) inputs and (n, k) targets."""
    return float(np.mean((inputs @ ridge - targets) ** 2))
