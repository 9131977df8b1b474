"""Fine-tuning: from a pretrained encoder and a few hundred labels to a classifier."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import WeightedRandomSampler

from moola_pipeline.models.classifier import Classifier
from moola_pipeline.models.encoder import Encoder
from moola_pipeline.training.batches import (
    Augmentation,
    Batch,
    Source,
    batches,
    expected_priors,
    sampling_weights,
)
from moola_pipeline.training.examples import N_KINDS, Examples
from moola_pipeline.training.losses import TASKS, TaskWeights, binary_loss, pointer_loss, require_finite
from moola_pipeline.training.pretrain import initialize
from moola_pipeline.training.settings import FinetuneSettings
from moola_pipeline.windows.repainted import BarArrays

JUDGED_ROWS = 128
"""Validation rows in a batch; the size changes the speed and nothing else."""


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

    @property
    def best_loss(self) -> float:
        """Validation loss of the epoch that was kept."""
        return self.history[self.best_epoch]["val_loss"]


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
        ValueError: If a class is missing from the training rows, there is less than a batch, or
            no expansion to validate on.
        FloatingPointError: If a loss is not finite; names the windows of the first such batch.
    """
    _check(train, validation, settings)
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    source = Source(bars, values, atr)
    augmentation = Augmentation(settings.jitter_atr, settings.warp, rng)
    classifier = _new_classifier(encoder, train, settings, seed).to(device)
    learned = list(classifier.encoder.parameters())
    task_weights = TaskWeights().to(device)
    optimizer = _optimizer(classifier, task_weights, settings)
    weights = sampling_weights(train, settings.balanced).tolist()
    drawing = torch.Generator().manual_seed(seed)
    judged_on = list(batches(source, validation, np.arange(len(validation.kind)), JUDGED_ROWS, device))
    history: list[dict[str, float]] = []
    best_loss, best_epoch, best = float("inf"), 0, {}
    for epoch in range(settings.epochs):
        started = time.perf_counter()
        for parameter in learned:
            parameter.requires_grad_(epoch >= settings.frozen_epochs)
        drawn = np.array(list(WeightedRandomSampler(weights, len(train.kind), generator=drawing)))
        shown = batches(source, train, drawn, settings.batch_windows, device, augmentation)
        entry = {"epoch": float(epoch), **_train_epoch(classifier, task_weights, optimizer, shown)}
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


def _check(train: Examples, validation: Examples, settings: FinetuneSettings) -> None:
    counts = np.bincount(train.kind, minlength=N_KINDS)
    if (counts[:2] == 0).any():
        raise ValueError(f"training rows must hold both types, got {counts[0]} and {counts[1]}")
    if len(train.kind) < settings.batch_windows:
        raise ValueError(
            f"training needs at least one batch of {settings.batch_windows} rows, got {len(train.kind)}. "
            "Label more windows or lower batch_windows."
        )
    if not (validation.spans.type >= 0).any():
        raise ValueError("validation rows must hold a labeled expansion, got none")


def _new_classifier(encoder: Encoder, train: Examples, settings: FinetuneSettings, seed: int) -> Classifier:
    copied = Encoder(encoder.hidden_units)
    copied.load_state_dict(encoder.state_dict())
    classifier = Classifier(copied, settings.head_units, settings.dropout)
    for i, head in enumerate((classifier.judge_head, classifier.pointer_head, classifier.type_head)):
        initialize(head, 7919 * seed + i)
    priors = expected_priors(train, sampling_weights(train, settings.balanced))
    classifier.set_priors(priors["bars"], priors["expansion"], priors["type"])
    return classifier


def _optimizer(
    classifier: Classifier, task_weights: TaskWeights, settings: FinetuneSettings
) -> torch.optim.Optimizer:
    heads = [p for name, p in classifier.named_parameters() if not name.startswith("encoder.")]
    return torch.optim.AdamW(
        [
            {"params": [*heads, *task_weights.parameters()], "lr": settings.learning_rate},
            {"params": list(classifier.encoder.parameters()), "lr": settings.encoder_learning_rate},
        ],
        weight_decay=settings.weight_decay,
    )


def _train_epoch(
    classifier: Classifier,
    task_weights: TaskWeights,
    optimizer: torch.optim.Optimizer,
    shown: Iterable[Batch],
) -> dict[str, float]:
    """One step a batch; the mean loss, and the share of each task in its weighted terms."""
    classifier.train()
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    rows, terms = [], []
    for batch in shown:
        total, parts = task_weights(losses(classifier, batch))
        optimizer.zero_grad(set_to_none=True)
        total.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        rows.append(batch.bar0)
        terms.append(torch.stack([*(parts[task] for task in TASKS), total.detach()]))
    by_batch = torch.stack(terms).cpu().numpy()  # (n_batches, K + 1)
    # Looked at after the epoch: a look at every step would make the device wait for it.
    require_finite(by_batch[:, -1], rows)
    mean = by_batch.mean(axis=0)
    shares = {f"share_{task}": float(mean[i] / mean[:-1].sum()) for i, task in enumerate(TASKS)}
    return {"train_loss": float(mean[-1]), **shares}


def _judge(classifier: Classifier, judged_on: list[Batch]) -> dict[str, float]:
    """Log-loss of types and expansions over all known spans of held-out rows, and their sum."""
    classifier.eval()
    with torch.no_grad():
        parts = [losses(classifier, batch) for batch in judged_on]
    by_task = {}
    for task, known in (
        ("type", [batch.type >= 0 for batch in judged_on]),
        ("expansion", [batch.expansion >= 0 for batch in judged_on]),
    ):
        by_batch = np.array([float(part[task]) for part in parts])
        require_finite(by_batch, [batch.bar0 for batch in judged_on])
        by_task[task] = float(np.average(by_batch, weights=[int(each.sum()) for each in known]))
    return {
        "val_loss": by_task["type"] + by_task["expansion"],
        "val_type": by_task["type"],
        "val_expansion": by_task["expansion"],
    }
