"""Training on labels: weighted sampling, augmentation, task weights and weight averaging."""

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import torch
from torch.utils.data import WeightedRandomSampler

from moola_pipeline.models.classifier import Classifier
from moola_pipeline.models.encoder import states_of
from moola_pipeline.training.batches import Augmentation, Batch, batches, sampling_weights
from moola_pipeline.training.best_epoch import BestEpoch
from moola_pipeline.training.checkpoints import NumpyGenerator, Stateful, TorchGenerator
from moola_pipeline.training.examples import Examples
from moola_pipeline.training.losses import TASKS, TaskWeights, losses, require_finite
from moola_pipeline.training.optimizer import AdamW
from moola_pipeline.training.parallel import check_halt
from moola_pipeline.training.prefetch import prefetched
from moola_pipeline.training.settings import FinetuneSettings
from moola_pipeline.windows.market_arrays import MarketArrays

Network = TypeVar("Network", bound=torch.nn.Module)


class WeightAveraging(Generic[Network]):
    """An exponential moving average of a network's weights; without decay, the network itself.

    The decay is at most (1 + n) / (10 + n) after n steps, so the initial weights are soon forgotten.

    Attributes:
        network: The averaged network, which is validated and kept.

    Source:
        Polyak and Juditsky (1992), SIAM J. Control Optim. 30(4); the warm-up as in TensorFlow's
        ExponentialMovingAverage.
    """

    def __init__(self, trained: Network, decay: float):
        self.trained, self.decay, self.n_steps = trained, decay, 0
        self.network = copy.deepcopy(trained) if decay else trained

    @torch.no_grad()
    def step(self) -> None:
        """Update the average after one optimizer step."""
        if not self.decay:
            return
        self.n_steps += 1
        decay = min(self.decay, (1 + self.n_steps) / (10 + self.n_steps))
        for mean, current in zip(self.network.parameters(), self.trained.parameters(), strict=True):
            mean.lerp_(current, 1 - decay)

    def state_dict(self) -> dict[str, object]:
        """Steps and, with decay, the averaged weights."""
        return {"n_steps": self.n_steps, "network": self.network.state_dict() if self.decay else {}}

    def load_state_dict(self, state_dict: dict[str, object]) -> None:
        """Restore that state."""
        self.n_steps = int(str(state_dict["n_steps"]))
        if self.decay:
            self.network.load_state_dict(state_dict["network"])  # pyright: ignore[reportArgumentType]


@dataclass(frozen=True)
class Student:
    """The network in training, with its weight averaging and validation.

    Attributes:
        classifier: On `device`.
        averaging: Updated after each step; its network is validated and kept.
        best: Validates each epoch.
        device: Device of the networks.
        dropout: Generator of dropout; None: torch's global one.
    """

    classifier: Classifier
    averaging: WeightAveraging[Classifier]
    best: BestEpoch
    device: torch.device | str
    dropout: torch.Generator | None = None

    @property
    def parts(self) -> dict[str, Stateful]:
        """Objects whose state a checkpoint holds."""
        own: dict[str, Stateful] = {
            "network": self.classifier,
            "averaging": self.averaging,
            "best": self.best,
        }
        return own | ({"dropout": TorchGenerator(self.dropout)} if self.dropout else {})


class SupervisedLoop:
    """Training on labels, epoch by epoch, with early stopping.

    Attributes:
        parts: Objects whose state a checkpoint holds.
    """

    def __init__(
        self,
        student: Student,
        market: MarketArrays,
        train: Examples,
        settings: FinetuneSettings,
        seed: int,
    ):
        self.student, self.market, self.train, self.settings = student, market, train, settings
        self.task_weights = TaskWeights(settings.uncertainty_weights).to(student.device)
        self.optimizer = new_optimizer(student.classifier, self.task_weights, settings)
        self.weights = sampling_weights(train, settings.balanced).tolist()
        self.drawing = torch.Generator().manual_seed(seed)
        rng = np.random.default_rng(seed)
        self.augmentation = Augmentation(settings.jitter_atr, settings.warp, rng)
        self.parts: dict[str, Stateful] = {
            **student.parts,
            "task_weights": self.task_weights,
            "optimizer": self.optimizer,
            "drawing": TorchGenerator(self.drawing),
            "augmenting": NumpyGenerator(rng),
        }

    def is_over(self, epoch: int) -> bool:
        """Whether training stops after `epoch` epochs on labels: no progress, or a collapse."""
        settings = self.settings
        thaw = settings.frozen_epochs if settings.frozen_epochs < settings.epochs else 0  # else it never does
        n_waited = min(self.student.best.epochs_since, epoch - 1)
        no_progress = n_waited >= settings.patience and epoch - 1 > thaw
        return epoch > 0 and (bool(self.student.best.collapse) or no_progress)

    def learn(self, epoch: int, distilled: list[torch.nn.Parameter]) -> None:
        """Train one epoch with the `distilled` parameters frozen."""
        settings = self.settings
        self.student.classifier.encoder.requires_grad_(epoch >= settings.frozen_epochs)
        for parameter in distilled:
            parameter.requires_grad_(False)
        sampler = WeightedRandomSampler(self.weights, len(self.train.kind), generator=self.drawing)
        rows = np.array(list(sampler))
        size = settings.batch_windows
        epoch_batches = batches(self.market, self.train, rows, size, self.student.device, self.augmentation)
        self.student.best.note(self._train_epoch(prefetched(epoch_batches)))

    def _train_epoch(self, epoch_batches: Iterable[Batch]) -> dict[str, float]:
        """Take one step a batch; return the mean loss and the share of each task in it."""
        classifier, settings = self.student.classifier.train(), self.settings
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        rows, terms = [], []
        for batch in epoch_batches:
            states = states_of(classifier.encoder, batch.features, settings.gradient_checkpointing)
            bar_logits = classifier.bar_logits(states)
            heads = classifier.read_spans(batch.features, states, batch.spans)
            by_task = losses(bar_logits, heads, batch, settings.label_smoothing, settings.center_length)
            total, parts = self.task_weights(by_task)
            self.optimizer.zero_grad(set_to_none=True)
            total.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            self.optimizer.step()
            self.student.averaging.step()
            check_halt()
            rows.append(batch.bar0)
            terms.append(torch.stack([*(parts[task] for task in TASKS), total.detach()]))
        by_batch = torch.stack(terms).cpu().numpy()  # (n_batches, K + 1)
        # Check after the epoch: reading the loss in each step would synchronize with the device.
        require_finite(by_batch[:, -1], rows)
        mean = by_batch.mean(axis=0)
        shares = {f"share_{task}": float(mean[i] / mean[:-1].sum()) for i, task in enumerate(TASKS)}
        return {"train_loss": float(mean[-1]), **shares}


def distilled_parameters(classifier: Classifier, freeze: bool) -> list[torch.nn.Parameter]:
    """Parameters trained by distillation, which labels do not change; none without `freeze`."""
    if not freeze:
        return []
    modules = (classifier.encoder, classifier.judge_head, classifier.type_head)
    return [parameter for module in modules for parameter in module.parameters()]


def new_optimizer(
    classifier: Classifier, task_weights: TaskWeights, settings: FinetuneSettings
) -> torch.optim.Optimizer:
    """AdamW with a separate learning rate for the encoder."""
    heads = [p for name, p in classifier.named_parameters() if not name.startswith("encoder.")]
    return AdamW(
        [
            {"params": [*heads, *task_weights.parameters()], "lr": settings.learning_rate},
            {"params": list(classifier.encoder.parameters()), "lr": settings.encoder_learning_rate},
        ],
        weight_decay=settings.weight_decay,
        fused=classifier.encoder.hidden_bar.is_cuda,
    )
