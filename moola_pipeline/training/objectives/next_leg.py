"""Next leg: the window ends at some bar; how does the price go on from there?"""

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
from moola_pipeline.windows.window_geometry import CONTEXT_BARS, VIEW_BARS, WINDOW_BARS, gathered

LEG_NAMES = ("direction", "remaining_move", "log_bars_to_turn", "log_leg_size", "log_leg_bars")
MAX_MOVE = 12.0


class LegChoice(NamedTuple):
    """Windows whose answer is known, those turned, (B,) bool, and how many bars are shown of each."""

    bar0: np.ndarray
    turned: np.ndarray
    n_seen: int


class LegTensors(NamedTuple):
    """What the network reads of a `LegBatch`: (B, n_seen, F) and (B, 5)."""

    features: Tensor
    targets: Tensor


@dataclass(frozen=True)
class LegBatch:
    """Windows cut off behind one bar, and what came after it.

    Attributes:
        bar0: (B,) rows of bar 0, those only after whose last bar two turns are known.
        features: (B, n_seen, F) up to the bar, mirrored where turned.
        targets: (B, 5) LEG_NAMES, standardized.
        last: (B, F + 1) standardized features of the last bar seen, and 1.
    """

    bar0: np.ndarray
    features: np.ndarray
    targets: np.ndarray
    last: np.ndarray


def leg_targets(market: MarketArrays, end_row: int) -> np.ndarray:
    """The zigzag leg after each bar, from bars before `end_row` alone.

    The next turn is the first extreme, confirmed before `end_row`, that stands after the bar; the
    leg leads from it to the turn after that. Both lie in the bar's segment.

    Returns:
        (end_row, 5) float32: +1 where the next turn is a high and -1 where a low, the move to it in
        ATR, the log of the bars to it, the log of the leg's size in ATR, and of its bars; NaN
        where two turns are not known.
    """
    prices, segment = market.prices[:end_row], market.segment[:end_row]
    swings = confirmed_swings(prices, segment, market.tick_points)
    known = np.full((end_row, len(LEG_NAMES)), np.nan, np.float32)
    rows = np.arange(end_row)
    first = np.searchsorted(swings.bar, rows, side="right")
    rows, first = rows[first + 1 < len(swings.bar)], first[first + 1 < len(swings.bar)]
    second = first + 1
    ends_alike = segment[swings.bar[second]] == segment[rows]
    warm = ends_alike & (market.atr[rows] > 0)
    rows, first, second = rows[warm], first[warm], second[warm]
    atr = market.atr[rows].astype(np.float64)
    move = np.clip((swings.price[first] - prices[rows, 3]) / atr, -MAX_MOVE, MAX_MOVE)
    size = np.clip(np.abs(swings.price[second] - swings.price[first]) / atr, 0, MAX_MOVE)
    known[rows] = np.column_stack(
        [
            np.where(swings.is_high[first], 1.0, -1.0),
            move,
            np.log1p(swings.bar[first] - rows),
            np.log1p(size),
            np.log1p(swings.bar[second] - swings.bar[first]),
        ]
    )
    return known


class NextLeg(Objective[LegChoice, LegBatch, LegTensors]):
    """The encoder sees a window up to a bar and nothing later; the leg that follows is to be told."""

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
        told = leg_targets(market, int(train.max()) + WINDOW_BARS)
        self.answers = leg_targets(market, end_row)
        self.answers[: len(told)] = told  # what is trained on looks into no window that is held out
        told = told[np.isfinite(told).all(axis=1)]
        # not centered where a mirrored window has the opposite answer
        self.center = told.mean(axis=0) * np.array([0, 0, 1, 1, 1], np.float32)
        self.scale = np.maximum(np.sqrt(((told - self.center) ** 2).mean(axis=0)), 1e-3)
        sample = [self.draw(rng.permutation(train)[:500], rng) for _ in range(4)]
        self.ridge = fit_ridge(
            np.concatenate([one.last for one in sample]), np.concatenate([one.targets for one in sample])
        )
        self.decoder = two_layer_decoder(4 * settings.hidden_units, 64, len(LEG_NAMES), settings.seed + 1)

    def choose(self, bar0: np.ndarray, rng: np.random.Generator) -> LegChoice:
        """Draw one bar that all windows are cut off behind, from those with 45 bars before them."""
        n_seen = int(rng.integers(BARS_BEFORE_START, VIEW_BARS)) + 1
        turned = (rng.random(len(bar0)) < 0.5) & self.settings.mirror
        known = np.isfinite(self.answers[_last_rows(bar0, n_seen)]).all(axis=1)
        return LegChoice(bar0[known], turned[known], n_seen)

    def make(self, chosen: LegChoice) -> LegBatch:
        """Cut the windows off and tell how it went on."""
        bar0, turned, n_seen = chosen
        targets = self.answers[_last_rows(bar0, n_seen)]
        targets[turned, :2] *= -1
        features = gathered(self.market.features, bar0)[:, :n_seen]
        features[turned] = mirrored(features[turned])
        last = self.standardizer(features[:, -1])
        last = np.concatenate([last, np.ones((len(bar0), 1), np.float32)], axis=1)
        standardizer = ((targets - self.center) / self.scale).astype(np.float32)
        return LegBatch(bar0, features, standardizer, last)

    def tensors(self, batch: LegBatch) -> LegTensors:
        """What `error` reads of a batch."""
        features = torch.from_numpy(np.ascontiguousarray(batch.features))
        return LegTensors(features, torch.from_numpy(batch.targets))

    def error(self, encoder: Encoder, tensors: LegTensors, dropout: StateDropout | None = None) -> Tensor:
        """Mean squared error of the five numbers, in training variances."""
        states = states_of(encoder, tensors.features, self.settings.gradient_checkpointing)
        row = torch.arange(len(states), device=states.device)
        read = states_before(states, row, torch.full_like(row, states.shape[1]))
        guess = self.decoder(apply_dropout(read, dropout))
        return torch.nn.functional.mse_loss(guess, tensors.targets)

    def n_targets(self, chosen: LegChoice) -> int:
        """Windows."""
        return len(chosen.bar0)

    def baseline_errors(self, batches: Sequence[LegBatch]) -> dict[str, float]:
        """Errors of the training mean, and of ridge regression on the last bar's features."""
        targets = np.concatenate([batch.targets for batch in batches])
        last = np.concatenate([batch.last for batch in batches])
        return {"mean": float(np.mean(targets**2)), "ridge": ridge_error(self.ridge, last, targets)}


def _last_rows(bar0: np.ndarray, n_seen: int) -> np.ndarray:
    """The row of the last bar that is shown of each window."""
    return bar0 - CONTEXT_BARS + n_seen - 1
