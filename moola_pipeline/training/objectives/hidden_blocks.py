"""Hidden blocks: reconstruct bars that nothing visible was computed from."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from moola_pipeline.features.schema import mirrored
from moola_pipeline.models.encoder import Encoder, RidgeDecoder
from moola_pipeline.training.batches import Source
from moola_pipeline.training.imputation import (
    Hidden,
    edge_inputs,
    fit_ridge,
    imputation_errors,
    locate_hidden,
)
from moola_pipeline.training.initial import initialize
from moola_pipeline.training.objectives.objective import Dropping, dropped, standardized
from moola_pipeline.training.settings import PretrainSettings
from moola_pipeline.windows.frame import gathered
from moola_pipeline.windows.repainted import BarArrays, bridge_hidden, hidden_blocks, repainted_features

RIDGE_WINDOWS = 1000


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


def hide(
    bars: BarArrays, values: np.ndarray, bar0: np.ndarray, hidden: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Features without the hidden bars, and the true features.

    Args:
        bars: The bar table.
        values: (n_bars, F) its feature table.
        bar0: (B,) rows of bar 0.
        hidden: (B, 125) bool.

    Returns:
        Two (B, 125, F) arrays; the first does not depend on any price of a hidden bar.
    """
    views = bridge_hidden(bars.views(bar0), hidden)
    return repainted_features(bars, bar0, views), gathered(values, bar0)


class HiddenBlocks:
    """Blocks of bars are hidden; their features are to be told from the bars around them.

    The decoder starts as a ridge regression on what is visible, so all gain is the encoder's.
    """

    decoder: RidgeDecoder

    def __init__(
        self,
        source: Source,
        encoder: Encoder,
        train: np.ndarray,
        settings: PretrainSettings,
        rng: np.random.Generator,
        end_row: int,
    ):
        self.source, self.encoder, self.settings = source, encoder, settings
        sample, size = rng.permutation(train)[:RIDGE_WINDOWS], settings.batch_windows
        parts = [self.draw(sample[i : i + size], rng) for i in range(0, len(sample), size)]
        inputs, targets = zip(*((batch.inputs, batch.targets) for batch in parts), strict=True)
        self.ridge = fit_ridge(np.concatenate(inputs), np.concatenate(targets))
        self.decoder = RidgeDecoder(settings.hidden_units, len(self.ridge))
        initialize(self.decoder.inner, settings.seed + 1)
        self.decoder.ridge.copy_(torch.from_numpy(self.ridge))

    def draw(self, bar0: np.ndarray, rng: np.random.Generator) -> HiddenBatch:
        """Hide blocks of each window and keep what they held."""
        settings = self.settings
        hidden = hidden_blocks(len(bar0), settings.hidden_ratio, settings.block_bars, rng)
        visible, true = hide(self.source.bars, self.source.values, bar0, hidden)
        if settings.mirror:
            turned = rng.random(len(bar0)) < 0.5
            visible[turned], true[turned] = mirrored(visible[turned]), mirrored(true[turned])
        where = locate_hidden(hidden)
        seen = standardized(self.encoder, visible)
        targets = standardized(self.encoder, true)[where.window, where.bar]
        return HiddenBatch(bar0, visible, hidden, where, edge_inputs(seen, hidden, where), targets)

    def loss(self, encoder: Encoder, batch: HiddenBatch, dropping: Dropping | None = None) -> Tensor:
        """Mean squared error at hidden bars, in training variances."""
        device = encoder.hidden_bar.device
        hidden = torch.from_numpy(batch.hidden).to(device)
        states = encoder(torch.from_numpy(batch.visible).to(device), hidden)[hidden]  # (n_hidden, 2H)
        guess = self.decoder(dropped(states, dropping), torch.from_numpy(batch.inputs).to(device))
        return torch.nn.functional.mse_loss(guess, torch.from_numpy(batch.targets).to(device))

    def size(self, batch: HiddenBatch) -> int:
        """Hidden bars."""
        return len(batch.targets)

    def rival_errors(self, batches: Sequence[HiddenBatch]) -> dict[str, float]:
        """Errors of mean, last value, interpolation and ridge."""
        by_batch = [
            imputation_errors(
                standardized(self.encoder, batch.visible),
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
