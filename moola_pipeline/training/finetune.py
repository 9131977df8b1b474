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
from moola_pipeline.training.lessons import Lessons
from moola_pipeline.training.losses import TASKS, TaskWeights, binary_loss, pointer_loss, require_finite
from moola_pipeline.training.pretrain import initialize
from moola_pipeline.training.settings import FinetuneSettings
from moola_pipeline.training.teaching import teach
from moola_pipeline.windows.frame import gathered
from moola_pipeline.windows.repainted import BarArrays
from moola_pipeline.windows.span_inputs import span_inputs

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
    lessons: Lessons | None = None,
) -> FinetuneResult:
    """Train one classifier on lessons, then on `train`; keep the epoch best on `validation` by log-loss.

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
        lessons: What teachers say of unlabeled spans; None to learn from the labels alone.

    Raises:
        ValueError: If a class is missing from the training rows, there is less than a batch, or
            no expansion to validate on.
        FloatingPointError: If a loss is not finite; names the windows of the first such batch.
    """
    _check(train, validation, settings)
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    source = Source(bars, values, atr)
    classifier = _new_classifier(encoder, source, train, lessons, settings, seed).to(device)
    judged_on = list(batches(source, validation, np.arange(len(validation.kind)), JUDGED_ROWS, device))
    kept = _Kept(classifier, judged_on, on_epoch)
    if lessons is not None:
        classifier.set_dropout(settings.taught_dropout)
        teach(classifier, source, lessons, settings, seed, device, kept.note)
        classifier.set_dropout(settings.dropout)
    learned = list(classifier.encoder.parameters())
    task_weights = TaskWeights().to(device)
    optimizer = _optimizer(classifier, task_weights, settings)
    weights = sampling_weights(train, settings.balanced).tolist()
    drawing = torch.Generator().manual_seed(seed)
    augmentation = Augmentation(settings.jitter_atr, settings.warp, rng)
    for epoch in range(settings.epochs):
        for parameter in learned:
            parameter.requires_grad_(epoch >= settings.frozen_epochs)
        drawn = np.array(list(WeightedRandomSampler(weights, len(train.kind), generator=drawing)))
        shown = batches(source, train, drawn, settings.batch_windows, device, augmentation)
        kept.note(_train_epoch(classifier, task_weights, optimizer, shown))
        if min(kept.epochs_since_best, epoch) >= settings.patience and epoch > settings.frozen_epochs:
            break
    return kept.result()


class _Kept:
    """Judges the classifier after every epoch, writes the history, and keeps the best weights."""

    def __init__(
        self, classifier: Classifier, judged_on: list[Batch], on_epoch: Callable[[dict[str, float]], None]
    ):
        self.classifier, self.judged_on, self.on_epoch = classifier, judged_on, on_epoch
        self.history: list[dict[str, float]] = []
        self.best_epoch, self.best = 0, {}
        self.started = time.perf_counter()

    @property
    def epochs_since_best(self) -> int:
        return len(self.history) - 1 - self.best_epoch

    def note(self, learned: dict[str, float]) -> None:
        entry = {"epoch": float(len(self.history)), **learned, **_judge(self.classifier, self.judged_on)}
        now = time.perf_counter()
        entry["seconds"], self.started = now - self.started, now
        self.history.append(entry)
        self.on_epoch(entry)
        if not self.best or entry["val_loss"] < self.history[self.best_epoch]["val_loss"]:
            self.best_epoch = len(self.history) - 1
            tensors = self.classifier.state_dict()
            self.best = {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}

    def result(self) -> FinetuneResult:
        classifier = self.classifier.cpu()
        classifier.load_state_dict(self.best)
        return FinetuneResult(classifier.eval().requires_grad_(True), self.history, self.best_epoch)


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


def _new_classifier(
    encoder: Encoder,
    source: Source,
    train: Examples,
    lessons: Lessons | None,
    settings: FinetuneSettings,
    seed: int,
) -> Classifier:
    """The encoder with new heads, each at the prior of the batches that it will see first."""
    copied = Encoder(encoder.hidden_units)
    copied.load_state_dict(encoder.state_dict())
    classifier = Classifier(copied, settings.head_units, settings.dropout)
    for i, head in enumerate((classifier.judge_head, classifier.pointer_head, classifier.type_head)):
        initialize(head, 7919 * seed + i)
    priors = expected_priors(train, sampling_weights(train, settings.balanced))
    if lessons is None:
        spans, views = train.spans, source.bars.views(train.bar0)
        direction = np.where(train.down, -1, 1)[spans.row]
        atr = gathered(source.atr, train.bar0)
        inputs = torch.from_numpy(span_inputs(views, atr, spans.row, spans.start, spans.end, direction))
    else:
        inputs = torch.from_numpy(lessons.inputs)
        priors |= {"expansion": float(lessons.expansion.mean()), "type": float(lessons.retracement.mean())}
    classifier.set_input_scale(inputs)
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
