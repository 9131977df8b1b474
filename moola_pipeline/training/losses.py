"""The four losses of fine-tuning and the one formula that weighs them."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from moola_pipeline.models.classifier import Heads
from moola_pipeline.training.batches import Batch

TASKS = ("bars", "expansion", "type", "pointer")
HUBER_DELTA = 0.08
"""Residual, as a share of a window's 105 bars, beyond which the pointer's loss grows linearly."""
LOG_VARIANCE_BOUND = 3.0


class TaskWeights(nn.Module):
    """One learned log-variance s a task: L = sum_i exp(-s_i) L_i + s_i / 2, regression terms halved.

    Log-variances are kept within +-3, so that no task can silence the others.

    Source:
        Kendall, Gal and Cipolla (2018), CVPR, equation 10.
    """

    def __init__(self):
        super().__init__()
        self.log_variance = nn.Parameter(torch.zeros(len(TASKS)))

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


def losses(bar_logits: Tensor, heads: Heads, batch: Batch) -> dict[str, Tensor]:
    """The loss of each task on what a classifier says of a batch."""
    return {
        "bars": binary_loss(bar_logits, batch.bar_target, batch.bar_known),
        "expansion": binary_loss(heads.expansion, batch.expansion, batch.expansion >= 0),
        "type": binary_loss(heads.retracement, batch.type, batch.type >= 0),
        "pointer": pointer_loss(heads.pointer, batch.center, batch.length, batch.found),
    }


def binary_loss(logits: Tensor, targets: Tensor, known: Tensor) -> Tensor:
    """Mean log-loss over known entries; 0 where none is known."""
    if not known.any():
        return logits.sum() * 0
    return functional.binary_cross_entropy_with_logits(logits[known], targets[known].to(logits.dtype))


def pointer_loss(pointer: Tensor, center: Tensor, length: Tensor, known: Tensor) -> Tensor:
    """Huber loss of center and length, shares of 105 bars, over known spans; 0 where none is."""
    if not known.any():
        return pointer.sum() * 0
    targets = torch.stack([center, length], dim=1).to(pointer.dtype)
    return functional.huber_loss(pointer[known], targets[known], delta=HUBER_DELTA)


def require_finite(by_batch: np.ndarray, rows: Sequence[np.ndarray]) -> None:
    """Stop at a loss that is NaN or infinite.

    Args:
        by_batch: (n_batches,) losses in the order of training.
        rows: Rows of bar 0 of the windows in each batch.

    Raises:
        FloatingPointError: Names the windows of the first such batch; later ones only inherit it.
    """
    finite = np.isfinite(by_batch)
    if not finite.all():
        first = int(np.argmin(finite))
        windows = ", ".join(map(str, rows[first]))
        raise FloatingPointError(
            f"the loss must be finite, got {by_batch[first]} for the windows at rows {windows}"
        )
