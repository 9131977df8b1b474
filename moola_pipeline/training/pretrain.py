"""Pretraining: the encoder reconstructs bars that nothing visible was computed from."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field

from moola_pipeline.features.schema import mirrored
from moola_pipeline.models.encoder import Encoder, RidgeDecoder
from moola_pipeline.training.imputation import (
    Hidden,
    edge_inputs,
    fit_ridge,
    imputation_errors,
    locate_hidden,
)
from moola_pipeline.windows.dense import view_rows
from moola_pipeline.windows.frame import PRETRAIN_STRIDE, WINDOW_BARS
from moola_pipeline.windows.repainted import BarArrays, bridge_hidden, hidden_blocks, repainted_features


class PretrainSettings(BaseModel):
    """How the encoder is pretrained."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(0, ge=0, description="of every random choice")
    hidden_units: int = Field(64, ge=4, le=128, description="LSTM units in each direction")
    max_windows: int | None = Field(None, ge=64, description="windows drawn from the tiling; all when empty")
    stride: int = Field(PRETRAIN_STRIDE, ge=1, description="bars from one window to the next")
    epochs: int = Field(15, ge=1)
    batch_windows: int = Field(64, ge=2)
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(1e-2, ge=0)
    dropout: float = Field(0.1, ge=0, lt=1, description="of encoder states, before the decoder")
    hidden_ratio: float = Field(0.4, gt=0, lt=0.8, description="share of each window's bars hidden")
    block_bars: int = Field(10, ge=1, le=40, description="length of a hidden block")
    validation_share: float = Field(
        0.1, gt=0, lt=0.5, description="last part of the training period, by windows"
    )
    mirror: bool = Field(True, description="turn half of the windows upside down")


@dataclass(frozen=True)
class PretrainResult:
    """The encoder and how it was judged on the held-out end of the training period.

    Attributes:
        encoder: In evaluation mode, on the CPU.
        errors: Mean squared error at hidden bars, in training variances, of the encoder with
            its decoder ("encoder") and of each imputation.
        history: One entry an epoch: epoch, train_loss, val_loss, seconds.
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
    return repainted_features(bars, bar0, views), values[view_rows(bar0)]


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
    """
    rng = np.random.default_rng(settings.seed)
    train, held_out = _hold_out(windows, settings, rng)
    encoder = Encoder(settings.hidden_units)
    initialize(encoder, settings.seed)
    rows = view_rows(train[:: max(1, len(train) // 2000)])
    encoder.set_scale(torch.from_numpy(values[rows].reshape(-1, values.shape[1])))
    ridge = _fitted_ridge(encoder, bars, values, train, settings, rng)
    decoder = RidgeDecoder(settings.hidden_units, len(ridge))
    initialize(decoder.inner, settings.seed + 1)
    decoder.ridge.copy_(torch.from_numpy(ridge))
    judging = np.random.default_rng(settings.seed + 1)
    judged_on = list(_batches(encoder, bars, values, held_out, settings, judging))
    errors = _pooled(
        [
            imputation_errors(_standardized(encoder, b.visible), b.where, b.inputs, ridge, b.targets)
            for b in judged_on
        ],
        [len(b.targets) for b in judged_on],
    )
    network = torch.nn.ModuleDict({"encoder": encoder, "decoder": decoder}).to(device)
    optimizer = torch.optim.AdamW(
        network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
    )
    dropping = torch.Generator().manual_seed(settings.seed)
    history: list[dict[str, float]] = []
    best_loss, best = float("inf"), {}
    for epoch in range(settings.epochs):
        started = time.perf_counter()
        losses = []
        for batch in _batches(encoder, bars, values, rng.permutation(train), settings, rng):
            loss = _loss(encoder, decoder, batch, device, settings.dropout, dropping)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            losses.append(loss.detach())
        with torch.no_grad():
            judged = _pooled(
                [{"encoder": float(_loss(encoder, decoder, batch, device))} for batch in judged_on],
                [len(b.targets) for b in judged_on],
            )["encoder"]
        history.append(
            {
                "epoch": epoch,
                "train_loss": float(torch.stack(losses).mean()),
                "val_loss": judged,
                "seconds": time.perf_counter() - started,
            }
        )
        on_epoch(history[-1])
        if judged < best_loss:
            best_loss, best = judged, {k: v.detach().cpu().clone() for k, v in encoder.state_dict().items()}
    encoder = encoder.cpu()
    encoder.load_state_dict(best)
    errors["encoder"] = best_loss
    last_row = int(windows.max()) + WINDOW_BARS - 1
    return PretrainResult(encoder.eval(), errors, history, len(train), last_row)


def _hold_out(
    windows: np.ndarray, settings: PretrainSettings, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The last windows of the period to judge on, and the earlier ones, an embargo apart."""
    n_held = max(int(len(windows) * settings.validation_share), 1)
    first_held = windows[-n_held]
    train = windows[windows + 2 * WINDOW_BARS + 1 <= first_held - (view_rows(np.zeros(1)).min() * -1)]
    if len(train) < settings.batch_windows:
        raise ValueError(
            f"pretraining needs at least one batch of {settings.batch_windows} windows, got {len(train)}. "
            "Register more bars or lower batch_windows."
        )
    held_out = windows[-n_held:]
    if settings.max_windows is not None:
        train = np.sort(rng.permutation(train)[: settings.max_windows])
        held_out = held_out[:: max(1, len(held_out) // max(settings.max_windows // 10, 1))]
    return train, held_out[:2000]


def initialize(module: torch.nn.Module, seed: int) -> None:
    """Draw every weight uniformly within its fan-in; biases start at zero."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        bound = parameter.shape[-1] ** -0.5 if parameter.dim() > 1 else 0.0
        with torch.no_grad():
            parameter.uniform_(-bound, bound, generator=generator) if bound else parameter.zero_()


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
    return _Batch(visible, hidden, where, edge_inputs(seen, hidden, where), targets)


def _standardized(encoder: Encoder, features: np.ndarray) -> np.ndarray:
    return (features - encoder.center.cpu().numpy()) / encoder.scale.cpu().numpy()


def _loss(
    encoder: Encoder,
    decoder: RidgeDecoder,
    batch: _Batch,
    device: torch.device | str,
    dropout: float = 0.0,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    hidden = torch.from_numpy(batch.hidden).to(device)
    states = encoder(torch.from_numpy(batch.visible).to(device), hidden)[hidden]  # (n_hidden, 2H)
    if dropout and generator is not None:
        kept = torch.rand(states.shape, generator=generator).to(device) >= dropout
        states = states * kept / (1 - dropout)
    guess = decoder(states, torch.from_numpy(batch.inputs).to(device))
    return torch.nn.functional.mse_loss(guess, torch.from_numpy(batch.targets).to(device))


def _pooled(parts: list[dict[str, float]], weights: list[int]) -> dict[str, float]:
    return {name: float(np.average([part[name] for part in parts], weights=weights)) for name in parts[0]}
