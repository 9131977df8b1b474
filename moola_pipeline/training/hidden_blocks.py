"""Pretraining task: reconstruct hidden blocks of bars from features that were computed without them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from moola_pipeline.features.schema import mirrored
from moola_pipeline.models.encoder import Encoder, RidgeDecoder, initialize, states_of
from moola_pipeline.training.device import to_device
from moola_pipeline.training.imputation import (
    HiddenBars,
    edge_inputs,
    fit_ridge,
    imputation_errors,
    locate_hidden,
)
from moola_pipeline.training.settings import PretrainSettings
from moola_pipeline.windows.augmentation import augmented_features, bridge_hidden, hidden_blocks
from moola_pipeline.windows.market_arrays import MarketArrays
from moola_pipeline.windows.window_geometry import VIEW_BARS, gather_rows

RIDGE_WINDOWS = 1000


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


class HiddenChoice(NamedTuple):
    """Windows, their hidden bars, (B, 125) bool, and mirrored windows, (B,) bool."""

    bar0: np.ndarray
    hidden: np.ndarray
    flipped: np.ndarray

    def select(self, windows: slice) -> "HiddenChoice":
        """The choice of some of the windows."""
        return HiddenChoice(*(part[windows] for part in self))


class HiddenTensors(NamedTuple):
    """Inputs and targets of a `HiddenBatch`.

    Attributes:
        visible, hidden, inputs, targets: As in the batch.
        place: (n_hidden,) indices of the hidden bars in B * 125; a mask would make the device synchronize.
    """

    visible: Tensor
    hidden: Tensor
    place: Tensor
    inputs: Tensor
    targets: Tensor


@dataclass(frozen=True)
class HiddenBatch:
    """Windows with hidden bars.

    Attributes:
        bar0: (B,) rows of bar 0.
        visible: (B, 125, F) features computed without the hidden bars.
        hidden: (B, 125) bool.
        where: The hidden bars.
        inputs: (n_hidden, n_inputs) inputs of the ridge.
        targets: (n_hidden, F) true features, standardized.
    """

    bar0: np.ndarray
    visible: np.ndarray
    hidden: np.ndarray
    where: HiddenBars
    inputs: np.ndarray
    targets: np.ndarray


def hide(market: MarketArrays, bar0: np.ndarray, hidden: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Features without the hidden bars, and the true features.

    Args:
        market: The bars and their features.
        bar0: (B,) rows of bar 0.
        hidden: (B, 125) bool.

    Returns:
        Two (B, 125, F) arrays; the first does not depend on any price of a hidden bar.
    """
    views = bridge_hidden(market.views(bar0), hidden)
    return augmented_features(market, bar0, views), gather_rows(market.features, bar0)


class HiddenBlocks:
    """Given windows with hidden blocks of bars, predict the features of the hidden bars.

    A batch is built in two steps. `choose` draws all random numbers and is cheap: every process
    chooses whole batches from the same stream. `make` draws nothing, takes the time, and can run on
    part of the windows, in any thread.

    The decoder starts as a ridge regression on visible bars, so every gain is due to the encoder.
    """

    def __init__(
        self,
        market: MarketArrays,
        encoder: Encoder,
        train: np.ndarray,
        settings: PretrainSettings,
        rng: np.random.Generator,
    ):
        """Fit the ridge regression, and start the decoder from it.

        Args:
            market: The bar table.
            encoder: Gives the scale of the features.
            train: (n,) rows of bar 0 of the training windows.
            settings: Settings of pretraining.
            rng: Random generator.
        """
        self.market, self.settings, self.standardizer = market, settings, Standardizer.of(encoder)
        sample, size = rng.permutation(train)[:RIDGE_WINDOWS], settings.batch_windows
        parts = [self.draw(sample[i : i + size], rng) for i in range(0, len(sample), size)]
        inputs, targets = zip(*((batch.inputs, batch.targets) for batch in parts), strict=True)
        self.ridge = fit_ridge(np.concatenate(inputs), np.concatenate(targets))
        decoder = RidgeDecoder(settings.hidden_units, len(self.ridge))
        initialize(decoder.inner, settings.seed + 1)
        decoder.ridge.copy_(torch.from_numpy(self.ridge))
        self.decoder = decoder

    def choose(self, bar0: np.ndarray, rng: np.random.Generator) -> HiddenChoice:
        """Draw the hidden blocks of each window, and the windows to mirror."""
        settings = self.settings
        hidden = hidden_blocks(len(bar0), settings.hidden_ratio, settings.block_bars, rng)
        flipped = rng.random(len(bar0)) < 0.5 if settings.mirror else np.zeros(len(bar0), bool)
        return HiddenChoice(bar0, hidden, flipped)

    def make(self, chosen: HiddenChoice) -> HiddenBatch:
        """Hide the blocks; their true features are the targets."""
        bar0, hidden, flipped = chosen
        visible, true = hide(self.market, bar0, hidden)
        visible[flipped], true[flipped] = mirrored(visible[flipped]), mirrored(true[flipped])
        where = locate_hidden(hidden)
        standardized = self.standardizer(visible)
        targets = self.standardizer(true)[where.window, where.bar]
        return HiddenBatch(bar0, visible, hidden, where, edge_inputs(standardized, hidden, where), targets)

    def draw(self, bar0: np.ndarray, rng: np.random.Generator) -> HiddenBatch:
        """Choose and make a batch of (B,) windows."""
        return self.make(self.choose(bar0, rng))

    def tensors(self, batch: HiddenBatch) -> HiddenTensors:
        """Inputs and targets of a batch as tensors that share the arrays' memory."""
        place = batch.where.window * VIEW_BARS + batch.where.bar
        arrays = batch.visible, batch.hidden, place, batch.inputs, batch.targets
        return HiddenTensors(*map(torch.from_numpy, arrays))

    def error(self, encoder: Encoder, tensors: HiddenTensors, dropout: StateDropout | None = None) -> Tensor:
        """Mean squared error at hidden bars, in training variances, without synchronizing."""
        states = states_of(encoder, tensors.visible, self.settings.gradient_checkpointing, tensors.hidden)
        states = states.flatten(0, 1).index_select(0, tensors.place)  # (n_hidden, 2H)
        prediction = self.decoder(apply_dropout(states, dropout), tensors.inputs)
        return torch.nn.functional.mse_loss(prediction, tensors.targets)

    def n_targets(self, chosen: HiddenChoice) -> int:
        """Number of hidden bars."""
        return int(chosen.hidden.sum())

    def baseline_errors(self, batches: Sequence[HiddenBatch]) -> dict[str, float]:
        """Errors of mean, last value, interpolation and ridge regression."""
        by_batch = [
            imputation_errors(
                self.standardizer(batch.visible),
                batch.where,
                batch.inputs,
                self.ridge,
                batch.targets,
            )
            for batch in batches
        ]
        sizes = [len(batch.targets) for batch in batches]
        return {
            name: float(np.average([errors[name] for errors in by_batch], weights=sizes))
            for name in by_batch[0]
        }


def on_device(tensors: HiddenTensors, device: torch.device) -> HiddenTensors:
    """The tensors on the device, without synchronizing."""
    return HiddenTensors(*(to_device(tensor, device) for tensor in tensors))


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
