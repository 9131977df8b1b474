"""After every epoch: the network judged on held-out windows, its best weights kept, a collapse noticed."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from moola_pipeline.models.classifier import Classifier
from moola_pipeline.training.batches import Batch
from moola_pipeline.training.losses import losses, require_finite

MIN_TYPE_SPREAD = 0.01
"""Standard deviation of P(retracement) below which a network says one number to everything."""


class BestEpoch:
    """Judges a classifier after every epoch, writes the history, and keeps the best weights.

    Attributes:
        history: One entry an epoch: what training said of it, val_loss and its parts val_type,
            val_expansion and val_pointer, val_lesser_type (the lesser type's share of the
            answers), val_spread (of P(retracement)), seconds.
        index: Of the epoch with the lowest val_loss; its weights are kept.
        collapse: Why training should stop, once it should: the last `collapse_epochs` epochs
            answered every held-out expansion alike.
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
        self._since = time.perf_counter()

    @property
    def epochs_since(self) -> int:
        """Epochs after the best one."""
        return len(self.history) - 1 - self.index

    def note(self, learned: dict[str, float]) -> None:
        """Judge the epoch that just ended; `learned` is what training says of it."""
        entry = {"epoch": float(len(self.history)), **learned, **evaluate(self.classifier, self.held_out)}
        now = time.perf_counter()
        entry["seconds"], self._since = now - self._since, now
        self.history.append(entry)
        self.on_epoch(entry)
        if not self._best or entry["val_loss"] < self.history[self.index]["val_loss"]:
            self.index = len(self.history) - 1
            tensors = self.classifier.state_dict()
            self._best = {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}
        last = self.history[-self.collapse_epochs :]
        if len(last) == self.collapse_epochs and all(self._is_collapsed(each) for each in last):
            self.collapse = (
                f"collapsed: for {self.collapse_epochs} epochs the lesser type was at most "
                f"{max(each['val_lesser_type'] for each in last):.1%} of the answers, with a spread of "
                f"P(retracement) of at most {max(each['val_spread'] for each in last):.3f}"
            )

    def state_dict(self) -> dict[str, Any]:
        """History, best weights, and what follows from them."""
        return {
            "history": self.history,
            "index": self.index,
            "collapse": self.collapse,
            "best": self._best,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from that state; the epochs in it are told again."""
        self.history, self.index = state_dict["history"], state_dict["index"]
        self.collapse, self._best = state_dict["collapse"], state_dict["best"]
        for entry in self.history:
            self.on_epoch(entry)
        self._since = time.perf_counter()

    def restored(self) -> Classifier:
        """The classifier with the weights kept, on the CPU, in evaluation mode."""
        classifier = self.classifier.cpu()
        classifier.load_state_dict(self._best)
        return classifier.eval().requires_grad_(True)

    def _is_collapsed(self, entry: dict[str, float]) -> bool:
        return entry["val_lesser_type"] < self.min_class_share or entry["val_spread"] < MIN_TYPE_SPREAD


def evaluate(classifier: Classifier, held_out: list[Batch]) -> dict[str, float]:
    """Losses of held-out rows over all known spans, their sum, and how far the types are told apart."""
    classifier.eval()
    with torch.no_grad():
        said = [classifier(batch.features, batch.spans) for batch in held_out]
        parts = [losses(bars, heads, batch) for (bars, heads), batch in zip(said, held_out, strict=True)]
    by_task = {}
    for task, known in (
        ("type", [batch.known.type for batch in held_out]),
        ("expansion", [batch.known.expansion for batch in held_out]),
        ("pointer", [batch.known.type for batch in held_out]),
    ):
        by_batch = np.array([float(part[task]) for part in parts])
        require_finite(by_batch, [batch.bar0 for batch in held_out])
        by_task[f"val_{task}"] = float(np.average(by_batch, weights=[len(each) for each in known]))
    logits = torch.cat(
        [heads.retracement[batch.known.type] for (_, heads), batch in zip(said, held_out, strict=True)]
    )
    share = float((logits > 0).float().mean())
    return {
        "val_loss": sum(by_task.values()),
        **by_task,
        "val_lesser_type": min(share, 1 - share),
        "val_spread": float(torch.sigmoid(logits).std(correction=0)),
    }
