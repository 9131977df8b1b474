"""Next leg: predict the zigzag leg after the last visible bar."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from moola_pipeline.features.schema import mirrored
from moola_pipeline.features.zigzag import confirmed_swings
from moola_pipeline.models.encoder import Encoder, states_of
from moola_pipeline.training.imputation import fit_ridge
from moola_pipeline.training.objectives.objective import (
    Objective,
    Standardizer,
    StateDropout,
    apply_dropout,
    ridge_error,
    states_before,
    two_layer_decoder,
)
from moola_pipeline.training.settings import PretrainSettings
from moola_pipeline.windows.context import BARS_BEFORE_START
from moola_pipeline.windows.market_arrays import MarketArrays
from moola_pipeline.windows.window_geometry import CONTEXT_BARS, VIEW_BARS, WINDOW_BARS, gather_rows

LEG_NAMES = ("direction", "remaining_move", "log_bars_to_turn", "log_leg_size", "log_leg_bars")
MAX_MOVE = 12.0


class LegChoice(NamedTuple):
    """Windows with known targets, mirrored ones, (B,) bool, and the number of visible bars of each."""

    bar0: np.ndarray
    flipped: np.ndarray
    n_visible: int


class LegTensors(NamedTuple):
    """Inputs (B, n_visible, F) and targets (B, 5) of a `LegBatch`."""

    features: Tensor
    targets: Tensor


@dataclass(frozen=True)
class LegBatch:
    """Windows cut off after one bar, and the leg after it.

    Attributes:
        bar0: (B,) rows of bar 0 of windows with known targets.
        features: (B, n_visible, F) up to the cut, some mirrored.
        targets: (B, 5) LEG_NAMES, standardized.
        last: (B, F + 1) standardized features of the last visible bar, and 1.
    """

    bar0: np.ndarray
    features: np.ndarray
    targets: np.ndarray
    last: np.ndarray


def leg_targets(market: MarketArrays, end_row: int) -> np.ndarray:
    """The zigzag leg after each bar, computed from bars before `end_row` only.

    The next pivot is the first one after the bar that is confirmed before `end_row`. The leg leads
    from it to the pivot after that. Both lie in the bar's segment.

    Returns:
        (end_row, 5) float32: +1 if the next pivot is a high, -1 if a low; the move to it in ATR; the
        log of the bars to it; the log of the leg's size in ATR; the log of its bars. NaN if one of
        the two pivots is unknown.
    """
    prices, segment = market.prices[:end_row], market.segment[:end_row]
    swings = confirmed_swings(prices, segment, market.tick_points)
    targets = np.full((end_row, len(LEG_NAMES)), np.nan, np.float32)
    rows = np.arange(end_row)
    first = np.searchsorted(swings.bar, rows, side="right")
    rows, first = rows[first + 1 < len(swings.bar)], first[first + 1 < len(swings.bar)]
    second = first + 1
    same_segment = segment[swings.bar[second]] == segment[rows]
    known = same_segment & (market.atr[rows] > 0)
    rows, first, second = rows[known], first[known], second[known]
    atr = market.atr[rows].astype(np.float64)
    move = np.clip((swings.price[first] - prices[rows, 3]) / atr, -MAX_MOVE, MAX_MOVE)
    size = np.clip(np.abs(swings.price[second] - swings.price[first]) / atr, 0, MAX_MOVE)
    targets[rows] = np.column_stack(
        [
            np.where(swings.is_high[first], 1.0, -1.0),
            move,
            np.log1p(swings.bar[first] - rows),
            np.log1p(size),
            np.log1p(swings.bar[second] - swings.bar[first]),
        ]
    )
    return targets


class NextLeg(Objective[LegChoice, LegBatch, LegTensors]):
    """Given a window up to one bar and nothing later, predict the leg that follows."""

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
        train_targets = leg_targets(market, int(train.max()) + WINDOW_BARS)
        self.leg_targets = leg_targets(market, end_row)
        self.leg_targets[: len(train_targets)] = train_targets  # from no bar of a held-out window
        known = train_targets[np.isfinite(train_targets).all(axis=1)]
        # Not centered: a mirrored window has the opposite direction and move.
        self.center = known.mean(axis=0) * np.array([0, 0, 1, 1, 1], np.float32)
        self.scale = np.maximum(np.sqrt(((known - self.center) ** 2).mean(axis=0)), 1e-3)
        sample = [self.draw(rng.permutation(train)[:500], rng) for _ in range(4)]
        self.ridge = fit_ridge(
            np.concatenate([batch.last for batch in sample]),
            np.concatenate([batch.targets for batch in sample]),
        )
        self.decoder = two_layer_decoder(4 * settings.hidden_units, 64, len(LEG_NAMES), settings.seed + 1)

    def choose(self, bar0: np.ndarray, rng: np.random.Generator) -> LegChoice:
        """Draw the number of visible bars of all windows, more than 45, and the windows to mirror."""
        n_visible = int(rng.integers(BARS_BEFORE_START, VIEW_BARS)) + 1
        flipped = (rng.random(len(bar0)) < 0.5) & self.settings.mirror
        known = np.isfinite(self.leg_targets[_last_rows(bar0, n_visible)]).all(axis=1)
        return LegChoice(bar0[known], flipped[known], n_visible)

    def make(self, chosen: LegChoice) -> LegBatch:
        """Cut the windows off; look up their targets."""
        bar0, flipped, n_visible = chosen
        targets = self.leg_targets[_last_rows(bar0, n_visible)]
        targets[flipped, :2] *= -1
        features = gather_rows(self.market.features, bar0)[:, :n_visible]
        features[flipped] = mirrored(features[flipped])
        last = self.standardizer(features[:, -1])
        last = np.concatenate([last, np.ones((len(bar0), 1), np.float32)], axis=1)
        standardized = ((targets - self.center) / self.scale).astype(np.float32)
        return LegBatch(bar0, features, standardized, last)

    def tensors(self, batch: LegBatch) -> LegTensors:
        """Inputs and targets of a batch."""
        features = torch.from_numpy(np.ascontiguousarray(batch.features))
        return LegTensors(features, torch.from_numpy(batch.targets))

    def error(self, encoder: Encoder, tensors: LegTensors, dropout: StateDropout | None = None) -> Tensor:
        """Mean squared error of the five targets, in training variances."""
        states = states_of(encoder, tensors.features, self.settings.gradient_checkpointing)
        row = torch.arange(len(states), device=states.device)
        inputs = states_before(states, row, torch.full_like(row, states.shape[1]))
        prediction = self.decoder(apply_dropout(inputs, dropout))
        return torch.nn.functional.mse_loss(prediction, tensors.targets)

    def n_targets(self, chosen: LegChoice) -> int:
        """Number of windows."""
        return len(chosen.bar0)

    def baseline_errors(self, batches: Sequence[LegBatch]) -> dict[str, float]:
        """Errors of the training mean, and of ridge regression on the last bar's features."""
        targets = np.concatenate([batch.targets for batch in batches])
        last = np.concatenate([batch.last for batch in batches])
        return {"mean": float(np.mean(targets**2)), "ridge": ridge_error(self.ridge, last, targets)}


def _last_rows(bar0: np.ndarray, n_visible: int) -> np.ndarray:
    """The row of the last visible bar of each window."""
    return bar0 - CONTEXT_BARS + n_visible - 1
