"""Distillation: train the network on the pseudo-labels of teacher trees."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from moola_pipeline.models.classifier import Classifier, Heads, SpanTensors
from moola_pipeline.models.encoder import states_of
from moola_pipeline.models.span_inference import Views, group_by_view, spans_of_views
from moola_pipeline.training.checkpoints import Checkpoint, NumpyGenerator
from moola_pipeline.training.device import to_device
from moola_pipeline.training.losses import require_finite, smoothed
from moola_pipeline.training.optimizer import AdamW
from moola_pipeline.training.parallel import check_halt
from moola_pipeline.training.prefetch import prefetched
from moola_pipeline.training.pseudo_labels import PseudoLabels
from moola_pipeline.training.settings import FinetuneSettings
from moola_pipeline.training.supervised_loop import Student
from moola_pipeline.windows.market_arrays import MarketArrays

DISTILL_TASKS = ("expansion", "type", "live")
RISE = 0.15
"""Share of the steps in which the learning rate rises; afterwards it falls to zero."""


class _DistillBatch(NamedTuple):
    """Views with n spans and their pseudo-labels, on the device.

    Attributes:
        bar0: (B,) rows of bar 0, in memory.
        features: (B, 20 + bars, F).
        spans: n spans in these views.
        expansion: (n,) teacher probability of an expansion; live, that one has begun.
        retracement: (n,) teacher probability of a retracement.
    """

    bar0: np.ndarray
    features: torch.Tensor
    spans: SpanTensors
    expansion: torch.Tensor
    retracement: torch.Tensor


def distill(
    student: Student,
    market: MarketArrays,
    pseudo_labels: PseudoLabels,
    settings: FinetuneSettings,
    seed: int,
    checkpoint: Checkpoint = Checkpoint(),  # noqa: B008 - frozen
) -> None:
    """Train encoder, judge head and type head on pseudo-labels, with a one-cycle learning rate.

    A step takes a batch of whole windows and, if there are live pseudo-labels, the same share of the
    live windows. After each epoch `student.best` gets the train_loss and the share of each task.

    Args:
        student: Its network is changed.
        market: The bars and their features.
        pseudo_labels: From `make_pseudo_labels`.
        settings: See `FinetuneSettings`: names that start with `distill_`.
        seed: Seed of the order of windows.
        checkpoint: Where each epoch is saved; training resumes from the last one there.

    Raises:
        LossNotFinite: If a loss is not finite; names the windows of the first such batch.
    """
    rng = np.random.default_rng(seed)
    classifier, live = student.classifier, pseudo_labels.live
    views = group_by_view(pseudo_labels.bar0, pseudo_labels.spans)
    live_views = group_by_view(live.bar0, live.spans) if live else None
    n_batches = -(-len(views.bar0) // settings.distill_batch_windows)
    parameters = list(classifier.parameters())
    rate, n_steps = settings.distill_learning_rate, settings.distill_epochs * n_batches
    fused = torch.device(student.device).type == "cuda"
    optimizer = AdamW(parameters, rate, weight_decay=settings.weight_decay, fused=fused)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=n_steps, pct_start=RISE)
    parts = {"optimizer": optimizer, "schedule": schedule, "order": NumpyGenerator(rng), **student.parts}
    for epoch in range(checkpoint.restore(parts), settings.distill_epochs):
        classifier.train().encoder.requires_grad_(epoch >= settings.distill_frozen_epochs)
        rows, terms = [], []
        batches = _batches(market, pseudo_labels, views, live_views, rng, n_batches, student.device)
        for whole_batch, live_batch in prefetched(batches):
            by_task = _losses(classifier, whole_batch, settings)
            if live_batch is not None:
                by_task = by_task + _live_loss(classifier, live_batch, settings)
            optimizer.zero_grad(set_to_none=True)
            by_task.sum().backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            schedule.step()
            student.averaging.step()
            check_halt()
            rows.append(np.append(whole_batch.bar0, [] if live_batch is None else live_batch.bar0))
            terms.append(by_task.detach())
        by_batch = torch.stack(terms).cpu().numpy()  # (n_batches, 3)
        require_finite(by_batch.sum(axis=1), rows)
        mean = by_batch.mean(axis=0)
        shares = {
            f"share_{task}": float(part / mean.sum()) for task, part in zip(DISTILL_TASKS, mean, strict=True)
        }
        student.best.note({"train_loss": float(mean.sum()), **shares})
        checkpoint.keep(epoch + 1, parts)
    classifier.requires_grad_(True)


def _batches(
    market: MarketArrays,
    pseudo_labels: PseudoLabels,
    views: Views,
    live_views: Views | None,
    rng: np.random.Generator,
    n_batches: int,
    device: torch.device | str,
) -> Iterator[tuple[_DistillBatch, _DistillBatch | None]]:
    """The batches of one epoch: whole windows, and live ones if there are pseudo-labels for them."""
    orders = [_split_shuffled(rng, each, n_batches) for each in (views, live_views)]
    for indices, live_indices in zip(*orders, strict=True):
        whole_batch = _batch(market, pseudo_labels, views, indices, device)
        if pseudo_labels.live is None or live_views is None:
            yield whole_batch, None
        else:
            yield whole_batch, _batch(market, pseudo_labels.live, live_views, live_indices, device)


def _batch(
    market: MarketArrays,
    pseudo_labels: PseudoLabels,
    views: Views,
    indices: np.ndarray,
    device: torch.device | str,
) -> _DistillBatch:
    """Views by index, with their spans and pseudo-labels, on the device."""
    spans = pseudo_labels.spans, pseudo_labels.inputs
    selected, features, tensors = spans_of_views(views, indices, market, *spans, "cpu", pseudo_labels.bars)
    expansion, retracement = (
        to_device(target[selected], device) for target in (pseudo_labels.expansion, pseudo_labels.retracement)
    )
    on_device = SpanTensors(*(to_device(part, device) for part in tensors))
    return _DistillBatch(views.bar0[indices], to_device(features, device), on_device, expansion, retracement)


def _losses(classifier: Classifier, batch: _DistillBatch, settings: FinetuneSettings) -> torch.Tensor:
    """Log-loss against the teacher probabilities: (3,), 0 for the live task."""
    heads = _logits(classifier, batch, settings)
    expansion = _log_loss(heads.expansion, batch.expansion, settings)
    retracement = _log_loss(heads.retracement, batch.retracement, settings)
    return torch.stack([expansion, retracement, torch.zeros_like(expansion)])


def _live_loss(classifier: Classifier, batch: _DistillBatch, settings: FinetuneSettings) -> torch.Tensor:
    """Log-loss of the live onset and type, as the last of DISTILL_TASKS: (3,)."""
    heads = _logits(classifier, batch, settings)
    onset = _log_loss(heads.onset, batch.expansion, settings)
    loss = onset + _log_loss(heads.retracement, batch.retracement, settings)
    return torch.stack([torch.zeros_like(loss), torch.zeros_like(loss), loss])


def _logits(classifier: Classifier, batch: _DistillBatch, settings: FinetuneSettings) -> Heads:
    states = states_of(classifier.encoder, batch.features, settings.gradient_checkpointing)
    return classifier.read_spans(batch.features, states, batch.spans)


def _log_loss(logits: torch.Tensor, targets: torch.Tensor, settings: FinetuneSettings) -> torch.Tensor:
    return binary_cross_entropy_with_logits(logits, smoothed(targets, settings.label_smoothing))


def _split_shuffled(rng: np.random.Generator, views: Views | None, n_batches: int) -> list[np.ndarray]:
    """Shuffled indices of views, split into `n_batches` parts of nearly equal size."""
    return np.array_split(rng.permutation(len(views.bar0) if views else 0), n_batches)
