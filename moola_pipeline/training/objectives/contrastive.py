"""Contrastive objective: find the second, shifted and augmented, view of each window in the batch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from moola_pipeline.features.schema import mirrored
from moola_pipeline.models.encoder import Encoder, initialize, states_of
from moola_pipeline.training.objectives.objective import Objective, StateDropout, apply_dropout, states_before
from moola_pipeline.training.settings import PretrainSettings
from moola_pipeline.windows.augmentation import Noise, apply_noise, augmented_features, draw_noise
from moola_pipeline.windows.dense import crossing_segments
from moola_pipeline.windows.market_arrays import MarketArrays
from moola_pipeline.windows.window_geometry import (
    CONTEXT_BARS,
    CORE_FIRST,
    CORE_LAST,
    WINDOW_BARS,
    gather_rows,
)

MAX_SHIFT = 20
JITTER_ATR, WARP = 0.05, 0.2
TEMPERATURE = 0.1


class ViewChoice(NamedTuple):
    """Windows, shifted windows, row of the anchor bar, mirrored windows, and the noise; all by window."""

    bar0: np.ndarray
    other: np.ndarray
    anchor: np.ndarray
    flipped: np.ndarray
    knots: np.ndarray
    jitter: np.ndarray


class ViewTensors(NamedTuple):
    """Inputs of a `ViewBatch`: both views, (B, 125, F), and both anchor bars, (B,)."""

    features: Tensor
    other_features: Tensor
    onset: Tensor
    other_onset: Tensor


@dataclass(frozen=True)
class ViewBatch:
    """Two views of B windows; the second is shifted and augmented.

    Attributes:
        bar0: (B,) rows of bar 0 of the first view.
        features: Both (B, 125, F).
        onset: Both (B,), the anchor bar counted in the view; the bars before it are contrasted.
    """

    bar0: np.ndarray
    features: tuple[np.ndarray, np.ndarray]
    onset: tuple[np.ndarray, np.ndarray]


class Contrastive(Objective[ViewChoice, ViewBatch, ViewTensors]):
    """Match the bars before an anchor bar across two views: the window, and one with shift, jitter and warp.

    Source:
        Chen, Kornblith, Norouzi and Hinton (2020), ICML: contrast within a batch.
    """

    splits = False  # the loss contrasts all windows of a batch

    def __init__(
        self,
        market: MarketArrays,
        encoder: Encoder,
        train: np.ndarray,
        settings: PretrainSettings,
        rng: np.random.Generator,
        end_row: int,
    ):
        self.market, self.settings, self.end_row = market, settings, end_row
        units = settings.hidden_units
        self.decoder = torch.nn.Sequential(
            torch.nn.Linear(4 * units, 64), torch.nn.ReLU(), torch.nn.Linear(64, 32)
        )
        initialize(self.decoder, settings.seed + 1)

    def choose(self, bar0: np.ndarray, rng: np.random.Generator) -> ViewChoice:
        """Draw shift (0 if it would leave the segment), anchor bar, mirroring and noise of each window."""
        shift = rng.integers(-MAX_SHIFT, MAX_SHIFT + 1, len(bar0))
        other = bar0 + shift
        is_outside = crossing_segments(other, self.market.segment) | (other + WINDOW_BARS > self.end_row)
        other = np.where(is_outside, bar0, other)
        anchor = bar0 + rng.integers(CORE_FIRST, CORE_LAST + 1, len(bar0))
        flipped = (rng.random(len(bar0)) < 0.5) & self.settings.mirror
        return ViewChoice(bar0, other, anchor, flipped, *draw_noise(len(bar0), rng))

    def make(self, chosen: ViewChoice) -> ViewBatch:
        """Compute both views: the window, and the shifted one under jitter and warp."""
        bar0, other, anchor, flipped, *noise = chosen
        atr = self.market.atr[other]
        views = apply_noise(self.market.views(other), atr, JITTER_ATR, WARP, Noise(*noise))
        both = gather_rows(self.market.features, bar0), augmented_features(self.market, other, views)
        for features in both:
            features[flipped] = mirrored(features[flipped])
        onset = anchor - bar0 + CONTEXT_BARS, anchor - other + CONTEXT_BARS
        return ViewBatch(bar0, both, onset)

    def tensors(self, batch: ViewBatch) -> ViewTensors:
        """Inputs of a batch."""
        return ViewTensors(*map(torch.from_numpy, (*batch.features, *batch.onset)))

    def error(self, encoder: Encoder, tensors: ViewTensors, dropout: StateDropout | None = None) -> Tensor:
        """Cross-entropy of finding a window's other view among those of the batch, in both directions."""
        embeddings = []
        for features, onset in (
            (tensors.features, tensors.onset),
            (tensors.other_features, tensors.other_onset),
        ):
            states = states_of(encoder, features, self.settings.gradient_checkpointing)
            row = torch.arange(len(states), device=states.device)
            inputs = states_before(states, row, onset)
            embeddings.append(functional.normalize(self.decoder(apply_dropout(inputs, dropout)), dim=1))
        similarity = embeddings[0] @ embeddings[1].T / TEMPERATURE  # (B, B)
        own = torch.arange(len(similarity), device=similarity.device)
        return (functional.cross_entropy(similarity, own) + functional.cross_entropy(similarity.T, own)) / 2

    def n_targets(self, chosen: ViewChoice) -> int:
        """Number of windows."""
        return len(chosen.bar0)

    def baseline_errors(self, batches: Sequence[ViewBatch]) -> dict[str, float]:
        """Cross-entropy of a uniform guess."""
        sizes = np.array([len(batch.bar0) for batch in batches])
        return {"chance": float(np.average(np.log(sizes), weights=sizes))}
