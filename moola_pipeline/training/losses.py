"""The four losses of fine-tuning and the one formula that weighs them."""

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

    Log-variances are kept within +-3, so that no task can silence the others. Unlearned, they stay
    at 0, and all tasks weigh alike.

    Source:
        Kendall, Gal and Cipolla (2018), CVPR, equation 10.
    """

    def __init__(self, learned: bool = True):
        super().__init__()
        self.log_variance = nn.Parameter(torch.zeros(len(TASKS)), requires_grad=learned)

    def forward(self, losses: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Weigh the losses of all tasks.

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
    """The loss of each task on what a classifier says of a batch.

    Args:
        bar_logits, heads: What it says.
        batch: What is known.
        smoothing: Share of every yes-or-no answer that is made even.
        center_length: Whether the pointer errs in center and length, or in its two ends.
    """
    known = batch.known
    return {
        "bars": binary_loss(bar_logits, batch.bar_target, known.bars, smoothing),
        "expansion": binary_loss(heads.expansion, batch.expansion, known.expansion, smoothing),
        "type": binary_loss(heads.retracement, batch.type, known.type, smoothing),
        "pointer": pointer_loss(heads.pointer, batch.center, batch.length, known.type, center_length),
    }


def binary_loss(logits: Tensor, targets: Tensor, known: Tensor, smoothing: float = 0.0) -> Tensor:
    """Mean log-loss over known entries; 0 where none is known.

    Args:
        logits, targets: Of one shape.
        known: (n,) places in them that count, as if they were flat.
        smoothing: Share of every answer that is made even.
    """
    if not len(known):
        return logits.sum() * 0
    answers = smoothed(targets.flatten()[known].to(logits.dtype), smoothing)
    return functional.binary_cross_entropy_with_logits(logits.flatten()[known], answers)


def smoothed(answers: Tensor, share: float) -> Tensor:
    """Answers of 0 to 1, a share of each replaced by one half."""
    return answers * (1 - share) + share / 2 if share else answers


def pointer_loss(
    pointer: Tensor, center: Tensor, length: Tensor, known: Tensor, center_length: bool = True
) -> Tensor:
    """Huber loss over known spans of center and length, or of both ends, shares of 105 bars.

    0 where none is known; `known` holds the places of those that are, (n,).
    """
    if not len(known):
        return pointer.sum() * 0
    said, targets = pointer[known], torch.stack([center, length], dim=1).to(pointer.dtype)[known]
    if not center_length:
        said, targets = _ends(said), _ends(targets)
    return functional.huber_loss(said, targets, delta=HUBER_DELTA)


def _ends(spans: Tensor) -> Tensor:
    """Where spans begin and end: (n, 2) of center and length to (n, 2)."""
    center, half = spans[:, 0], spans[:, 1] / 2
    return torch.stack([center - half, center + half], dim=1)


def require_finite(by_batch: np.ndarray, rows: Sequence[np.ndarray]) -> None:
    """Stop at a loss that is NaN or infinite.

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
