"""Fine-tuning: from a pretrained encoder and a few hundred labels to a classifier."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch.utils.data import WeightedRandomSampler

from moola_pipeline.features.schema import mirrored
from moola_pipeline.models.classifier import Classifier, Spans
from moola_pipeline.models.encoder import Encoder
from moola_pipeline.training.examples import N_KINDS, Examples
from moola_pipeline.training.losses import TASKS, TaskWeights, binary_loss, pointer_loss
from moola_pipeline.training.pretrain import initialize
from moola_pipeline.windows.dense import view_rows
from moola_pipeline.windows.frame import encode_span
from moola_pipeline.windows.repainted import BarArrays, augmented, repainted_features


class FinetuneSettings(BaseModel):
    """How the classifier is fine-tuned."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seeds: tuple[int, ...] = Field((0, 1, 2, 3, 4), min_length=1, description="one training each")
    head_units: int = Field(32, ge=2, le=64)
    dropout: float = Field(0.5, ge=0, lt=1)
    epochs: int = Field(40, ge=1)
    patience: int = Field(12, ge=1, description="epochs without a better validation loss before it stops")
    batch_windows: int = Field(32, ge=2, le=64)
    learning_rate: float = Field(1e-3, gt=0, description="of the heads")
    encoder_learning_rate: float = Field(3e-4, gt=0, description="of the encoder, once unfrozen")
    weight_decay: float = Field(1e-2, ge=0)
    frozen_epochs: int = Field(4, ge=0, description="epochs before the encoder learns too")
    jitter_atr: float = Field(0.03, ge=0, description="noise on prices, ATR")
    warp: float = Field(0.2, ge=0, description="spread of the magnitude warp")
    balanced: bool = Field(True, description="draw consolidation, retracement and empty windows alike")
    proposal_beta: float = Field(4.0, gt=0, description="how much more the proposing rule weighs recall")
    min_class_share: float = Field(
        0.05, ge=0, le=0.5, description="least share of each type among validation answers"
    )


@dataclass(frozen=True)
class FinetuneResult:
    """One seed's classifier, and how it got there.

    Attributes:
        classifier: In evaluation mode, on the CPU, at its best validation epoch.
        history: One entry an epoch: epoch, train_loss, val_loss, val_type, val_expansion,
            share_<task>, seconds.
        best_epoch: Index of the epoch whose weights were kept.
    """

    classifier: Classifier
    history: list[dict[str, float]]
    best_epoch: int


@dataclass(frozen=True)
class Batch:
    """A batch on the device: features (B, 125, F), bar targets, spans and what is known of them."""

    features: torch.Tensor
    bar_target: torch.Tensor
    bar_known: torch.Tensor
    spans: Spans
    expansion: torch.Tensor
    type: torch.Tensor
    center: torch.Tensor
    length: torch.Tensor


def sampling_weights(examples: Examples, balanced: bool) -> np.ndarray:
    """Chance of each training row to be drawn: (n_rows,), sums to 1; each kind alike if balanced."""
    counts = np.bincount(examples.kind, minlength=N_KINDS)
    weights = 1 / counts[examples.kind] if balanced else np.ones(len(examples.kind))
    return weights / weights.sum()


def expected_priors(examples: Examples, weights: np.ndarray) -> dict[str, float]:
    """Share of positive targets that each loss will see when rows are drawn by `weights`."""
    spans = examples.spans
    row_weight = weights[spans.row]
    bars = (weights[:, None] * examples.bar_known * examples.bar_target).sum()
    shares = {"bars": bars / (weights[:, None] * examples.bar_known).sum()}
    for task, target in (("expansion", spans.expansion), ("type", spans.type)):
        known = target >= 0
        shares[task] = (row_weight * (target == 1))[known].sum() / row_weight[known].sum()
    return {task: float(share) for task, share in shares.items()}


def finetune(
    encoder: Encoder,
    bars: BarArrays,
    values: np.ndarray,
    atr: np.ndarray,
    train: Examples,
    validation: Examples,
    settings: FinetuneSettings,
    seed: int,
    device: torch.device | str = "cpu",
    on_epoch: Callable[[dict[str, float]], None] = lambda entry: None,
) -> FinetuneResult:
    """Train one classifier on `train`, keep the epoch with the lowest log-loss on `validation`.

    Args:
        encoder: Pretrained; it is copied, not changed.
        bars: The bar table that both sets lie in.
        values: (n_bars, F) its feature table.
        atr: (n_bars,) its ATR, index points.
        train, validation: Rows from `make_examples`.
        settings: See `FinetuneSettings`.
        seed: Of initial weights, drawing, augmentation and dropout.
        device: Where the network runs.
        on_epoch: Called with each history entry.

    Raises:
        ValueError: If a class is missing from the training rows, or there is less than a batch.
        FloatingPointError: If the loss is not finite; names the windows of the batch.
    """
    _check(train, settings)
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    classifier = _new_classifier(encoder, train, settings, seed).to(device)
    task_weights = TaskWeights().to(device)
    heads = [p for name, p in classifier.named_parameters() if not name.startswith("encoder.")]
    heads += list(task_weights.parameters())
    learned = list(classifier.encoder.parameters())
    optimizer = torch.optim.AdamW(
        [
            {"params": heads, "lr": settings.learning_rate},
            {"params": learned, "lr": settings.encoder_learning_rate},
        ],
        weight_decay=settings.weight_decay,
    )
    weights = sampling_weights(train, settings.balanced)
    drawing = torch.Generator().manual_seed(seed)
    judged_on = _batches(bars, values, atr, validation, np.arange(len(validation.kind)), 128, device)
    history: list[dict[str, float]] = []
    best_loss, best_epoch, best = float("inf"), 0, {}
    for epoch in range(settings.epochs):
        started = time.perf_counter()
        for parameter in learned:
            parameter.requires_grad_(epoch >= settings.frozen_epochs)
        classifier.train()
        drawn = np.array(list(WeightedRandomSampler(weights.tolist(), len(train.kind), generator=drawing)))
        entry = {"epoch": float(epoch)}
        terms = []
        for batch in _batches(
            bars, values, atr, train, drawn, settings.batch_windows, device, (settings, rng)
        ):
            total, parts = task_weights(losses(classifier, batch))
            optimizer.zero_grad(set_to_none=True)
            total.backward()
            torch.nn.utils.clip_grad_norm_([*heads, *learned], 1.0)
            optimizer.step()
            terms.append(torch.stack([parts[task] for task in TASKS] + [total.detach()]))
        mean = torch.stack(terms).mean(dim=0).cpu().numpy()
        if not np.isfinite(mean).all():
            first = ", ".join(map(str, train.bar0[drawn[:5]]))
            raise FloatingPointError(
                f"the loss must be finite, got {mean[-1]} in epoch {epoch} (rows {first}...)"
            )
        entry["train_loss"] = float(mean[-1])
        entry |= {f"share_{task}": float(mean[i] / mean[:-1].sum()) for i, task in enumerate(TASKS)}
        entry |= _judge(classifier, judged_on)
        entry["seconds"] = time.perf_counter() - started
        history.append(entry)
        on_epoch(entry)
        if entry["val_loss"] < best_loss:
            best_loss, best_epoch = entry["val_loss"], epoch
            best = {name: tensor.detach().cpu().clone() for name, tensor in classifier.state_dict().items()}
        if epoch - best_epoch >= settings.patience and epoch > settings.frozen_epochs:
            break
    classifier = classifier.cpu()
    classifier.load_state_dict(best)
    return FinetuneResult(classifier.eval().requires_grad_(True), history, best_epoch)


def losses(classifier: Classifier, batch: Batch) -> dict[str, torch.Tensor]:
    """The loss of each task on a batch."""
    bar_logits, heads = classifier(batch.features, batch.spans)
    return {
        "bars": binary_loss(bar_logits, batch.bar_target, batch.bar_known),
        "expansion": binary_loss(heads.expansion, batch.expansion, batch.expansion >= 0),
        "type": binary_loss(heads.retracement, batch.type, batch.type >= 0),
        "pointer": pointer_loss(heads.pointer, batch.center, batch.length, batch.expansion == 1),
    }


def _check(train: Examples, settings: FinetuneSettings) -> None:
    counts = np.bincount(train.kind, minlength=N_KINDS)
    if (counts[:2] == 0).any():
        raise ValueError(f"training rows must hold both types, got {counts[0]} and {counts[1]}")
    if len(train.kind) < settings.batch_windows:
        raise ValueError(
            f"training needs at least one batch of {settings.batch_windows} rows, got {len(train.kind)}. "
            "Label more windows or lower batch_windows."
        )


def _new_classifier(encoder: Encoder, train: Examples, settings: FinetuneSettings, seed: int) -> Classifier:
    copied = Encoder(encoder.hidden_units)
    copied.load_state_dict(encoder.state_dict())
    classifier = Classifier(copied, settings.head_units, settings.dropout)
    for i, head in enumerate((classifier.judge_head, classifier.pointer_head, classifier.type_head)):
        initialize(head, 7919 * seed + i)
    priors = expected_priors(train, sampling_weights(train, settings.balanced))
    classifier.set_priors(priors["bars"], priors["expansion"], priors["type"])
    return classifier


def _batches(
    bars: BarArrays,
    values: np.ndarray,
    atr: np.ndarray,
    examples: Examples,
    rows: np.ndarray,
    size: int,
    device: torch.device | str,
    augmentation: tuple[FinetuneSettings, np.random.Generator] | None = None,
) -> list[Batch]:
    made = []
    for i in range(0, len(rows), size):
        chosen = rows[i : i + size]
        bar0 = examples.bar0[chosen]
        if augmentation is None:
            features = values[view_rows(bar0)]
        else:
            settings, rng = augmentation
            views = augmented(bars.views(bar0), atr[bar0], settings.jitter_atr, settings.warp, rng)
            features = repainted_features(bars, bar0, views)
        down = examples.down[chosen]
        features[down] = mirrored(features[down])
        made.append(_batch(examples, chosen, features, device))
    return made


def _batch(examples: Examples, rows: np.ndarray, features: np.ndarray, device: torch.device | str) -> Batch:
    spans = examples.spans
    begin, stop = (
        np.searchsorted(spans.row, rows, side="left"),
        np.searchsorted(spans.row, rows, side="right"),
    )
    picked = np.concatenate([np.arange(a, b) for a, b in zip(begin, stop, strict=True)])
    window = np.repeat(np.arange(len(rows)), stop - begin)
    center, length = encode_span(spans.true_start[picked], spans.true_end[picked])

    def on_device(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(device)

    return Batch(
        on_device(features),
        on_device(examples.bar_target[rows]),
        on_device(examples.bar_known[rows]),
        Spans(
            on_device(window),
            on_device(spans.start[picked]),
            on_device(spans.end[picked]),
            on_device(spans.measures[picked]),
        ),
        on_device(spans.expansion[picked]),
        on_device(spans.type[picked]),
        on_device(center),
        on_device(length),
    )


def _judge(classifier: Classifier, batches: list[Batch]) -> dict[str, float]:
    """Log-loss on held-out rows, one weight a batch of known spans."""
    classifier.eval()
    with torch.no_grad():
        parts = [losses(classifier, batch) for batch in batches]
    n_type = [int((batch.type >= 0).sum()) for batch in batches]
    n_span = [int((batch.expansion >= 0).sum()) for batch in batches]
    kind = float(np.average([float(part["type"]) for part in parts], weights=n_type))
    span = float(np.average([float(part["expansion"]) for part in parts], weights=n_span))
    return {"val_loss": kind + span, "val_type": kind, "val_expansion": span}
