"""Span structure: predict the 78 features of random spans from encoder states."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from moola_pipeline.models.encoder import Encoder, states_of
from moola_pipeline.training.imputation import fit_ridge
from moola_pipeline.training.objectives.objective import (
    Objective,
    Standardizer,
    StateDropout,
    apply_dropout,
    mean_states,
    ridge_error,
    states_before,
    two_layer_decoder,
)
from moola_pipeline.training.settings import PretrainSettings
from moola_pipeline.windows.market_arrays import MarketArrays
from moola_pipeline.windows.span_inputs import N_INPUTS
from moola_pipeline.windows.spans import Spans
from moola_pipeline.windows.window_geometry import CONTEXT_BARS, CORE_FIRST, CORE_LAST

SPANS_A_WINDOW = 4
SHORTEST, LONGEST = 2, 12
"""Length of the spans, bars."""
MAX_TARGET = 4.0
SCALE_WINDOWS = 1000


class SpanChoice(NamedTuple):
    """Windows, first and last bars of their spans, (B, SPANS_A_WINDOW), and mirrored windows, (B,) bool."""

    bar0: np.ndarray
    start: np.ndarray
    end: np.ndarray
    flipped: np.ndarray


class SpanStructureTensors(NamedTuple):
    """Inputs and targets of a `SpanBatch`, attributes as there."""

    features: Tensor
    row: Tensor
    onset: Tensor
    stop: Tensor
    targets: Tensor


@dataclass(frozen=True)
class SpanBatch:
    """Windows, spans in them, and the features of these spans.

    Attributes:
        bar0: (B,) rows of bar 0.
        features: (B, 125, F), mirrored where the spans point down.
        row: (n,) index of each span's window.
        onset, stop: (n,) first bar of the span and the bar after its last, counted in the view.
        targets: (n, 78) standardized and clipped.
        edges: (n, 2 F + 1) standardized features of the bar before the span and of its last bar, and 1.
    """

    bar0: np.ndarray
    features: np.ndarray
    row: np.ndarray
    onset: np.ndarray
    stop: np.ndarray
    targets: np.ndarray
    edges: np.ndarray


class SpanStructure(Objective[SpanChoice, SpanBatch, SpanStructureTensors]):
    """Given random spans, predict their features and those of the bars before them."""

    def __init__(
        self,
        market: MarketArrays,
        encoder: Encoder,
        train: np.ndarray,
        settings: PretrainSettings,
        rng: np.random.Generator,
    ):
        self.market, self.settings, self.standardizer = market, settings, Standardizer.of(encoder)
        self.center, self.scale = np.zeros(N_INPUTS, np.float32), np.ones(N_INPUTS, np.float32)
        raw = self.draw(rng.permutation(train)[:SCALE_WINDOWS], rng, cut=np.inf).targets
        self.center, self.scale = raw.mean(axis=0), np.maximum(raw.std(axis=0), 1e-3)
        sample = self.draw(rng.permutation(train)[:SCALE_WINDOWS], rng)
        self.ridge = fit_ridge(sample.edges, sample.targets)
        self.decoder = two_layer_decoder(8 * settings.hidden_units, 128, N_INPUTS, settings.seed + 1)

    def choose(self, bar0: np.ndarray, rng: np.random.Generator) -> SpanChoice:
        """Draw spans in each window, and the windows to mirror."""
        shape = (len(bar0), SPANS_A_WINDOW)
        start = rng.integers(CORE_FIRST, CORE_LAST + 1, shape)
        end = start + rng.integers(SHORTEST, LONGEST + 1, shape) - 1
        return SpanChoice(bar0, start, end, (rng.random(len(bar0)) < 0.5) & self.settings.mirror)

    def draw(self, bar0: np.ndarray, rng: np.random.Generator, cut: float = MAX_TARGET) -> SpanBatch:
        """Choose and make a batch, with targets clipped at `cut` standard deviations."""
        return self.make(self.choose(bar0, rng), cut)

    def make(self, chosen: SpanChoice, cut: float = MAX_TARGET) -> SpanBatch:
        """Compute the features of the spans."""
        bar0, flipped = chosen.bar0, chosen.flipped
        start, end = chosen.start.ravel(), chosen.end.ravel()
        row = np.repeat(np.arange(len(bar0)), SPANS_A_WINDOW)
        spans = Spans.untyped(row, start, end, np.where(flipped, -1, 1)[row])
        raw = self.market.measure_inputs(bar0, spans)
        targets = np.clip((raw - self.center) / self.scale, -cut, cut)
        features = self.market.feature_views(bar0, flipped)
        onset, stop = start + CONTEXT_BARS, end + CONTEXT_BARS + 1
        standardized = self.standardizer(features)
        ones = np.ones((len(row), 1), np.float32)
        edges = np.concatenate([standardized[row, onset - 1], standardized[row, stop - 1], ones], axis=1)
        return SpanBatch(bar0, features, row, onset, stop, targets, edges)

    def tensors(self, batch: SpanBatch) -> SpanStructureTensors:
        """Inputs and targets of a batch."""
        arrays = batch.features, batch.row, batch.onset, batch.stop, batch.targets
        return SpanStructureTensors(*map(torch.from_numpy, arrays))

    def error(
        self, encoder: Encoder, tensors: SpanStructureTensors, dropout: StateDropout | None = None
    ) -> Tensor:
        """Mean squared error of the 78 features, in training variances."""
        features, row, onset, stop, targets = tensors
        states = states_of(encoder, features, self.settings.gradient_checkpointing)
        inside = mean_states(states, row, onset, stop)
        inputs = torch.cat([states_before(states, row, onset), inside, states[row, stop - 1]], dim=1)
        return torch.nn.functional.mse_loss(self.decoder(apply_dropout(inputs, dropout)), targets)

    def n_targets(self, chosen: SpanChoice) -> int:
        """Number of spans."""
        return chosen.start.size

    def baseline_errors(self, batches: Sequence[SpanBatch]) -> dict[str, float]:
        """Errors of the training mean, and of ridge regression on two bars' features."""
        targets = np.concatenate([batch.targets for batch in batches])
        edges = np.concatenate([batch.edges for batch in batches])
        return {"mean": float(np.mean(targets**2)), "ridge": ridge_error(self.ridge, edges, targets)}
