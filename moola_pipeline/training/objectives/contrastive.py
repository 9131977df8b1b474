"""Two views: a stretch, seen again in a shifted and disturbed window, is to be known among others."""

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
from moola_pipeline.windows.dense import straddling
from moola_pipeline.windows.market_arrays import MarketArrays
from moola_pipeline.windows.window_geometry import CONTEXT_BARS, CORE_FIRST, CORE_LAST, WINDOW_BARS, gathered

MAX_SHIFT = 20
JITTER_ATR, WARP = 0.05, 0.2
TEMPERATURE = 0.1


class ViewChoice(NamedTuple):
    """Windows, the shifted ones, the row behind the stretch, those turned, and the noise; all by window."""

    bar0: np.ndarray
    other: np.ndarray
    behind: np.ndarray
    turned: np.ndarray
    knots: np.ndarray
    jitter: np.ndarray


class ViewTensors(NamedTuple):
    """What the network reads of a `ViewBatch`: both views, (B, 125, F), and both onsets, (B,)."""

    features: Tensor
    other_features: Tensor
    onset: Tensor
    other_onset: Tensor


@dataclass(frozen=True)
class ViewBatch:
    """Two views of each of B stretches, the second shifted and disturbed.

    Attributes:
        bar0: (B,) rows of bar 0 of the first view.
        features: Both (B, 125, F).
        onset: Both (B,), the bar of the view behind the stretch that is to be known again.
    """

    bar0: np.ndarray
    features: tuple[np.ndarray, np.ndarray]
    onset: tuple[np.ndarray, np.ndarray]


class Contrastive(Objective[ViewChoice, ViewBatch, ViewTensors]):
    """What stood before a bar, in a shifted window under jitter and warp, is to be known again.

    Source:
        Chen, Kornblith, Norouzi and Hinton (2020), ICML: contrast within a batch.
    """

    splits = False  # every window is told from all others of its batch

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
        """Draw a shift of each window where its segment has room, a stretch, a turn and the noise."""
        shift = rng.integers(-MAX_SHIFT, MAX_SHIFT + 1, len(bar0))
        other = bar0 + shift
        leaves = straddling(other, self.market.segment) | (other + WINDOW_BARS > self.end_row)
        other = np.where(leaves, bar0, other)
        behind = bar0 + rng.integers(CORE_FIRST, CORE_LAST + 1, len(bar0))
        turned = (rng.random(len(bar0)) < 0.5) & self.settings.mirror
        return ViewChoice(bar0, other, behind, turned, *draw_noise(len(bar0), rng))

    def make(self, chosen: ViewChoice) -> ViewBatch:
        """Show each window as it is, and again, shifted, under jitter and warp."""
        bar0, other, behind, turned, *noise = chosen
        atr = self.market.atr[other]
        views = apply_noise(self.market.views(other), atr, JITTER_ATR, WARP, Noise(*noise))
        both = gathered(self.market.features, bar0), augmented_features(self.market, other, views)
        for features in both:
            features[turned] = mirrored(features[turned])
        onset = behind - bar0 + CONTEXT_BARS, behind - other + CONTEXT_BARS
        return ViewBatch(bar0, both, onset)

    def tensors(self, batch: ViewBatch) -> ViewTensors:
        """What `error` reads of a batch."""
        return ViewTensors(*map(torch.from_numpy, (*batch.features, *batch.onset)))

    def error(self, encoder: Encoder, tensors: ViewTensors, dropout: StateDropout | None = None) -> Tensor:
        """Cross-entropy of finding a stretch's other view among all of the batch, both ways."""
        seen = []
        for features, onset in (
            (tensors.features, tensors.onset),
            (tensors.other_features, tensors.other_onset),
        ):
            states = states_of(encoder, features, self.settings.gradient_checkpointing)
            row = torch.arange(len(states), device=states.device)
            read = states_before(states, row, onset)
            seen.append(functional.normalize(self.decoder(apply_dropout(read, dropout)), dim=1))
        alike = seen[0] @ seen[1].T / TEMPERATURE  # (B, B)
        itself = torch.arange(len(alike), device=alike.device)
        return (functional.cross_entropy(alike, itself) + functional.cross_entropy(alike.T, itself)) / 2

    def n_targets(self, chosen: ViewChoice) -> int:
        """Stretches."""
        return len(chosen.bar0)

    def baseline_errors(self, batches: Sequence[ViewBatch]) -> dict[str, float]:
        """The cross-entropy of a guess that finds all stretches alike."""
        sizes = np.array([len(batch.bar0) for batch in batches])
        return {"chance": float(np.average(np.log(sizes), weights=sizes))}
