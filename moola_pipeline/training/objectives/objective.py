"""The interface of a pretraining objective, and shared parts: dropout, states and decoders."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from moola_pipeline.models.encoder import Encoder, initialize
from moola_pipeline.training.device import to_device
from moola_pipeline.training.settings import PretrainSettings
from moola_pipeline.windows.context import BARS_BEFORE_START
from moola_pipeline.windows.market_arrays import MarketArrays

Chosen = TypeVar("Chosen", bound=tuple[Any, ...])
Batch = TypeVar("Batch")
Tensors = TypeVar("Tensors", bound=tuple[Tensor, ...])


class StateDropout(NamedTuple):
    """Dropout of encoder states before the decoder.

    Attributes:
        share: Share of the states set to 0.
        generator: Random generator, on the device of the network so that no step synchronizes.
        own: Rows of these states in the whole batch; None: all of it.
        total: Number of rows of the whole batch; None: the number of states.
    """

    share: float
    generator: torch.Generator
    own: slice | None = None
    total: int | None = None


@dataclass(frozen=True)
class BatchShare(Generic[Tensors]):
    """The share of a batch that one process computes; all of it if there is one process.

    Attributes:
        bar0: (B,) rows of bar 0 of the whole batch, in memory.
        tensors: Inputs and targets of the share, on the device.
        own: Slice of the share's targets in those of the whole batch.
        total: Number of targets of the whole batch.
        counts: False if the share is empty. `tensors` then hold the whole batch with loss weight 0,
            so that every process draws as many random numbers.
    """

    bar0: np.ndarray
    tensors: Tensors
    own: slice
    total: int
    counts: bool = True


class Objective(ABC, Generic[Chosen, Batch, Tensors]):
    """A self-supervised task on unlabeled windows.

    A batch is built in two steps. `choose` draws all random numbers and is cheap: every process
    chooses whole batches from the same stream. `make` draws nothing, takes the time, and can run on
    part of the windows, in any thread.
    """

    decoder: nn.Module
    """Predicts targets from encoder states; trained with the encoder, neither counted nor served."""

    @abstractmethod
    def __init__(
        self,
        market: MarketArrays,
        encoder: Encoder,
        train: np.ndarray,
        settings: PretrainSettings,
        rng: np.random.Generator,
    ):
        """Fit scales and baselines, and initialize the decoder.

        Args:
            market: The bar table.
            encoder: Gives the scale of the features.
            train: (n,) rows of bar 0 of the training windows.
            settings: Settings of pretraining.
            rng: Random generator.
        """

    @abstractmethod
    def choose(self, bar0: np.ndarray, rng: np.random.Generator) -> Chosen:
        """Draw the random part of a batch: a NamedTuple with `bar0`, arrays by window."""

    @abstractmethod
    def make(self, chosen: Chosen) -> Batch:
        """Compute inputs and targets of chosen windows, as arrays."""

    @abstractmethod
    def tensors(self, batch: Batch) -> Tensors:
        """Inputs and targets of a batch as tensors that share the arrays' memory."""

    @abstractmethod
    def error(self, encoder: Encoder, tensors: Tensors, dropout: StateDropout | None = None) -> Tensor:
        """Mean error over the targets, so that processes can share a batch, without synchronizing."""

    @abstractmethod
    def n_targets(self, chosen: Chosen) -> int:
        """Number of targets of chosen windows."""

    @abstractmethod
    def baseline_errors(self, batches: Sequence[Batch]) -> dict[str, float]:
        """The same error for baselines without an encoder."""

    def draw(self, bar0: np.ndarray, rng: np.random.Generator) -> Batch:
        """Choose and make a batch of (B,) windows."""
        return self.make(self.choose(bar0, rng))

    def loss(self, encoder: Encoder, batch: Batch, dropout: StateDropout | None = None) -> Tensor:
        """Mean error of a batch in memory."""
        return self.error(encoder, on_device(self.tensors(batch), encoder.hidden_bar.device), dropout)


def subset_of(chosen: Chosen, windows: slice) -> Chosen:
    """The choice of some of the windows."""
    parts = (part[windows] if isinstance(part, np.ndarray) else part for part in chosen)
    return type(chosen)(*parts)


def on_device(tensors: Tensors, device: torch.device) -> Tensors:
    """The tensors on the device, without synchronizing."""
    return type(tensors)(*(to_device(tensor, device) for tensor in tensors))


def apply_dropout(states: Tensor, dropout: StateDropout | None) -> Tensor:
    """Set a share of the states to 0 and scale up the rest; unchanged if `dropout` is None.

    Random numbers are always drawn for the whole batch.
    """
    if dropout is None:
        return states
    generator, total = dropout.generator, len(states) if dropout.total is None else dropout.total
    numbers = torch.rand((total, *states.shape[1:]), generator=generator, device=generator.device)
    own = numbers if dropout.own is None else numbers[dropout.own]
    return states * (own.to(states.device) >= dropout.share) / (1 - dropout.share)


class Standardizer(NamedTuple):
    """Standardizes features with the encoder's mean and standard deviation, (F,), in NumPy."""

    center: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, encoder: Encoder) -> "Standardizer":
        """Copy center and scale of an encoder."""
        return cls(encoder.center.cpu().numpy().copy(), encoder.scale.cpu().numpy().copy())

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Standardized features: (..., F) to (..., F)."""
        return (features - self.center) / self.scale


def states_before(states: Tensor, row: Tensor, onset: Tensor) -> Tensor:
    """Encoder states before a span: of the bar before it, and the mean of 45 bars, as in `Classifier`.

    Args:
        states: (B, T, 2H).
        row: (n,) index in the batch.
        onset: (n,) first bar of the span, counted in the view, > 0.

    Returns:
        (n, 4H).
    """
    first = (onset - BARS_BEFORE_START).clamp_min(0)
    return torch.cat([states[row, onset - 1], mean_states(states, row, first, onset)], dim=1)


def mean_states(states: Tensor, row: Tensor, first: Tensor, stop: Tensor) -> Tensor:
    """Mean of the states of bars first..stop-1: (n, 2H); arguments as in `states_before`."""
    sums = torch.cat([torch.zeros_like(states[:, :1]), states.cumsum(dim=1)], dim=1)
    return (sums[row, stop] - sums[row, first]) / (stop - first)[:, None]


def two_layer_decoder(n_inputs: int, n_units: int, n_outputs: int, seed: int) -> nn.Sequential:
    """A decoder with a random first layer and a zero last layer."""
    last = nn.Linear(n_units, n_outputs)
    decoder = nn.Sequential(nn.Linear(n_inputs, n_units), nn.Tanh(), last)
    initialize(decoder, seed)
    nn.init.zeros_(last.weight)
    return decoder


def ridge_error(ridge: np.ndarray, inputs: np.ndarray, targets: np.ndarray) -> float:
    """Mean squared error of `imputation.fit_ridge` coefficients on (n, d) inputs and (n, k) targets."""
    return float(np.mean((inputs @ ridge - targets) ** 2))
