"""Pretraining: the encoder learns to answer a question about unlabeled windows of the training period."""

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from moola_pipeline.errors import BadInput
from moola_pipeline.models.encoder import Encoder, initialize
from moola_pipeline.training.checkpoints import Checkpoint, Checkpoints, NumpyDraws, Stateful, TorchDraws
from moola_pipeline.training.device import precision_on
from moola_pipeline.training.objectives.contrastive import Contrastive
from moola_pipeline.training.objectives.hidden_blocks import HiddenBlocks
from moola_pipeline.training.objectives.next_leg import NextLeg
from moola_pipeline.training.objectives.objective import Objective, StateDropout
from moola_pipeline.training.objectives.span_structure import SpanStructure
from moola_pipeline.training.pretraining_loop import (
    HeldOut,
    choices,
    prefetched_batches,
    train_epoch,
)
from moola_pipeline.training.process_group import SINGLE_PROCESS, ProcessGroup
from moola_pipeline.training.settings import ObjectiveName, PretrainSettings
from moola_pipeline.windows.market_arrays import MarketArrays
from moola_pipeline.windows.window_geometry import CONTEXT_BARS, WINDOW_BARS, view_rows

EMBARGO_BARS = WINDOW_BARS
"""Bars that must lie between the last one trained on and the first one held out."""
MAX_HELD_OUT = 2000
"""Windows at most that choose and judge."""
OBJECTIVES: dict[ObjectiveName, type[Objective]] = {
    "hidden_blocks": HiddenBlocks,
    "span_structure": SpanStructure,
    "next_leg": NextLeg,
    "contrastive": Contrastive,
}


@dataclass(frozen=True)
class PretrainResult:
    """The encoder and how it was judged on the held-out end of the training period.

    Attributes:
        encoder: In evaluation mode, on the CPU.
        errors: The objective's error, on windows that had no say in which epoch was kept, of the
            encoder with its decoder ("encoder") and of each guess that needs no encoder; empty in a
            process of a team that does not lead it.
        history: One entry an epoch: epoch, train_loss, val_loss (by which it was kept), seconds.
        n_windows: Windows trained on.
        last_row: Last row of the bar table that any window touched.
    """

    encoder: Encoder
    errors: dict[str, float]
    history: list[dict[str, float]] = field(default_factory=list)
    n_windows: int = 0
    last_row: int = 0


def pretrain(
    market: MarketArrays,
    windows: np.ndarray,
    settings: PretrainSettings,
    device: torch.device | str = "cpu",
    on_epoch: Callable[[dict[str, float]], None] = lambda entry: None,
    checkpoints: Checkpoints | None = None,
    group: ProcessGroup = SINGLE_PROCESS,
) -> PretrainResult:
    """Train the encoder on an objective, judged on the last windows of the period.

    Every process of a team calls this alike. The batches are those of one process, the gradients
    those of whole batches, so that the result is one process's within rounding; with dropout,
    too, where all devices are of one kind, since every process draws for whole batches.

    Args:
        market: The bar table; rows beyond the given windows are never read.
        windows: (n,) rows of bar 0, increasing, all inside the training period.
        settings: See `PretrainSettings`.
        device: Where the network runs.
        on_epoch: Called with each history entry.
        checkpoints: Where each epoch is kept until the caller removes them, so that a training that
            was killed goes on from its last epoch, to the same weights; None: nowhere.
        team: The processes that train together; the one that leads tells of epochs and keeps them.

    Raises:
        BadInput: If there are too few windows for one batch and a held-out part, or the objective
            cannot be split among a team.
        LossNotFinite: If a loss is not finite; names the windows of the first such batch.
    """
    _require_splitting(settings, group)
    rng = np.random.default_rng(settings.seed)
    train, choosing, judging = _parts(windows, settings, rng)
    encoder = new_encoder(market, train, settings)
    last_row = int(windows.max()) + WINDOW_BARS - 1
    objective = OBJECTIVES[settings.objective](market, encoder, train, settings, rng, last_row + 1)
    fixed = np.random.default_rng(settings.seed + 1)
    size = settings.batch_windows
    network = torch.nn.ModuleDict({"encoder": encoder, "decoder": objective.decoder}).to(device)
    chosen_on = HeldOut(objective, choices(objective, choosing, size, fixed), group)
    judged_on = list(choices(objective, judging, size, fixed))
    optimizer = new_optimizer(network, settings)
    dropout = StateDropout(settings.dropout, torch.Generator(device).manual_seed(settings.seed))
    best = _BestWeights()
    checkpoint = _checkpoint(checkpoints, windows, settings, device, group)
    parts: dict[str, Stateful] = {
        "network": network,
        "optimizer": optimizer,
        "drawing": NumpyDraws(rng),
        "dropout": TorchDraws(dropout.generator),
        "best": best,
    }
    done = checkpoint.restore(parts)
    for entry in best.history if group.is_main else []:
        on_epoch(entry)
    for epoch in range(done, settings.epochs):
        started = time.perf_counter()
        shown = prefetched_batches(objective, rng.permutation(train), size, rng, group)
        entry = {
            "epoch": float(epoch),
            "train_loss": train_epoch(encoder, objective, optimizer, shown, dropout, group),
            "val_loss": chosen_on.error(encoder),
        }
        entry["seconds"] = time.perf_counter() - started
        best.note(entry, network)
        if group.is_main:
            on_epoch(entry)
            checkpoint.keep(epoch + 1, parts)
    network.load_state_dict(best.weights)
    errors = _judged(encoder, objective, judged_on) if group.is_main else {}
    return PretrainResult(encoder.cpu().eval(), errors, best.history, len(train), last_row)


def _require_splitting(settings: PretrainSettings, group: ProcessGroup) -> None:
    if group.size == 1:
        return
    if not OBJECTIVES[settings.objective].splits:
        raise BadInput(
            f"{settings.objective} tells each window from all others of its batch, so it is trained in one "
            f"process, got {group.size}. Set processes to 1, or choose another objective."
        )
    if settings.batch_windows < group.size:
        raise BadInput(
            f"batch_windows must be at least one for each of {group.size} processes, got "
            f"{settings.batch_windows}. Raise batch_windows or start fewer processes."
        )


class _BestWeights:
    """The history, and the weights of its epoch with the lowest validation loss."""

    def __init__(self) -> None:
        self.history: list[dict[str, float]] = []
        self.weights: dict[str, torch.Tensor] = {}
        self.loss = float("inf")

    def note(self, entry: dict[str, float], network: torch.nn.Module) -> None:
        """Take the epoch that just ended into account."""
        self.history.append(entry)
        if entry["val_loss"] < self.loss:
            self.loss, self.weights = entry["val_loss"], copy.deepcopy(network.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """All of it."""
        return dict(vars(self))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from that state."""
        vars(self).update(state_dict)


def _checkpoint(
    checkpoints: Checkpoints | None,
    windows: np.ndarray,
    settings: PretrainSettings,
    device: torch.device | str,
    group: ProcessGroup,
) -> Checkpoint:
    """Of this pretraining, keyed by what decides it to the last bit beside bars and code."""
    if checkpoints is None:
        return Checkpoint()
    device = torch.device(device).type
    decides = settings.model_dump(mode="json"), windows, device, precision_on(device), group.size
    return checkpoints.stage("pretraining", *decides)


def _parts(
    windows: np.ndarray, settings: PretrainSettings, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Windows to train on, then those that choose the epoch, then those that judge it."""
    held_out = windows[-max(int(len(windows) * settings.validation_share), 2) :]
    last_bar = windows + WINDOW_BARS - 1
    train = windows[held_out[:1] - CONTEXT_BARS - last_bar > EMBARGO_BARS]
    if len(train) < settings.batch_windows:
        raise BadInput(
            f"pretraining needs at least one batch of {settings.batch_windows} windows, got {len(train)}. "
            "Register more bars or lower batch_windows."
        )
    n_held = MAX_HELD_OUT
    if settings.max_windows is not None:
        train = np.sort(rng.permutation(train)[: settings.max_windows])
        n_held = min(n_held, settings.max_windows // 10)
    held_out = held_out[np.linspace(0, len(held_out) - 1, min(n_held, len(held_out))).astype(int)]
    half = len(held_out) // 2
    return train, held_out[:half], held_out[half:]


def new_encoder(market: MarketArrays, train: np.ndarray, settings: PretrainSettings) -> Encoder:
    """An encoder at random weights, scaled to the features of the windows it will be trained on."""
    encoder = Encoder(settings.hidden_units)
    initialize(encoder, settings.seed)
    rows = view_rows(train[:: max(1, len(train) // 2000)])
    encoder.set_scale(torch.from_numpy(market.features[rows].reshape(-1, market.features.shape[1])))
    return encoder


def new_optimizer(network: torch.nn.Module, settings: PretrainSettings) -> torch.optim.Optimizer:
    """AdamW, in one kernel where the network lies on a GPU."""
    parameters = list(network.parameters())
    return torch.optim.AdamW(
        parameters,
        settings.learning_rate,
        weight_decay=settings.weight_decay,
        fused=parameters[0].is_cuda,
    )


def _judged(encoder: Encoder, objective: Objective, chosen: list[Any]) -> dict[str, float]:
    """Errors on the batches that had no say: of guesses that need no encoder, and of the encoder."""
    method_rows = objective.baseline_errors([objective.make(one) for one in chosen])
    return method_rows | {"encoder": HeldOut(objective, chosen, SINGLE_PROCESS).error(encoder)}
