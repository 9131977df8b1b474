"""The four losses of training on labels, and their weights."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from moola_pipeline.errors import LossNotFinite
from moola_pipeline.models.classifier import Heads
from moola_pipeline.training.batches import Batch

TASKS = ("bars", "expansion", "type", "pointer")
HUBER_DELTA = 0.08
"""Residual, as a share of a window's 105 bars, beyond which the pointer's loss grows linearly."""
LOG_VARIANCE_BOUND = 3.0


class TaskWeights(nn.Module):
    """One learned log-variance s a task: L = sum_i exp(-s_i) L_i + s_i / 2, regression terms halved.

    Log-variances are clamped to +-3, so no task can suppress the others. If not learned, they stay 0
    and all tasks have the same weight.

    Source:
        Kendall, Gal and Cipolla (2018), CVPR, equation 10.
    """

    def __init__(self, learned: bool = True):
        super().__init__()
        self.log_variance = nn.Parameter(torch.zeros(len(TASKS)), requires_grad=learned)

    def forward(self, losses: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Weighted sum of the losses of all tasks.

        Returns:
            The total, and each task's weighted term (without its s / 2), detached.
        """
        bounded = self.log_variance.clamp(-LOG_VARIANCE_BOUND, LOG_VARIANCE_BOUND)
        total = bounded.sum() / 2
        terms = {}
        for i, task in enumerate(TASKS):
            halved = 0.5 if task == "pointer" else 1.0
            term = halved * torch.exp(-bounded[i]) * losses[task]
            terms[task] = term.detach()
            total = total + term
        return total, terms


def losses(
    bar_logits: Tensor, heads: Heads, batch: Batch, smoothing: float = 0.0, center_length: bool = True
) -> dict[str, Tensor]:
    """The loss of each task on a batch.

    Args:
        bar_logits, heads: Outputs of the classifier.
        batch: Targets.
        smoothing: Label smoothing: share of each binary target replaced by 0.5.
        center_length: Whether the pointer loss is on center and length, or on both ends.
    """
    known = batch.known
    return {
        "bars": binary_loss(bar_logits, batch.bar_target, known.bars, smoothing),
        "expansion": binary_loss(heads.expansion, batch.expansion, known.expansion, smoothing),
        "type": binary_loss(heads.retracement, batch.type, known.type, smoothing),
        "pointer": pointer_loss(heads.pointer, batch.center, batch.length, known.pointer, center_length),
    }


def binary_loss(logits: Tensor, targets: Tensor, known: Tensor, smoothing: float = 0.0) -> Tensor:
    """Mean log-loss over known entries; 0 if there are none.

    Args:
        logits, targets: Same shape.
        known: (n,) indices of the known entries, in flattened arrays.
        smoothing: As in `losses`.
    """
    if not len(known):
        return logits.sum() * 0
    smooth = smoothed(targets.flatten()[known].to(logits.dtype), smoothing)
    return functional.binary_cross_entropy_with_logits(logits.flatten()[known], smooth)


def smoothed(targets: Tensor, share: float) -> Tensor:
    """Targets in [0, 1], with a share of each replaced by 0.5."""
    return targets * (1 - share) + share / 2 if share else targets


def pointer_loss(
    pointer: Tensor, center: Tensor, length: Tensor, known: Tensor, center_length: bool = True
) -> Tensor:
    """Huber loss over known spans of center and length, or of both ends, as shares of 105 bars.

    `known` holds the indices of known spans, (n,). The loss is 0 if there are none.
    """
    if not len(known):
        return pointer.sum() * 0
    predictions, targets = pointer[known], torch.stack([center, length], dim=1).to(pointer.dtype)[known]
    if not center_length:
        predictions, targets = _ends(predictions), _ends(targets)
    return functional.huber_loss(predictions, targets, delta=HUBER_DELTA)


def _ends(spans: Tensor) -> Tensor:
    """Start and end of spans: (n, 2) of center and length to (n, 2)."""
    center, half = spans[:, 0], spans[:, 1] / 2
    return torch.stack([center - half, center + half], dim=1)


def require_finite(by_batch: np.ndarray, rows: Sequence[np.ndarray]) -> None:
    """Refuse losses that are NaN or infinite.

    Args:
        by_batch: (n_batches,) losses in the order of training.
        rows: Rows of bar 0 of the windows in each batch.

    Raises:
        LossNotFinite: Names the windows of the first such batch; later ones only inherit it.
    """
    finite = np.isfinite(by_batch)
    if not finite.all():
        first = int(np.argmin(finite))
        raise LossNotFinite.in_windows(float(by_batch[first]), [int(row) for row in rows[first]])
