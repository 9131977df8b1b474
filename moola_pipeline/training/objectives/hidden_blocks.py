"""Hidden blocks: reconstruct bars that nothing visible was computed from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from moola_pipeline.features.schema import mirrored
from moola_pipeline.models.encoder import Encoder, RidgeDecoder, initialize, states_of
from moola_pipeline.training.imputation import (
    Hidden,
    edge_inputs,
    fit_ridge,
    imputation_errors,
    locate_hidden,
)
from moola_pipeline.training.objectives.objective import Objective, Standardizer, StateDropout, apply_dropout
from moola_pipeline.training.settings import PretrainSettings
from moola_pipeline.windows.augmentation import augmented_features, bridge_hidden, hidden_blocks
from moola_pipeline.windows.market_arrays import MarketArrays
from moola_pipeline.windows.window_geometry import VIEW_BARS, gathered

RIDGE_WINDOWS = 1000


class HiddenChoice(NamedTuple):
    """Windows, which of their bars are hidden, (B, 125) bool, and which of them are turned, (B,) bool."""

    bar0: np.ndarray
    hidden: np.ndarray
    turned: np.ndarray


class HiddenTensors(NamedTuple):
    """What the network reads of a `HiddenBatch`.

    Attributes:
        visible, hidden, inputs, targets: As in the batch.
        place: (n_hidden,) where the hidden bars stand among all B * 125: a mask would have to be counted.
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
        inputs: (n_hidden, n_inputs) what the ridge reads of each.
        targets: (n_hidden, F) their true features, standardized.
    """

    bar0: np.ndarray
    visible: np.ndarray
    hidden: np.ndarray
    where: Hidden
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
    return augmented_features(market, bar0, views), gathered(market.features, bar0)


class HiddenBlocks(Objective[HiddenChoice, HiddenBatch, HiddenTensors]):
    """Blocks of bars are hidden; their features are to be told from the bars around them.

    The decoder starts as a ridge regression on what is visible, so all gain is the encoder's.
    """

    decoder: RidgeDecoder

    def __init__(
        self,
        market: MarketArrays,
        encoder: Encoder,
        train: np.ndarray,
        settings: PretrainSettings,
        rng: np.random.Generator,
        end_row: int,
    ):
        self.market, self.settings, self.standardizer = market, settings, Standardizer.of(encoder)
        sample, size = rng.permutation(train)[:RIDGE_WINDOWS], settings.batch_windows
        parts = [self.draw(sample[i : i + size], rng) for i in range(0, len(sample), size)]
        inputs, targets = zip(*((batch.inputs, batch.targets) for batch in parts), strict=True)
        self.ridge = fit_ridge(np.concatenate(inputs), np.concatenate(targets))
        self.decoder = RidgeDecoder(settings.hidden_units, len(self.ridge))
        initialize(self.decoder.inner, settings.seed + 1)
        self.decoder.ridge.copy_(torch.from_numpy(self.ridge))

    def choose(self, bar0: np.ndarray, rng: np.random.Generator) -> HiddenChoice:
        """Draw the hidden blocks of each window, and the windows that are turned."""
        settings = self.settings
        hidden = hidden_blocks(len(bar0), settings.hidden_ratio, settings.block_bars, rng)
        turned = rng.random(len(bar0)) < 0.5 if settings.mirror else np.zeros(len(bar0), bool)
        return HiddenChoice(bar0, hidden, turned)

    def make(self, chosen: HiddenChoice) -> HiddenBatch:
        """Hide the blocks and keep what they held."""
        bar0, hidden, turned = chosen
        visible, true = hide(self.market, bar0, hidden)
        visible[turned], true[turned] = mirrored(visible[turned]), mirrored(true[turned])
        where = locate_hidden(hidden)
        seen = self.standardizer(visible)
        targets = self.standardizer(true)[where.window, where.bar]
        return HiddenBatch(bar0, visible, hidden, where, edge_inputs(seen, hidden, where), targets)

    def tensors(self, batch: HiddenBatch) -> HiddenTensors:
        """What `error` reads of a batch."""
        place = batch.where.window * VIEW_BARS + batch.where.bar
        arrays = batch.visible, batch.hidden, place, batch.inputs, batch.targets
        return HiddenTensors(*map(torch.from_numpy, arrays))

    def error(self, encoder: Encoder, tensors: HiddenTensors, dropout: StateDropout | None = None) -> Tensor:
        """Mean squared error at hidden bars, in training variances."""
        states = states_of(encoder, tensors.visible, self.settings.gradient_checkpointing, tensors.hidden)
        states = states.flatten(0, 1).index_select(0, tensors.place)  # (n_hidden, 2H)
        guess = self.decoder(apply_dropout(states, dropout), tensors.inputs)
        return torch.nn.functional.mse_loss(guess, tensors.targets)

    def n_targets(self, chosen: HiddenChoice) -> int:
        """Hidden bars."""
        return int(chosen.hidden.sum())

    def baseline_errors(self, batches: Sequence[HiddenBatch]) -> dict[str, float]:
        """Errors of mean, last value, interpolation and ridge."""
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
