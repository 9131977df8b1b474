"""Pretraining: the encoder learns to answer a question about unlabeled windows of the training period."""

import copy
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from moola_pipeline.errors import BadInput
from moola_pipeline.models.encoder import Encoder
from moola_pipeline.training.batches import Source
from moola_pipeline.training.checkpoints import Checkpoint, Checkpoints, NumpyDraws, Stateful, TorchDraws
from moola_pipeline.training.initial import initialize
from moola_pipeline.training.losses import require_finite
from moola_pipeline.training.objectives.hidden_blocks import HiddenBlocks
from moola_pipeline.training.objectives.next_leg import NextLeg
from moola_pipeline.training.objectives.objective import Dropping, Objective
from moola_pipeline.training.objectives.span_structure import SpanStructure
from moola_pipeline.training.objectives.two_views import TwoViews
from moola_pipeline.training.prefetch import prefetched
from moola_pipeline.training.settings import ObjectiveName, PretrainSettings
from moola_pipeline.windows.frame import CONTEXT_BARS, WINDOW_BARS, view_rows

EMBARGO_BARS = WINDOW_BARS
"""Bars that must lie between the last one trained on and the first one held out."""
MAX_HELD_OUT = 2000
"""Windows at most that choose and judge."""
OBJECTIVES: dict[ObjectiveName, Callable[..., Objective]] = {
    "hidden_blocks": HiddenBlocks,
    "span_structure": SpanStructure,
    "next_leg": NextLeg,
    "two_views": TwoViews,
}


@dataclass(frozen=True)
class PretrainResult:
    """The encoder and how it was judged on the held-out end of the training period.

    Attributes:
        encoder: In evaluation mode, on the CPU.
        errors: The objective's error, on windows that had no say in which epoch was kept, of the
            encoder with its decoder ("encoder") and of each guess that needs no encoder.
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
    source: Source,
    windows: np.ndarray,
    settings: PretrainSettings,
    device: torch.device | str = "cpu",
    on_epoch: Callable[[dict[str, float]], None] = lambda entry: None,
    checkpoints: Checkpoints | None = None,
) -> PretrainResult:
    """Train the encoder on an objective, judged on the last windows of the period.

    Args:
        source: The bar table; rows beyond the given windows are never read.
        windows: (n,) rows of bar 0, increasing, all inside the training period.
        settings: See `PretrainSettings`.
        device: Where the network runs.
        on_epoch: Called with each history entry.
        checkpoints: Where each epoch is kept until the caller removes them, so that a training that
            was killed goes on from its last epoch, to the same weights; None: nowhere.

    Raises:
        BadInput: If there are too few windows for one batch and a held-out part.
        LossNotFinite: If a loss is not finite; names the windows of the first such batch.
    """
    rng = np.random.default_rng(settings.seed)
    train, choosing, judging = _parts(windows, settings, rng)
    encoder = new_encoder(source.values, train, settings)
    last_row = int(windows.max()) + WINDOW_BARS - 1
    objective = OBJECTIVES[settings.objective](source, encoder, train, settings, rng, last_row + 1)
    fixed = np.random.default_rng(settings.seed + 1)
    size = settings.batch_windows
    chosen_on = list(drawn_batches(objective, choosing, size, fixed))
    judged_on = list(drawn_batches(objective, judging, size, fixed))
    network = torch.nn.ModuleDict({"encoder": encoder, "decoder": objective.decoder}).to(device)
    optimizer = torch.optim.AdamW(
        network.parameters(),
        settings.learning_rate,
        weight_decay=settings.weight_decay,
        fused=torch.device(device).type == "cuda",
    )
    dropping = Dropping(settings.dropout, torch.Generator().manual_seed(settings.seed))
    best = _BestWeights()
    checkpoint = _checkpoint(checkpoints, windows, settings, device)
    parts: dict[str, Stateful] = {
        "network": network,
        "optimizer": optimizer,
        "drawing": NumpyDraws(rng),
        "dropping": TorchDraws(dropping.generator),
        "best": best,
    }
    done = checkpoint.restore(parts)
    for entry in best.history:
        on_epoch(entry)
    for epoch in range(done, settings.epochs):
        started = time.perf_counter()
        shown = prefetched(drawn_batches(objective, rng.permutation(train), size, rng))
        entry = {
            "epoch": float(epoch),
            "train_loss": train_epoch(encoder, objective, optimizer, shown, dropping),
            "val_loss": _error(encoder, objective, chosen_on),
        }
        entry["seconds"] = time.perf_counter() - started
        best.note(entry, network)
        on_epoch(entry)
        checkpoint.keep(epoch + 1, parts)
    network.load_state_dict(best.weights)
    errors = objective.rival_errors(judged_on) | {"encoder": _error(encoder, objective, judged_on)}
    return PretrainResult(encoder.cpu().eval(), errors, best.history, len(train), last_row)


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
) -> Checkpoint:
    """Of this pretraining, keyed by what decides it beside bars and code."""
    if checkpoints is None:
        return Checkpoint()
    return checkpoints.stage("pretraining", settings.model_dump(mode="json"), windows, str(device))


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


def new_encoder(values: np.ndarray, train: np.ndarray, settings: PretrainSettings) -> Encoder:
    """An encoder at random weights, scaled to the features of the windows it will be trained on."""
    encoder = Encoder(settings.hidden_units)
    initialize(encoder, settings.seed)
    rows = view_rows(train[:: max(1, len(train) // 2000)])
    encoder.set_scale(torch.from_numpy(values[rows].reshape(-1, values.shape[1])))
    return encoder


def drawn_batches(
    objective: Objective, windows: np.ndarray, size: int, rng: np.random.Generator
) -> Iterator[Any]:
    """Batches of (n,) windows in their order, each drawn when it is asked for."""
    for i in range(0, len(windows), size):
        yield objective.draw(windows[i : i + size], rng)


def train_epoch(
    encoder: Encoder,
    objective: Objective,
    optimizer: torch.optim.Optimizer,
    shown: Iterable[Any],
    dropping: Dropping,
) -> float:
    """One step a batch; the mean loss."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    rows, losses = [], []
    for batch in shown:
        loss = objective.loss(encoder, batch, dropping)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        rows.append(batch.bar0)
        losses.append(loss.detach())
    by_batch = torch.stack(losses).cpu().numpy()
    require_finite(by_batch, rows)
    return float(by_batch.mean())


@torch.no_grad()
def _error(encoder: Encoder, objective: Objective, batches: list[Any]) -> float:
    """Mean error over all that batches ask."""
    by_batch = np.array([float(objective.loss(encoder, batch)) for batch in batches])
    require_finite(by_batch, [batch.bar0 for batch in batches])
    return float(np.average(by_batch, weights=[objective.size(batch) for batch in batches]))
