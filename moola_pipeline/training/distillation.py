"""Self-training: the network learns what teachers say of spans that nobody labeled."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from moola_pipeline.models.classifier import Classifier, Heads, SpanTensors
from moola_pipeline.models.encoder import states_of
from moola_pipeline.models.span_inference import Views, group_by_view, spans_of_views
from moola_pipeline.training.checkpoints import Checkpoint, NumpyDraws
from moola_pipeline.training.device import to_device
from moola_pipeline.training.losses import require_finite, smoothed
from moola_pipeline.training.parallel import check_halt
from moola_pipeline.training.prefetch import prefetched
from moola_pipeline.training.pseudo_labels import PseudoLabels
from moola_pipeline.training.settings import FinetuneSettings
from moola_pipeline.training.supervised_loop import Student
from moola_pipeline.windows.market_arrays import MarketArrays

DISTILL_TASKS = ("expansion", "type", "live")
RISE = 0.15
"""Share of the steps in which the rate rises; in the others it falls to nothing."""


class _Asked(NamedTuple):
    """What one step is shown of views and asked of n spans in them, on the device.

    Attributes:
        bar0: (B,) rows of bar 0, in memory.
        features: (B, 20 + bars, F).
        spans: Their spans.
        first: (n,) the teachers' answer to whether it is, or live, whether it has begun.
        retracement: (n,) their answer to its type.
    """

    bar0: np.ndarray
    features: torch.Tensor
    spans: SpanTensors
    first: torch.Tensor
    retracement: torch.Tensor


def distill(
    student: Student,
    market: MarketArrays,
    pseudo_labels: PseudoLabels,
    settings: FinetuneSettings,
    seed: int,
    checkpoint: Checkpoint = Checkpoint(),  # noqa: B008 - frozen
) -> None:
    """Train encoder, judge and type head on the teachers' answers, under one rise and fall of the rate.

    Each step sees windows read whole and, where there are lessons for live mode, as large a share of
    the windows that end with a closed bar. After each epoch `student.best` is told the train_loss
    and the share of each task in it.

    Args:
        student: Its network is changed.
        market: The table that the lessons lie in.
        lessons: From `make_pseudo_labels`.
        settings: See `FinetuneSettings`, those that begin with `distill_`.
        seed: Of the order in which windows are shown.
        checkpoint: Where each epoch is kept; training goes on from the last one there.

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
    optimizer = torch.optim.AdamW(parameters, rate, weight_decay=settings.weight_decay, fused=fused)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=n_steps, pct_start=RISE)
    own = {"optimizer": optimizer, "schedule": schedule, "order": NumpyDraws(rng), **student.parts}
    for epoch in range(checkpoint.restore(own), settings.distill_epochs):
        classifier.train().encoder.requires_grad_(epoch >= settings.distill_frozen_epochs)
        rows, terms = [], []
        shown = _shown(market, pseudo_labels, views, live_views, rng, n_batches, student.device)
        for whole, closing in prefetched(shown):
            by_task = _losses(classifier, whole, settings)
            if closing is not None:
                by_task = by_task + _live_loss(classifier, closing, settings)
            optimizer.zero_grad(set_to_none=True)
            by_task.sum().backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            schedule.step()
            student.averaging.step()
            check_halt()
            rows.append(np.append(whole.bar0, [] if closing is None else closing.bar0))
            terms.append(by_task.detach())
        by_batch = torch.stack(terms).cpu().numpy()  # (n_batches, 3)
        require_finite(by_batch.sum(axis=1), rows)
        mean = by_batch.mean(axis=0)
        shares = {
            f"share_{task}": float(part / mean.sum()) for task, part in zip(DISTILL_TASKS, mean, strict=True)
        }
        student.best.note({"train_loss": float(mean.sum()), **shares})
        checkpoint.keep(epoch + 1, own)
    classifier.requires_grad_(True)


def _shown(
    market: MarketArrays,
    pseudo_labels: PseudoLabels,
    views: Views,
    live_views: Views | None,
    rng: np.random.Generator,
    n_batches: int,
    device: torch.device | str,
) -> Iterator[tuple[_Asked, _Asked | None]]:
    """The batches of one epoch: windows read whole, and live ones where there are lessons on them."""
    orders = [_dealt(rng, each, n_batches) for each in (views, live_views)]
    for shown, shown_live in zip(*orders, strict=True):
        whole = _asked(market, pseudo_labels, views, shown, device)
        if pseudo_labels.live is None or live_views is None:
            yield whole, None
        else:
            yield whole, _asked(market, pseudo_labels.live, live_views, shown_live, device)


def _asked(
    market: MarketArrays,
    pseudo_labels: PseudoLabels,
    views: Views,
    shown: np.ndarray,
    device: torch.device | str,
) -> _Asked:
    """Views with their spans and the teachers' answers, put on the device."""
    spans = pseudo_labels.spans, pseudo_labels.inputs
    chosen, features, tensors = spans_of_views(views, shown, market, *spans, "cpu", pseudo_labels.bars)
    first, second = (
        to_device(answer[chosen], device) for answer in (pseudo_labels.expansion, pseudo_labels.retracement)
    )
    on_device = SpanTensors(*(to_device(part, device) for part in tensors))
    return _Asked(views.bar0[shown], to_device(features, device), on_device, first, second)


def _losses(classifier: Classifier, asked: _Asked, settings: FinetuneSettings) -> torch.Tensor:
    """Log-loss against the teachers' probabilities: (3,), 0 for the live task."""
    heads = _said(classifier, asked, settings)
    expansion = _log_loss(heads.expansion, asked.first, settings)
    retracement = _log_loss(heads.retracement, asked.retracement, settings)
    return torch.stack([expansion, retracement, torch.zeros_like(expansion)])


def _live_loss(classifier: Classifier, asked: _Asked, settings: FinetuneSettings) -> torch.Tensor:
    """Log-loss of the live answers, beginning and type, as the last of DISTILL_TASKS: (3,)."""
    heads = _said(classifier, asked, settings)
    onset = _log_loss(heads.onset, asked.first, settings)
    loss = onset + _log_loss(heads.retracement, asked.retracement, settings)
    return torch.stack([torch.zeros_like(loss), torch.zeros_like(loss), loss])


def _said(classifier: Classifier, asked: _Asked, settings: FinetuneSettings) -> Heads:
    states = states_of(classifier.encoder, asked.features, settings.gradient_checkpointing)
    return classifier.read_spans(asked.features, states, asked.spans)


def _log_loss(logits: torch.Tensor, said: torch.Tensor, settings: FinetuneSettings) -> torch.Tensor:
    return binary_cross_entropy_with_logits(logits, smoothed(said, settings.label_smoothing))


def _dealt(rng: np.random.Generator, views: Views | None, n_batches: int) -> list[np.ndarray]:
    """Views in a new order, as equal shares as possible for each batch; empty ones where there are none."""
    return np.array_split(rng.permutation(len(views.bar0) if views else 0), n_batches)
