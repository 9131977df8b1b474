"""Fine-tuning: from a pretrained encoder and a few hundred labels to a classifier."""

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
from moola_pipeline.training.best_epoch import BestEpoch
from moola_pipeline.training.examples import N_KINDS, Examples
from moola_pipeline.training.lessons import Lessons
from moola_pipeline.training.losses import TASKS, TaskWeights, losses, require_finite
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
        history: One entry an epoch, those on lessons first: epoch, train_loss, share_<task>, and
            what `BestEpoch` says of it.
        best_epoch: Index of the epoch whose weights were kept.
        stopped: Why training ended early other than for want of progress; empty if it did not.
    """

    classifier: Classifier
    history: list[dict[str, float]]
    best_epoch: int
    stopped: str = ""

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
    held_out = list(batches(source, validation, np.arange(len(validation.kind)), JUDGED_ROWS, device))
    best = BestEpoch(classifier, held_out, settings.min_class_share, settings.collapse_epochs, on_epoch)
    if lessons is not None:
        classifier.set_dropout(settings.taught_dropout)
        teach(classifier, source, lessons, settings, seed, device, best.note)
        classifier.set_dropout(settings.dropout)
    taught = _taught_parts(classifier, settings.taught_stay and lessons is not None)
    task_weights = TaskWeights().to(device)
    optimizer = _optimizer(classifier, task_weights, settings)
    weights = sampling_weights(train, settings.balanced).tolist()
    drawing = torch.Generator().manual_seed(seed)
    augmentation = Augmentation(settings.jitter_atr, settings.warp, rng)
    for epoch in range(settings.epochs):
        for parameter in classifier.encoder.parameters():
            parameter.requires_grad_(epoch >= settings.frozen_epochs)
        for parameter in taught:
            parameter.requires_grad_(False)
        drawn = np.array(list(WeightedRandomSampler(weights, len(train.kind), generator=drawing)))
        shown = batches(source, train, drawn, settings.batch_windows, device, augmentation)
        best.note(_train_epoch(classifier, task_weights, optimizer, shown))
        if best.collapse or (
            min(best.epochs_since, epoch) >= settings.patience and epoch > settings.frozen_epochs
        ):
            break
    return FinetuneResult(best.restored(), best.history, best.index, best.collapse)


def _taught_parts(classifier: Classifier, stay: bool) -> list[torch.nn.Parameter]:
    """What the labels may not change any more: all that learned from lessons, if it is to stay."""
    if not stay:
        return []
    learned = (classifier.encoder, classifier.judge_head, classifier.type_head)
    return [parameter for part in learned for parameter in part.parameters()]


def _check(train: Examples, validation: Examples, settings: FinetuneSettings) -> None:
    counts = np.bincount(train.kind, minlength=N_KINDS)
    if (counts[:2] == 0).any():
        raise ValueError(f"training rows must hold both types, got {counts[0]} and {counts[1]}")
    if len(train.kind) < settings.batch_windows:
        raise ValueError(
            f"training needs at least one batch of {settings.batch_windows} rows, got {len(train.kind)}. "
            "Label more windows or lower batch_windows."
        )
    if not (settings.epochs or settings.taught_windows):
        raise ValueError("there must be epochs on labels or lessons to learn from, got neither")
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
        bar_logits, heads = classifier(batch.features, batch.spans)
        total, parts = task_weights(losses(bar_logits, heads, batch))
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
