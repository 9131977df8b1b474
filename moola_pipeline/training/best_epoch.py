"""Validation after each epoch: losses, best weights, and detection of a collapse."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from moola_pipeline.models.classifier import Classifier
from moola_pipeline.training.batches import Batch
from moola_pipeline.training.losses import losses, require_finite

MIN_TYPE_SPREAD = 0.01
"""Standard deviation of P(retracement) below which the type predictions count as constant."""


class BestEpoch:
    """Validates a classifier after each epoch, records the history, and keeps the best weights.

    Attributes:
        history: One entry an epoch: the metrics of training, val_loss and its parts val_type,
            val_expansion and val_pointer, val_lesser_type (share of the rarer type among the
            predictions), val_spread (standard deviation of P(retracement)), seconds.
        index: Epoch with the lowest val_loss, whose weights are kept.
        collapse: Reason to stop: the last `collapse_epochs` epochs predicted nearly the same type
            for all held-out expansions. Empty otherwise.
    """

    def __init__(
        self,
        classifier: Classifier,
        held_out: list[Batch],
        min_class_share: float,
        collapse_epochs: int,
        on_epoch: Callable[[dict[str, float]], None],
    ):
        self.classifier, self.held_out, self.on_epoch = classifier, held_out, on_epoch
        self.min_class_share, self.collapse_epochs = min_class_share, collapse_epochs
        self.history: list[dict[str, float]] = []
        self.index = 0
        self.collapse = ""
        self._best: dict[str, torch.Tensor] = {}
        self._epoch_started = time.perf_counter()

    @property
    def epochs_since(self) -> int:
        """Number of epochs after the best one."""
        return len(self.history) - 1 - self.index

    def note(self, train_metrics: dict[str, float]) -> None:
        """Validate the epoch that just ended and add it to the history, after its training metrics."""
        val_metrics = evaluate(self.classifier, self.held_out)
        entry = {"epoch": float(len(self.history)), **train_metrics, **val_metrics}
        now = time.perf_counter()
        entry["seconds"], self._epoch_started = now - self._epoch_started, now
        self.history.append(entry)
        self.on_epoch(entry)
        if not self._best or entry["val_loss"] < self.history[self.index]["val_loss"]:
            self.index = len(self.history) - 1
            tensors = self.classifier.state_dict()
            self._best = {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}
        last = self.history[-self.collapse_epochs :]
        if len(last) == self.collapse_epochs and all(self._is_collapsed(each) for each in last):
            self.collapse = (
                f"collapsed: for {self.collapse_epochs} epochs the rarer type was at most "
                f"{max(each['val_lesser_type'] for each in last):.1%} of the predictions, and the standard "
                f"deviation of P(retracement) at most {max(each['val_spread'] for each in last):.3f}"
            )

    def state_dict(self) -> dict[str, Any]:
        """History, index, collapse and best weights."""
        return {
            "history": self.history,
            "index": self.index,
            "collapse": self.collapse,
            "best": self._best,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore that state and call `on_epoch` for each of its epochs."""
        self.history, self.index = state_dict["history"], state_dict["index"]
        self.collapse, self._best = state_dict["collapse"], state_dict["best"]
        for entry in self.history:
            self.on_epoch(entry)
        self._epoch_started = time.perf_counter()

    def restored(self) -> Classifier:
        """The classifier with its best weights, on the CPU, in evaluation mode."""
        classifier = self.classifier.cpu()
        classifier.load_state_dict(self._best)
        return classifier.eval().requires_grad_(True)

    def _is_collapsed(self, entry: dict[str, float]) -> bool:
        return entry["val_lesser_type"] < self.min_class_share or entry["val_spread"] < MIN_TYPE_SPREAD


def evaluate(classifier: Classifier, held_out: list[Batch]) -> dict[str, float]:
    """Validation metrics over all known spans: losses, their sum, and the spread of the predicted types."""
    classifier.eval()
    with torch.no_grad():
        outputs = [classifier(batch.features, batch.spans) for batch in held_out]
        parts = [losses(bars, heads, batch) for (bars, heads), batch in zip(outputs, held_out, strict=True)]
    by_task = {}
    for task, known_by_batch in (
        ("type", [batch.known.type for batch in held_out]),
        ("expansion", [batch.known.expansion for batch in held_out]),
        ("pointer", [batch.known.pointer for batch in held_out]),
    ):
        by_batch = np.array([float(part[task]) for part in parts])
        require_finite(by_batch, [batch.bar0 for batch in held_out])
        by_task[f"val_{task}"] = float(np.average(by_batch, weights=[len(known) for known in known_by_batch]))
    logits = torch.cat(
        [heads.retracement[batch.known.type] for (_, heads), batch in zip(outputs, held_out, strict=True)]
    )
    share = float((logits > 0).float().mean())
    return {
        "val_loss": sum(by_task.values()),
        **by_task,
        "val_lesser_type": min(share, 1 - share),
        "val_spread": float(torch.sigmoid(logits).std(correction=0)),
    }
