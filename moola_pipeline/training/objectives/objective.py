"""The interface of a pretraining objective, and how each of them reads the encoder's states."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

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
    """Which of the encoder's states are dropped before they are read.

    Attributes:
        share: Of the states, at random.
        generator: Source of the draws; on the device of the network nothing has to wait for them.
        own: Rows of the whole batch that these states are; None for all of them.
        total: Rows of the whole batch; None for as many as there are states.
    """

    share: float
    generator: torch.Generator
    own: slice | None = None
    total: int | None = None


@dataclass(frozen=True)
class BatchShare(Generic[Tensors]):
    """A batch as one process sees it: whole, or its share of what several train on together.

    Attributes:
        bar0: (B,) rows of bar 0 of the whole batch, in memory.
        asked: What is shown and asked of this process's share, on the device; None if the whole batch
            asks nothing.
        own: The share's answers among those of the whole batch.
        total: Answers of the whole batch.
        counts: False where the share is empty: the whole batch stands in for it, so that as many
            random numbers are drawn here as elsewhere, and its loss counts nothing.
    """

    bar0: np.ndarray
    tensors: Tensors | None
    own: slice
    total: int
    counts: bool = True


class Objective(ABC, Generic[Chosen, Batch, Tensors]):
    """A question about unlabeled windows whose answer lies in the bars.

    A batch comes about in two steps. Choosing draws all that is random about it and is cheap, so
    that every process can choose whole batches from one stream of numbers; making draws nothing,
    costs the time, and may be done for some of the windows, in any thread.
    """

    splits: ClassVar[bool] = True
    """Whether the error of a batch is the mean over its windows' answers, each judged by itself."""
    decoder: nn.Module
    """Reads the answer from the encoder's states; it learns with it and is neither counted nor served."""

    @abstractmethod
    def __init__(
        self,
        market: MarketArrays,
        encoder: Encoder,
        train: np.ndarray,
        settings: PretrainSettings,
        rng: np.random.Generator,
        end_row: int,
    ):
        """Fit what needs no encoder.

        Args:
            market: The bar table; no row from `end_row` on is read.
            encoder: Whose scale is taken over.
            train: (n,) rows of bar 0 of the windows to train on.
            settings: Of the pretraining.
            rng: Source of randomness.
            end_row: The first row after the last window, held-out ones included.
        """

    @abstractmethod
    def choose(self, bar0: np.ndarray, rng: np.random.Generator) -> Chosen:
        """Draw what is random about a batch of windows: a NamedTuple with `bar0`, arrays by window."""

    @abstractmethod
    def make(self, chosen: Chosen) -> Batch:
        """What is shown and what is asked of chosen windows, as arrays."""

    @abstractmethod
    def tensors(self, batch: Batch) -> Tensors:
        """What `error` reads of a batch: a NamedTuple of tensors that share the arrays' memory."""

    @abstractmethod
    def error(self, encoder: Encoder, tensors: Tensors, dropout: StateDropout | None = None) -> Tensor:
        """Mean error of the answers to what is asked, on the encoder's device; nothing waits for it."""

    @abstractmethod
    def n_targets(self, chosen: Chosen) -> int:
        """How many answers chosen windows ask for."""

    @abstractmethod
    def baseline_errors(self, batches: Sequence[Batch]) -> dict[str, float]:
        """The same error of guesses that need no encoder."""

    def draw(self, bar0: np.ndarray, rng: np.random.Generator) -> Batch:
        """Choose and make a batch of (B,) windows."""
        return self.make(self.choose(bar0, rng))

    def loss(self, encoder: Encoder, batch: Batch, dropout: StateDropout | None = None) -> Tensor:
        """Mean error of the answers to a batch that lies in memory."""
        return self.error(encoder, on_device(self.tensors(batch), encoder.hidden_bar.device), dropout)


def subset_of(chosen: Chosen, windows: slice) -> Chosen:
    """Some of the windows that were chosen."""
    parts = (part[windows] if isinstance(part, np.ndarray) else part for part in chosen)
    return type(chosen)(*parts)


def on_device(tensors: Tensors, device: torch.device) -> Tensors:
    """The tensors on the device, without a wait for it."""
    return type(tensors)(*(to_device(tensor, device) for tensor in tensors))


def apply_dropout(states: Tensor, dropout: StateDropout | None) -> Tensor:
    """States with a share of them set to 0 and the rest scaled up; unchanged if `dropout` is None.

    The numbers are drawn for the whole batch, whatever part of it these states are.
    """
    if dropout is None:
        return states
    generator, total = dropout.generator, len(states) if dropout.total is None else dropout.total
    drawn = torch.rand((total, *states.shape[1:]), generator=generator, device=generator.device)
    own = drawn if dropout.own is None else drawn[dropout.own]
    return states * (own.to(states.device) >= dropout.share) / (1 - dropout.share)


class Standardizer(NamedTuple):
    """Center and spread of each feature as the encoder has them, in memory: both (F,)."""

    center: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, encoder: Encoder) -> "Standardizer":
        """That of an encoder, copied."""
        return cls(encoder.center.cpu().numpy().copy(), encoder.scale.cpu().numpy().copy())

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Features in units of their training spread; (..., F) to (..., F)."""
        return (features - self.center) / self.scale


def states_before(states: Tensor, row: Tensor, onset: Tensor) -> Tensor:
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
    """Mean of the states of bars first..stop-1: (n, 2H); arguments as in `states_before`."""
    sums = torch.cat([torch.zeros_like(states[:, :1]), states.cumsum(dim=1)], dim=1)
    return (sums[row, stop] - sums[row, first]) / (stop - first)[:, None]


def two_layer_decoder(n_inputs: int, n_units: int, n_outputs: int, seed: int) -> nn.Sequential:
    """A decoder whose first layer is drawn by `seed` and whose answers begin at zero."""
    last = nn.Linear(n_units, n_outputs)
    decoder = nn.Sequential(nn.Linear(n_inputs, n_units), nn.Tanh(), last)
    initialize(decoder, seed)
    nn.init.zeros_(last.weight)
    return decoder


def ridge_error(ridge: np.ndarray, inputs: np.ndarray, targets: np.ndarray) -> float:
    """Mean squared error of `imputation.fit_ridge` coefficients on (n, d) inputs and (n, k) targets."""
    return float(np.mean((inputs @ ridge - targets) ** 2))
