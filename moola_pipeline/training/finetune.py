"""Fine-tuning: from a pretrained encoder and a few hundred labels to a classifier."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from moola_pipeline.errors import BadInput
from moola_pipeline.features.schema import FEATURE_NAMES
from moola_pipeline.models.classifier import Classifier
from moola_pipeline.models.encoder import Encoder, initialize
from moola_pipeline.training.batches import batches, expected_priors, sampling_weights
from moola_pipeline.training.best_epoch import BestEpoch
from moola_pipeline.training.checkpoints import Checkpoint, Checkpoints
from moola_pipeline.training.device import precision_on
from moola_pipeline.training.distillation import distill
from moola_pipeline.training.examples import N_KINDS, Examples
from moola_pipeline.training.pseudo_labels import PseudoLabels
from moola_pipeline.training.settings import FinetuneSettings
from moola_pipeline.training.supervised_loop import (
    Student,
    SupervisedLoop,
    WeightAveraging,
    distilled_parameters,
)
from moola_pipeline.windows.market_arrays import MarketArrays

JUDGED_ROWS = 128
"""Validation rows in a batch; the size changes the speed and nothing else."""
_LAYERS_DRAW_FROM_TORCH = threading.Lock()
"""New layers draw their first weights from torch's one generator: one training at a time."""
UNSEEN_SCALE = 1e9
"""Spread by which a feature is divided that the network shall not see."""


@dataclass(frozen=True)
class FinetuneRows:
    """What one network is fine-tuned on.

    Attributes:
        market: The bars that all rows lie in.
        train, validation: Rows from `make_examples`.
        lessons: What teachers say of unlabeled spans; None to learn from the labels alone.
    """

    market: MarketArrays
    train: Examples
    validation: Examples
    pseudo_labels: PseudoLabels | None = None

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """All arrays that decide what is learned, but for the bars."""
        rows = tuple(array for each in (self.train, self.validation) for array in each.arrays)
        return rows + self.pseudo_labels.arrays if self.pseudo_labels else rows


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


def finetune(
    encoder: Encoder,
    rows: FinetuneRows,
    settings: FinetuneSettings,
    seed: int,
    device: torch.device | str = "cpu",
    on_epoch: Callable[[dict[str, float]], None] = lambda entry: None,
    checkpoints: Checkpoints | None = None,
) -> FinetuneResult:
    """Train one classifier on lessons, then on labels; keep the epoch best on validation by log-loss.

    With `checkpoints`, a training that was killed goes on from its last epoch, to the same weights.

    Args:
        encoder: Pretrained; it is copied, not changed.
        rows: What it learns from, and what chooses the epoch.
        settings: See `FinetuneSettings`.
        seed: Of initial weights, drawing, augmentation and dropout.
        device: Where the network runs.
        on_epoch: Called with each history entry.
        checkpoints: Where each epoch is kept until the caller removes them; None: nowhere.

    Raises:
        BadInput: If a class is missing from the training rows, there is less than a batch, or no
            expansion to validate on.
        LossNotFinite: If a loss is not finite; names the windows of the first such batch.
    """
    _check(rows, settings)
    with _LAYERS_DRAW_FROM_TORCH:
        torch.manual_seed(seed)
        classifier = _new_classifier(encoder, rows, settings, seed).to(device)
        drawn = torch.get_rng_state()
    dropout = _generator(device, seed, drawn)
    judged = np.arange(len(rows.validation.kind))
    held_out = list(batches(rows.market, rows.validation, judged, JUDGED_ROWS, device))
    averaging = WeightAveraging(classifier, settings.average_decay)
    classifier.draw_from(dropout)
    best = BestEpoch(
        averaging.network, held_out, settings.min_class_share, settings.collapse_epochs, on_epoch
    )
    student = Student(classifier, averaging, best, device, dropout)
    on_labels, on_lessons = _stages(checkpoints, encoder, rows, settings, seed, device)
    labels = SupervisedLoop(student, rows.market, rows.train, settings, seed)
    done = on_labels.restore(labels.parts)
    if rows.pseudo_labels is not None and not done:
        classifier.set_dropout(settings.distill_dropout)
        distill(student, rows.market, rows.pseudo_labels, settings, seed, on_lessons)
        classifier.set_dropout(settings.dropout)
    distilled = distilled_parameters(classifier, settings.distill_freeze and rows.pseudo_labels is not None)
    for epoch in range(done, settings.epochs):
        if labels.is_over(epoch):
            break
        labels.learn(epoch, distilled)
        on_labels.keep(epoch + 1, labels.parts)
    kept = best.restored()
    kept.draw_from(None)
    return FinetuneResult(kept, best.history, best.index, best.collapse)


def _generator(device: torch.device | str, seed: int, drawn: torch.Tensor) -> torch.Generator:
    """Where dropout draws from; on the CPU it goes on where the drawing of the first weights ended."""
    if torch.device(device).type == "cpu":
        generator = torch.Generator()
        generator.set_state(drawn)
        return generator
    return torch.Generator(device).manual_seed(seed)


def _stages(
    checkpoints: Checkpoints | None,
    encoder: Encoder,
    rows: FinetuneRows,
    settings: FinetuneSettings,
    seed: int,
    device: torch.device | str,
) -> tuple[Checkpoint, Checkpoint]:
    """Checkpoints of the epochs on labels and on lessons, keyed by all that decides them."""
    if checkpoints is None:
        return Checkpoint(), Checkpoint()
    decides = (
        settings.model_dump(mode="json", exclude={"seeds"}),
        seed,
        torch.device(device).type,
        precision_on(device),
        *encoder.state_dict().values(),
        *rows.arrays,
    )
    stages = (f"seed-{seed}.labels", f"seed-{seed}.pseudo_labels")
    on_labels, on_lessons = (checkpoints.stage(name, *decides) for name in stages)
    return on_labels, on_lessons


def _check(rows: FinetuneRows, settings: FinetuneSettings) -> None:
    train, validation = rows.train, rows.validation
    counts = np.bincount(train.kind, minlength=N_KINDS)
    if (counts[:2] == 0).any():
        raise BadInput(
            f"training rows must hold both types, got {counts[0]} and {counts[1]}. "
            "Label more windows, or choose another --train-end."
        )
    if len(train.kind) < settings.batch_windows:
        raise BadInput(
            f"training needs at least one batch of {settings.batch_windows} rows, got {len(train.kind)}. "
            "Label more windows or lower batch_windows."
        )
    if not (settings.epochs or settings.distill_windows):
        raise ValueError("there must be epochs on labels or lessons to learn from, got neither")
    if not (validation.spans.type >= 0).any():
        raise BadInput(
            "validation rows must hold a labeled expansion, got none. "
            "Label more windows, or choose another --train-end and --validation-end."
        )


def _new_classifier(
    encoder: Encoder, rows: FinetuneRows, settings: FinetuneSettings, seed: int
) -> Classifier:
    """The encoder with new heads, each at the prior of the batches that it will see first."""
    copied = Encoder(encoder.hidden_units)
    copied.load_state_dict(encoder.state_dict())
    classifier = Classifier(copied, settings.head_units, settings.dropout)
    for i, head in enumerate((classifier.judge_head, classifier.pointer_head, classifier.type_head)):
        initialize(head, 7919 * seed + i)
    train, pseudo_labels = rows.train, rows.pseudo_labels
    priors = expected_priors(train, sampling_weights(train, settings.balanced))
    if pseudo_labels is None:
        inputs = torch.from_numpy(rows.market.measure_inputs(train.bar0, train.spans))
    else:
        inputs = torch.from_numpy(pseudo_labels.inputs)
        priors |= {
            "expansion": float(pseudo_labels.expansion.mean()),
            "type": float(pseudo_labels.retracement.mean()),
        }
        if pseudo_labels.live:
            priors["onset"] = float(pseudo_labels.live.expansion.mean())
    classifier.set_input_scale(inputs)
    even = 0.5
    told = priors if settings.prior_bias else dict.fromkeys(priors, even)
    classifier.set_priors(told["bars"], told["expansion"], told["type"], told.get("onset", even))
    if not settings.expansion_proxy:
        copied.scale[FEATURE_NAMES.index("expansion_proxy")] = UNSEEN_SCALE
    return classifier
