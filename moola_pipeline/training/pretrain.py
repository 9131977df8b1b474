"""Pretraining: the encoder reconstructs bars that nothing visible was computed from."""

import copy
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch

from moola_pipeline.features.schema import mirrored
from moola_pipeline.models.encoder import Encoder, RidgeDecoder
from moola_pipeline.training.imputation import (
    Hidden,
    edge_inputs,
    fit_ridge,
    imputation_errors,
    locate_hidden,
)
from moola_pipeline.training.losses import require_finite
from moola_pipeline.training.settings import PretrainSettings
from moola_pipeline.windows.frame import CONTEXT_BARS, WINDOW_BARS, gathered, view_rows
from moola_pipeline.windows.repainted import BarArrays, bridge_hidden, hidden_blocks, repainted_features

EMBARGO_BARS = WINDOW_BARS
"""Bars that must lie between the last one trained on and the first one held out."""
MAX_HELD_OUT = 2000
"""Windows at most that choose and judge."""


@dataclass(frozen=True)
class PretrainResult:
    """The encoder and how it was judged on the held-out end of the training period.

    Attributes:
        encoder: In evaluation mode, on the CPU.
        errors: Mean squared error at hidden bars, in training variances, of the encoder with
            its decoder ("encoder") and of each imputation, on windows that had no say in which
            epoch was kept.
        history: One entry an epoch: epoch, train_loss, val_loss (by which it was kept), seconds.
        n_windows: Windows trained on.
        last_row: Last row of the bar table that any window touched.
    """

    encoder: Encoder
    errors: dict[str, float]
    history: list[dict[str, float]] = field(default_factory=list)
    n_windows: int = 0
    last_row: int = 0


@dataclass(frozen=True)
class _Batch:
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


def pretrain(
    bars: BarArrays,
    values: np.ndarray,
    windows: np.ndarray,
    settings: PretrainSettings,
    device: torch.device | str = "cpu",
    on_epoch: Callable[[dict[str, float]], None] = lambda entry: None,
) -> PretrainResult:
    """Train the encoder to reconstruct hidden bars, judged on the last windows of the period.

    Args:
        bars: The bar table; rows beyond the given windows are never read.
        values: (n_bars, F) float32 feature table.
        windows: (n,) rows of bar 0, increasing, all inside the training period.
        settings: See `PretrainSettings`.
        device: Where the network runs.
        on_epoch: Called with each history entry.

    Raises:
        ValueError: If there are too few windows for one batch and a held-out part.
        FloatingPointError: If a loss is not finite; names the windows of the first such batch.
    """
    rng = np.random.default_rng(settings.seed)
    train, choosing, judging = _parts(windows, settings, rng)
    encoder = _new_encoder(values, train, settings)
    ridge = _fitted_ridge(encoder, bars, values, train, settings, rng)
    decoder = _new_decoder(ridge, settings)
    fixed = np.random.default_rng(settings.seed + 1)
    chosen_on = list(_batches(encoder, bars, values, choosing, settings, fixed))
    judged_on = list(_batches(encoder, bars, values, judging, settings, fixed))
    network = torch.nn.ModuleDict({"encoder": encoder, "decoder": decoder}).to(device)
    optimizer = torch.optim.AdamW(
        network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
    )
    dropping = torch.Generator().manual_seed(settings.seed)
    history: list[dict[str, float]] = []
    best_loss, best = float("inf"), {}
    for epoch in range(settings.epochs):
        started = time.perf_counter()
        shown = _batches(encoder, bars, values, rng.permutation(train), settings, rng)
        entry = {
            "epoch": float(epoch),
            "train_loss": _train_epoch(encoder, decoder, optimizer, shown, settings.dropout, dropping),
            "val_loss": _error(encoder, decoder, chosen_on),
        }
        entry["seconds"] = time.perf_counter() - started
        history.append(entry)
        on_epoch(entry)
        if entry["val_loss"] < best_loss:
            best_loss, best = entry["val_loss"], copy.deepcopy(network.state_dict())
    network.load_state_dict(best)
    errors = _imputation_errors(encoder, judged_on, ridge) | {"encoder": _error(encoder, decoder, judged_on)}
    last_row = int(windows.max()) + WINDOW_BARS - 1
    return PretrainResult(encoder.cpu().eval(), errors, history, len(train), last_row)


def _parts(
    windows: np.ndarray, settings: PretrainSettings, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Windows to train on, then those that choose the epoch, then those that judge it."""
    held_out = windows[-max(int(len(windows) * settings.validation_share), 2) :]
    last_bar = windows + WINDOW_BARS - 1
    train = windows[held_out[:1] - CONTEXT_BARS - last_bar > EMBARGO_BARS]
    if len(train) < settings.batch_windows:
        raise ValueError(
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


def _new_encoder(values: np.ndarray, train: np.ndarray, settings: PretrainSettings) -> Encoder:
    encoder = Encoder(settings.hidden_units)
    initialize(encoder, settings.seed)
    rows = view_rows(train[:: max(1, len(train) // 2000)])
    encoder.set_scale(torch.from_numpy(values[rows].reshape(-1, values.shape[1])))
    return encoder


def _new_decoder(ridge: np.ndarray, settings: PretrainSettings) -> RidgeDecoder:
    decoder = RidgeDecoder(settings.hidden_units, len(ridge))
    initialize(decoder.inner, settings.seed + 1)
    decoder.ridge.copy_(torch.from_numpy(ridge))
    return decoder


def initialize(module: torch.nn.Module, seed: int) -> None:
    """Draw every weight uniformly within its fan-in; biases start at zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.dim() > 1:
                bound = parameter.shape[-1] ** -0.5
                parameter.uniform_(-bound, bound, generator=generator)
            else:
                parameter.zero_()


def _fitted_ridge(
    encoder: Encoder,
    bars: BarArrays,
    values: np.ndarray,
    train: np.ndarray,
    settings: PretrainSettings,
    rng: np.random.Generator,
) -> np.ndarray:
    sample = rng.permutation(train)[:1000]
    batches = _batches(encoder, bars, values, sample, settings, rng)
    inputs, targets = zip(*((batch.inputs, batch.targets) for batch in batches), strict=True)
    return fit_ridge(np.concatenate(inputs), np.concatenate(targets))


def _batches(
    encoder: Encoder,
    bars: BarArrays,
    values: np.ndarray,
    windows: np.ndarray,
    settings: PretrainSettings,
    rng: np.random.Generator,
) -> Iterator[_Batch]:
    for i in range(0, len(windows), settings.batch_windows):
        yield _batch(encoder, bars, values, windows[i : i + settings.batch_windows], settings, rng)


def _batch(
    encoder: Encoder,
    bars: BarArrays,
    values: np.ndarray,
    bar0: np.ndarray,
    settings: PretrainSettings,
    rng: np.random.Generator,
) -> _Batch:
    hidden = hidden_blocks(len(bar0), settings.hidden_ratio, settings.block_bars, rng)
    visible, true = hide(bars, values, bar0, hidden)
    if settings.mirror:
        turned = rng.random(len(bar0)) < 0.5
        visible[turned], true[turned] = mirrored(visible[turned]), mirrored(true[turned])
    where = locate_hidden(hidden)
    seen = _standardized(encoder, visible)
    targets = _standardized(encoder, true)[where.window, where.bar]
    return _Batch(bar0, visible, hidden, where, edge_inputs(seen, hidden, where), targets)


def _standardized(encoder: Encoder, features: np.ndarray) -> np.ndarray:
    return (features - encoder.center.cpu().numpy()) / encoder.scale.cpu().numpy()


def _train_epoch(
    encoder: Encoder,
    decoder: RidgeDecoder,
    optimizer: torch.optim.Optimizer,
    shown: Iterable[_Batch],
    dropout: float,
    dropping: torch.Generator,
) -> float:
    """One step a batch; the mean loss."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    rows, losses = [], []
    for batch in shown:
        loss = _loss(encoder, decoder, batch, dropout, dropping)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        rows.append(batch.bar0)
        losses.append(loss.detach())
    by_batch = torch.stack(losses).cpu().numpy()
    require_finite(by_batch, rows)
    return float(by_batch.mean())


def _loss(
    encoder: Encoder,
    decoder: RidgeDecoder,
    batch: _Batch,
    dropout: float = 0.0,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    device = encoder.hidden_bar.device
    hidden = torch.from_numpy(batch.hidden).to(device)
    states = encoder(torch.from_numpy(batch.visible).to(device), hidden)[hidden]  # (n_hidden, 2H)
    if generator is not None:
        kept = torch.rand(states.shape, generator=generator).to(device) >= dropout
        states = states * kept / (1 - dropout)
    guess = decoder(states, torch.from_numpy(batch.inputs).to(device))
    return torch.nn.functional.mse_loss(guess, torch.from_numpy(batch.targets).to(device))


@torch.no_grad()
def _error(encoder: Encoder, decoder: RidgeDecoder, batches: list[_Batch]) -> float:
    """Mean squared error at the hidden bars of all batches."""
    by_batch = np.array([float(_loss(encoder, decoder, batch)) for batch in batches])
    require_finite(by_batch, [batch.bar0 for batch in batches])
    return float(np.average(by_batch, weights=[len(batch.targets) for batch in batches]))


def _imputation_errors(encoder: Encoder, batches: list[_Batch], ridge: np.ndarray) -> dict[str, float]:
    by_batch = [
        imputation_errors(
            _standardized(encoder, batch.visible), batch.where, batch.inputs, ridge, batch.targets
        )
        for batch in batches
    ]
    sizes = [len(batch.targets) for batch in batches]
    return {
        name: float(np.average([errors[name] for errors in by_batch], weights=sizes)) for name in by_batch[0]
    }
