"""Epochs on labels: rows drawn by kind and augmented, one step a batch, four tasks weighed."""

from collections.abc import Iterable

import numpy as np
import torch
from torch.utils.data import WeightedRandomSampler

from moola_pipeline.models.classifier import Classifier
from moola_pipeline.models.encoder import states_of
from moola_pipeline.training.averaging import Averaging
from moola_pipeline.training.batches import Augmentation, Batch, Source, batches, sampling_weights
from moola_pipeline.training.best_epoch import BestEpoch
from moola_pipeline.training.checkpoints import NumpyDraws, Stateful, TorchDraws
from moola_pipeline.training.examples import Examples
from moola_pipeline.training.losses import TASKS, TaskWeights, losses, require_finite
from moola_pipeline.training.prefetch import prefetched
from moola_pipeline.training.settings import FinetuneSettings
from moola_pipeline.training.side_by_side import halt_point


class LabelEpochs:
    """The epochs on labels: what draws rows, what learns, and when it is enough.

    Attributes:
        parts: What has a state that decides how training goes on.
    """

    def __init__(
        self,
        classifier: Classifier,
        source: Source,
        train: Examples,
        settings: FinetuneSettings,
        seed: int,
        device: torch.device | str,
        averaging: Averaging[Classifier],
        best: BestEpoch,
    ):
        self.classifier, self.source, self.train, self.settings = classifier, source, train, settings
        self.device, self.averaging, self.best = device, averaging, best
        self.task_weights = TaskWeights(settings.uncertainty_weights).to(device)
        self.optimizer = new_optimizer(classifier, self.task_weights, settings)
        self.weights = sampling_weights(train, settings.balanced).tolist()
        self.drawing = torch.Generator().manual_seed(seed)
        rng = np.random.default_rng(seed)
        self.augmentation = Augmentation(settings.jitter_atr, settings.warp, rng)
        self.parts: dict[str, Stateful] = {
            "task_weights": self.task_weights,
            "optimizer": self.optimizer,
            "drawing": TorchDraws(self.drawing),
            "augmenting": NumpyDraws(rng),
        }

    def is_over(self, epoch: int) -> bool:
        """Whether `epoch` epochs on labels are enough."""
        waited = min(self.best.epochs_since, epoch - 1)
        tired = waited >= self.settings.patience and epoch - 1 > self.settings.frozen_epochs
        return epoch > 0 and (bool(self.best.collapse) or tired)

    def learn(self, epoch: int, taught: list[torch.nn.Parameter]) -> None:
        """One epoch; what was `taught` stays as it is."""
        settings = self.settings
        self.classifier.encoder.requires_grad_(epoch >= settings.frozen_epochs)
        for parameter in taught:
            parameter.requires_grad_(False)
        sampler = WeightedRandomSampler(self.weights, len(self.train.kind), generator=self.drawing)
        drawn = np.array(list(sampler))
        size = settings.batch_windows
        shown = batches(self.source, self.train, drawn, size, self.device, self.augmentation)
        self.best.note(self._train_epoch(prefetched(shown)))

    def _train_epoch(self, shown: Iterable[Batch]) -> dict[str, float]:
        """One step a batch; the mean loss, and the share of each task in its weighted terms."""
        self.classifier.train()
        settings = self.settings
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        rows, terms = [], []
        for batch in shown:
            states = states_of(self.classifier.encoder, batch.features, settings.gradient_checkpointing)
            bar_logits = self.classifier.bar_logits(states)
            heads = self.classifier.read_spans(batch.features, states, batch.spans)
            found = losses(bar_logits, heads, batch, settings.label_smoothing, settings.center_length)
            total, parts = self.task_weights(found)
            self.optimizer.zero_grad(set_to_none=True)
            total.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            self.optimizer.step()
            self.averaging.step()
            halt_point()
            rows.append(batch.bar0)
            terms.append(torch.stack([*(parts[task] for task in TASKS), total.detach()]))
        by_batch = torch.stack(terms).cpu().numpy()  # (n_batches, K + 1)
        # Looked at after the epoch: a look at every step would make the device wait for it.
        require_finite(by_batch[:, -1], rows)
        mean = by_batch.mean(axis=0)
        shares = {f"share_{task}": float(mean[i] / mean[:-1].sum()) for i, task in enumerate(TASKS)}
        return {"train_loss": float(mean[-1]), **shares}


def taught_parts(classifier: Classifier, stay: bool) -> list[torch.nn.Parameter]:
    """What the labels may not change any more: all that learned from lessons, if it is to stay."""
    if not stay:
        return []
    learned = (classifier.encoder, classifier.judge_head, classifier.type_head)
    return [parameter for part in learned for parameter in part.parameters()]


def new_optimizer(
    classifier: Classifier, task_weights: TaskWeights, settings: FinetuneSettings
) -> torch.optim.Optimizer:
    """AdamW with a rate of its own for the encoder."""
    heads = [p for name, p in classifier.named_parameters() if not name.startswith("encoder.")]
    return torch.optim.AdamW(
        [
            {"params": [*heads, *task_weights.parameters()], "lr": settings.learning_rate},
            {"params": list(classifier.encoder.parameters()), "lr": settings.encoder_learning_rate},
        ],
        weight_decay=settings.weight_decay,
        fused=classifier.encoder.hidden_bar.is_cuda,
    )
