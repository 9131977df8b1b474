"""Fine-tuning speed: epochs on labels and on pseudo-labels, and bare steps on prepared batches."""

from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from moola_pipeline.benchmarks.batch_speed import (
    BatchSpeed,
    doubled,
    learn,
    n_steps,
    seconds_in_turns,
)
from moola_pipeline.benchmarks.training_rows import labeled_rows, new_classifier, pseudo_labels_of
from moola_pipeline.models.classifier import Classifier, SpanTensors
from moola_pipeline.models.span_inference import group_by_view, spans_of_views
from moola_pipeline.training.batches import Augmentation, Batch, batches, sampling_weights
from moola_pipeline.training.best_epoch import BestEpoch
from moola_pipeline.training.distillation import distill
from moola_pipeline.training.examples import Examples
from moola_pipeline.training.losses import TaskWeights, losses
from moola_pipeline.training.optimizer import AdamW
from moola_pipeline.training.pseudo_labels import PseudoLabels
from moola_pipeline.training.settings import FinetuneSettings
from moola_pipeline.training.supervised_loop import Student, SupervisedLoop, WeightAveraging, new_optimizer
from moola_pipeline.windows.market_arrays import MarketArrays

LIVE_SHARE = 0.75
"""Live windows per whole window, as in the default settings."""
LABELED_WINDOWS = 400
DistillStep = tuple[torch.Tensor, SpanTensors, torch.Tensor]
"""Features on the device, spans in them, and two target probabilities per span (n, 2)."""


class _NoValidation:
    """Replaces validation: its time is not measured."""

    def note(self, entry: dict[str, float]) -> None:
        """Nothing."""


def unjudged(classifier: Classifier) -> Student:
    """A network to train without validation."""
    device = classifier.encoder.hidden_bar.device
    return Student(classifier, WeightAveraging(classifier, 0.0), cast(BestEpoch, _NoValidation()), device)


def measure_labels(market: MarketArrays, device: str, steps: int | None = None) -> list[BatchSpeed]:
    """Time epochs on labels at each batch size, drawing and augmentation included."""
    rows = labeled_rows(market, LABELED_WINDOWS)
    return doubled(lambda size: _labels_at(market, rows, size, device, n_steps(size, device, steps)))


def measure_distillation(market: MarketArrays, device: str, steps: int | None = None) -> list[BatchSpeed]:
    """Time epochs on pseudo-labels at each batch size, live windows included."""
    return doubled(lambda size: _distillation_at(market, size, device, n_steps(size, device, steps)))


def _labels_at(market: MarketArrays, rows: Examples, size: int, device: str, steps: int) -> BatchSpeed:
    # model_copy() skips validation: batches above the settings' maximum show what that maximum costs
    settings = FinetuneSettings(frozen_epochs=0).model_copy(update={"batch_windows": size})
    rng = np.random.default_rng(0)
    drawn = rng.choice(len(rows.kind), steps * size, p=sampling_weights(rows, settings.balanced))
    epoch_rows = _repeated(rows, drawn)  # the number of rows sets the steps of an epoch
    student = unjudged(new_classifier(market).to(device))
    classifier = student.classifier.train()
    epochs = SupervisedLoop(student, market, epoch_rows, settings, 0)
    augmentation = Augmentation(settings.jitter_atr, settings.warp, rng)
    order = np.arange(len(epoch_rows.kind))
    prepared = list(batches(market, epoch_rows, order, size, device, augmentation))
    weights = TaskWeights().to(device)
    optimizer = new_optimizer(classifier, weights, settings)

    def loss_of(batch: Batch) -> torch.Tensor:
        states = classifier.encoder(batch.features)
        heads = classifier.read_spans(batch.features, states, batch.spans)
        return weights(losses(classifier.bar_logits(states), heads, batch))[0]

    learn(optimizer, prepared[:2], loss_of)  # warm up
    ways = {"bare": lambda: learn(optimizer, prepared, loss_of), "loop": lambda: epochs.learn(1, [])}
    seconds = seconds_in_turns(ways, device)
    return BatchSpeed(size, size, seconds["bare"] / steps, seconds["loop"] / steps, {})


def _repeated(rows: Examples, drawn: np.ndarray) -> Examples:
    """The drawn rows as separate examples, each as often as it was drawn."""
    spans = rows.spans
    begin = np.searchsorted(spans.window, drawn, side="left")
    stop = np.searchsorted(spans.window, drawn, side="right")
    picked = np.concatenate([np.arange(a, b) for a, b in zip(begin, stop, strict=True)])
    parts = replace(spans.select(picked), window=np.repeat(np.arange(len(drawn)), stop - begin))
    return Examples(
        rows.bar0[drawn],
        rows.down[drawn],
        rows.kind[drawn],
        rows.bar_target[drawn],
        rows.bar_known[drawn],
        parts,
        rows.expansion[picked],
        rows.true_start[picked],
        rows.true_end[picked],
        rows.complete[drawn],
    )


def _distillation_at(market: MarketArrays, size: int, device: str, steps: int) -> BatchSpeed:
    settings = FinetuneSettings(distill_epochs=1, distill_batch_windows=size)
    live_size = int(LIVE_SHARE * size)
    pseudo_labels = pseudo_labels_of(market, steps * size, steps * live_size, np.random.default_rng(0))
    student = unjudged(new_classifier(market).to(device))
    classifier = student.classifier.train()
    classifier.set_dropout(settings.distill_dropout)
    prepared = _prepared(market, pseudo_labels, steps, device)
    optimizer = AdamW(classifier.parameters(), settings.distill_learning_rate, fused=device == "cuda")

    def loss_of(pair: tuple[DistillStep, DistillStep]) -> torch.Tensor:
        whole, live = (_logits(classifier, *step[:2]) for step in pair)
        targets = [step[2] for step in pair]
        return (
            binary_cross_entropy_with_logits(whole.expansion, targets[0][:, 0])
            + binary_cross_entropy_with_logits(whole.retracement, targets[0][:, 1])
            + binary_cross_entropy_with_logits(live.onset, targets[1][:, 0])
            + binary_cross_entropy_with_logits(live.retracement, targets[1][:, 1])
        )

    learn(optimizer, prepared[:2], loss_of)  # warm up
    ways = {
        "bare": lambda: learn(optimizer, prepared, loss_of),
        "loop": lambda: distill(student, market, pseudo_labels, settings, 0),
    }
    seconds = seconds_in_turns(ways, device)
    return BatchSpeed(size, size + live_size, seconds["bare"] / steps, seconds["loop"] / steps, {})


def _logits(classifier: Classifier, features: torch.Tensor, spans: SpanTensors) -> Any:
    return classifier.read_spans(features, classifier.encoder(features), spans)


def _prepared(
    market: MarketArrays, pseudo_labels: PseudoLabels, steps: int, device: str
) -> list[tuple[DistillStep, DistillStep]]:
    """Every batch of one epoch on the device: whole windows and live windows."""
    live = pseudo_labels.live
    if live is None:
        raise ValueError("pseudo-labels must have live windows, got none")
    return list(
        zip(_steps(market, pseudo_labels, steps, device), _steps(market, live, steps, device), strict=True)
    )


def _steps(market: MarketArrays, pseudo_labels: PseudoLabels, steps: int, device: str) -> list[DistillStep]:
    views = group_by_view(pseudo_labels.bar0, pseudo_labels.spans)
    targets = np.stack([pseudo_labels.expansion, pseudo_labels.retracement], axis=1)
    spans = pseudo_labels.spans, pseudo_labels.inputs
    result = []
    for part in np.array_split(np.arange(len(views.bar0)), steps):
        chosen, features, tensors = spans_of_views(views, part, market, *spans, device, pseudo_labels.bars)
        result.append((features, tensors, torch.from_numpy(targets[chosen]).to(device)))
    return result
