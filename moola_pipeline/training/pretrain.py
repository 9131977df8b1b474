"""Pretraining: train the encoder to reconstruct hidden bars."""

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from moola_pipeline.errors import BadInput
from moola_pipeline.models.encoder import Encoder, initialize
from moola_pipeline.training.checkpoints import (
    Checkpoint,
    Checkpoints,
    NumpyGenerator,
    Stateful,
    TorchGenerator,
)
from moola_pipeline.training.device import precision_on
from moola_pipeline.training.hidden_blocks import HiddenBlocks, HiddenChoice, StateDropout
from moola_pipeline.training.optimizer import AdamW
from moola_pipeline.training.pretraining_loop import (
    HeldOut,
    choices,
    prefetched_batches,
    train_epoch,
)
from moola_pipeline.training.process_group import SINGLE_PROCESS, ProcessGroup
from moola_pipeline.training.settings import PretrainSettings
from moola_pipeline.windows.market_arrays import MarketArrays
from moola_pipeline.windows.window_geometry import CONTEXT_BARS, WINDOW_BARS, view_rows

EMBARGO_BARS = WINDOW_BARS
"""Least number of bars between the last training bar and the first held-out bar."""
MAX_HELD_OUT = 2000
"""Most held-out windows: half select the epoch, half test it."""


@dataclass(frozen=True)
class PretrainResult:
    """The encoder and its errors on the held-out end of the training period.

    Attributes:
        encoder: In evaluation mode, on the CPU.
        errors: The mean squared error on windows that did not select the epoch: of encoder and
            decoder ("encoder") and of each baseline without an encoder. Empty unless this is the
            main process.
        history: One entry an epoch: epoch, train_loss, val_loss (selects the epoch), seconds.
        n_windows: Number of training windows.
        last_row: Last row of the bar table in any window.
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
    """Train the encoder on hidden blocks; hold out the last windows of the period.

    Every process of a group makes this same call. Batches do not depend on the number of processes
    and gradients cover whole batches, so the result is that of one process within rounding. Every
    process draws dropout for whole batches, so this includes dropout if all devices are of one kind.

    Args:
        market: The bar table; rows beyond the given windows are never read.
        windows: (n,) rows of bar 0, increasing, all inside the training period.
        settings: See `PretrainSettings`.
        device: Device of the network.
        on_epoch: Called with each history entry, in the main process.
        checkpoints: Folder of the checkpoints, from which a killed training resumes to the same
            weights. The caller removes them. None: no checkpoints.
        group: The processes that train together; the main one reports and saves epochs.

    Raises:
        BadInput: If there are too few windows for one batch and a held-out part, or the group has
            more processes than a batch has windows.
        LossNotFinite: If a loss is not finite; names the windows of the first such batch.
    """
    if settings.batch_windows < group.size:
        raise BadInput(
            f"batch_windows must be at least the number of processes ({group.size}), got "
            f"{settings.batch_windows}. Raise batch_windows or start fewer processes."
        )
    rng = np.random.default_rng(settings.seed)
    train, selection, test = _split(windows, settings, rng)
    encoder = new_encoder(market, train, settings)
    task = HiddenBlocks(market, encoder, train, settings, rng)
    held_out_rng = np.random.default_rng(settings.seed + 1)
    size = settings.batch_windows
    network = torch.nn.ModuleDict({"encoder": encoder, "decoder": task.decoder}).to(device)
    selection_batches = HeldOut(task, choices(task, selection, size, held_out_rng), group)
    test_choices = list(choices(task, test, size, held_out_rng))
    optimizer = new_optimizer(network, settings)
    dropout = StateDropout(settings.dropout, torch.Generator(device).manual_seed(settings.seed))
    best = _BestWeights()
    checkpoint = _checkpoint(checkpoints, windows, settings, device, group)
    parts: dict[str, Stateful] = {
        "network": network,
        "optimizer": optimizer,
        "drawing": NumpyGenerator(rng),
        "dropout": TorchGenerator(dropout.generator),
        "best": best,
    }
    n_done = checkpoint.restore(parts)
    for entry in best.history if group.is_main else []:
        on_epoch(entry)
    for epoch in range(n_done, settings.epochs):
        started = time.perf_counter()
        batches = prefetched_batches(task, rng.permutation(train), size, rng, group)
        entry = {
            "epoch": float(epoch),
            "train_loss": train_epoch(encoder, task, optimizer, batches, dropout, group),
            "val_loss": selection_batches.error(encoder),
        }
        entry["seconds"] = time.perf_counter() - started
        best.note(entry, network)
        if group.is_main:
            on_epoch(entry)
            checkpoint.keep(epoch + 1, parts)
    network.load_state_dict(best.weights)
    errors = _test_errors(encoder, task, test_choices) if group.is_main else {}
    last_row = int(windows.max()) + WINDOW_BARS - 1
    return PretrainResult(encoder.cpu().eval(), errors, best.history, len(train), last_row)


class _BestWeights:
    """The history, and the weights of the epoch with the lowest validation loss."""

    def __init__(self) -> None:
        self.history: list[dict[str, float]] = []
        self.weights: dict[str, torch.Tensor] = {}
        self.loss = float("inf")

    def note(self, entry: dict[str, float], network: torch.nn.Module) -> None:
        """Add the epoch that just ended; keep its weights if it is the best."""
        self.history.append(entry)
        if entry["val_loss"] < self.loss:
            self.loss, self.weights = entry["val_loss"], copy.deepcopy(network.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """History, best weights and their loss."""
        return dict(vars(self))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore that state."""
        vars(self).update(state_dict)


def _checkpoint(
    checkpoints: Checkpoints | None,
    windows: np.ndarray,
    settings: PretrainSettings,
    device: torch.device | str,
    group: ProcessGroup,
) -> Checkpoint:
    """The checkpoint of this pretraining; its key covers everything that decides the weights."""
    if checkpoints is None:
        return Checkpoint()
    device = torch.device(device).type
    key_parts = settings.model_dump(mode="json"), windows, device, precision_on(device), group.size
    return checkpoints.stage("pretraining", *key_parts)


def _split(
    windows: np.ndarray, settings: PretrainSettings, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Training windows, windows that select the epoch, and windows that test it."""
    held_out = windows[-max(int(len(windows) * settings.validation_share), 2) :]
    last_bar = windows + WINDOW_BARS - 1
    train = windows[held_out[:1] - CONTEXT_BARS - last_bar > EMBARGO_BARS]
    if len(train) < settings.batch_windows:
        raise BadInput(
            f"pretraining needs at least {settings.batch_windows} windows (one batch), got {len(train)}. "
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
    """An encoder with random weights, scaled to the features of the training windows."""
    encoder = Encoder(settings.hidden_units)
    initialize(encoder, settings.seed)
    rows = view_rows(train[:: max(1, len(train) // 2000)])
    encoder.set_scale(torch.from_numpy(market.features[rows].reshape(-1, market.features.shape[1])))
    return encoder


def new_optimizer(network: torch.nn.Module, settings: PretrainSettings) -> torch.optim.Optimizer:
    """AdamW; fused into one kernel if the network is on a GPU."""
    parameters = list(network.parameters())
    return AdamW(
        parameters,
        settings.learning_rate,
        weight_decay=settings.weight_decay,
        fused=parameters[0].is_cuda,
    )


def _test_errors(encoder: Encoder, task: HiddenBlocks, test_choices: list[HiddenChoice]) -> dict[str, float]:
    """Errors on the test batches, of the encoder and of each baseline without one."""
    baselines = task.baseline_errors([task.make(choice) for choice in test_choices])
    return baselines | {"encoder": HeldOut(task, test_choices, SINGLE_PROCESS).error(encoder)}
