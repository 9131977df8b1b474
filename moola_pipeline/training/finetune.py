"""Fine-tuning: train a classifier on pseudo-labels and labels, from a pretrained encoder."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from moola_pipeline.errors import BadInput
from moola_pipeline.features.schema import FEATURE_NAMES
from moola_pipeline.models.classifier import UNSEEN_SCALE, Classifier
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
from moola_pipeline.windows.window_geometry import UNTYPED

VALIDATION_BATCH_ROWS = 128
"""Validation rows in a batch; the size changes speed only."""
_GLOBAL_GENERATOR_LOCK = threading.Lock()
"""New layers draw their initial weights from torch's global generator: one training at a time."""
EVEN = 0.5
"""Prior of a head without prior_bias."""


@dataclass(frozen=True)
class FinetuneRows:
    """Data that one network is fine-tuned on.

    Attributes:
        market: The bars and their features.
        train, validation: Rows from `make_examples`.
        pseudo_labels: Teacher probabilities of unlabeled spans; None: train on labels only.
    """

    market: MarketArrays
    train: Examples
    validation: Examples
    pseudo_labels: PseudoLabels | None = None

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """All arrays that decide the weights, except the bars."""
        rows = tuple(array for each in (self.train, self.validation) for array in each.arrays)
        return rows + self.pseudo_labels.arrays if self.pseudo_labels else rows


@dataclass(frozen=True)
class FinetuneResult:
    """One seed's classifier and its training history.

    Attributes:
        classifier: In evaluation mode, on the CPU, at its best validation epoch.
        history: One entry an epoch, those on pseudo-labels first: epoch, train_loss, share_<task>,
            and the entries of `BestEpoch`.
        best_epoch: Index of the epoch whose weights were kept.
        stopped: Why the classifier collapsed; empty if it did not.
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
    """Train one classifier on pseudo-labels, then on labels; keep the epoch with the lowest val_loss.

    With `checkpoints`, a killed training resumes from its last epoch, to the same weights.

    Args:
        encoder: Pretrained; it is copied, not changed.
        rows: Training data, and validation rows that select the epoch.
        settings: See `FinetuneSettings`.
        seed: Seed of initial weights, sampling, augmentation and dropout.
        device: Device of the network.
        on_epoch: Called with each history entry.
        checkpoints: Folder of the checkpoints, which the caller removes; None: no checkpoints.

    Raises:
        BadInput: If a type is missing from the training rows, they are fewer than one batch, or the
            validation rows hold no expansion of known type.
        LossNotFinite: If a loss is not finite; names the windows of the first such batch.
    """
    _check(rows, settings)
    with _GLOBAL_GENERATOR_LOCK:
        torch.manual_seed(seed)
        classifier = _new_classifier(encoder, rows, settings, seed).to(device)
        rng_state = torch.get_rng_state()
    dropout = _dropout_generator(device, seed, rng_state)
    order = np.arange(len(rows.validation.kind))
    held_out = list(batches(rows.market, rows.validation, order, VALIDATION_BATCH_ROWS, device))
    averaging = WeightAveraging(classifier, settings.average_decay)
    classifier.draw_from(dropout)
    best = BestEpoch(
        averaging.network, held_out, settings.min_class_share, settings.collapse_epochs, on_epoch
    )
    student = Student(classifier, averaging, best, device, dropout)
    label_stage, distill_stage = _stages(checkpoints, encoder, rows, settings, seed, device)
    supervised = SupervisedLoop(student, rows.market, rows.train, settings, seed)
    n_done = label_stage.restore(supervised.parts)
    if rows.pseudo_labels is not None and not n_done:
        classifier.set_dropout(settings.distill_dropout)
        distill(student, rows.market, rows.pseudo_labels, settings, seed, distill_stage)
        classifier.set_dropout(settings.dropout)
    distilled = distilled_parameters(classifier, settings.distill_freeze and rows.pseudo_labels is not None)
    for epoch in range(n_done, settings.epochs):
        if supervised.is_over(epoch):
            break
        supervised.learn(epoch, distilled)
        label_stage.keep(epoch + 1, supervised.parts)
    best_classifier = best.restored()
    best_classifier.draw_from(None)
    return FinetuneResult(best_classifier, best.history, best.index, best.collapse)


def _dropout_generator(device: torch.device | str, seed: int, rng_state: torch.Tensor) -> torch.Generator:
    """Generator of dropout; on the CPU it starts from the state after the initial weights were drawn."""
    if torch.device(device).type == "cpu":
        generator = torch.Generator()
        generator.set_state(rng_state)
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
    """Checkpoints of training on labels and of distillation; keys cover all that decides the weights."""
    if checkpoints is None:
        return Checkpoint(), Checkpoint()
    key_parts = (
        settings.model_dump(mode="json", exclude={"seeds"}),
        seed,
        torch.device(device).type,
        precision_on(device),
        *encoder.state_dict().values(),
        *rows.arrays,
    )
    stages = (f"seed-{seed}.labels", f"seed-{seed}.pseudo_labels")
    label_stage, distill_stage = (checkpoints.stage(name, *key_parts) for name in stages)
    return label_stage, distill_stage


def _check(rows: FinetuneRows, settings: FinetuneSettings) -> None:
    train, validation = rows.train, rows.validation
    counts = np.bincount(train.kind[train.kind != UNTYPED], minlength=N_KINDS)
    if (counts[:2] == 0).any():
        raise BadInput(
            f"training rows must hold both types, got {counts[0]} and {counts[1]}. "
            "Label more windows, or choose another --train-end."
        )
    if len(train.kind) < settings.batch_windows:
        raise BadInput(
            f"training needs at least {settings.batch_windows} rows (one batch), got {len(train.kind)}. "
            "Label more windows or lower batch_windows."
        )
    if not (settings.epochs or settings.distill_windows):
        raise ValueError("epochs or distill_windows must be > 0, got 0 and 0")
    if not validation.spans.is_typed.any():
        raise BadInput(
            "validation rows must hold a labeled expansion of known type, got none. "
            "Label more windows, or choose another --train-end and --validation-end."
        )


def _new_classifier(
    encoder: Encoder, rows: FinetuneRows, settings: FinetuneSettings, seed: int
) -> Classifier:
    """The encoder with new heads, each at the prior of its first batches."""
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
    if not settings.measured_numbers:
        classifier.hide_inputs()
    if not settings.prior_bias:
        priors = dict.fromkeys(priors, EVEN)
    classifier.set_priors(priors["bars"], priors["expansion"], priors["type"], priors.get("onset", EVEN))
    if not settings.expansion_proxy:
        copied.scale[FEATURE_NAMES.index("expansion_proxy")] = UNSEEN_SCALE
    return classifier
