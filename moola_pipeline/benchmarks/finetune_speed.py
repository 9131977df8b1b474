"""How fast fine-tuning runs: epochs on labels and on lessons, beside bare steps on batches already there."""

from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from moola_pipeline.benchmarks.batch_speed import BatchSpeed, doubled, in_turns, learn, n_steps
from moola_pipeline.benchmarks.training_rows import labeled_rows, new_classifier, pseudo_labels_of
from moola_pipeline.models.classifier import Classifier, SpanTensors
from moola_pipeline.models.span_inference import group_by_view, spans_of_views
from moola_pipeline.training.batches import Augmentation, Batch, batches, sampling_weights
from moola_pipeline.training.best_epoch import BestEpoch
from moola_pipeline.training.distillation import distill
from moola_pipeline.training.examples import Examples
from moola_pipeline.training.losses import TaskWeights, losses
from moola_pipeline.training.pseudo_labels import PseudoLabels
from moola_pipeline.training.settings import FinetuneSettings
from moola_pipeline.training.supervised_loop import Student, SupervisedLoop, WeightAveraging, new_optimizer
from moola_pipeline.windows.market_arrays import MarketArrays

LIVE_SHARE = 0.75
"""Live windows shown with each window that is read whole, as the default settings have them."""
LABELED_WINDOWS = 400
DistillStep = tuple[torch.Tensor, SpanTensors, torch.Tensor]
"""Features on the device, spans in them, and their two answers (n, 2)."""


class _Unjudged:
    """Stands where validation would: its time is not that of learning."""

    def note(self, entry: dict[str, float]) -> None:
        """Nothing."""


def unjudged(classifier: Classifier) -> Student:
    """A network to train whose epochs nobody judges."""
    device = classifier.encoder.hidden_bar.device
    return Student(classifier, WeightAveraging(classifier, 0.0), cast(BestEpoch, _Unjudged()), device)


def measure_labels(market: MarketArrays, device: str, steps: int | None = None) -> list[BatchSpeed]:
    """Time epochs on labels at each batch size, rows drawn and augmented on the way."""
    rows = labeled_rows(market, LABELED_WINDOWS)
    return doubled(lambda size: _labels_at(market, rows, size, device, n_steps(size, device, steps)))


def measure_distillation(market: MarketArrays, device: str, steps: int | None = None) -> list[BatchSpeed]:
    """Time epochs on lessons at each batch size, live windows among them."""
    return doubled(lambda size: _distillation_at(market, size, device, n_steps(size, device, steps)))


def _labels_at(market: MarketArrays, rows: Examples, size: int, device: str, steps: int) -> BatchSpeed:
    # a batch beyond the settings' bound is measured all the same: so it is seen what the bound costs
    settings = FinetuneSettings(frozen_epochs=0).model_copy(update={"batch_windows": size})
    rng = np.random.default_rng(0)
    drawn = rng.choice(len(rows.kind), steps * size, p=sampling_weights(rows, settings.balanced))
    shown = _repeated(rows, drawn)  # an epoch has as many steps as there are rows for
    student = unjudged(new_classifier(market).to(device))
    classifier = student.classifier.train()
    epochs = SupervisedLoop(student, market, shown, settings, 0)
    augmentation = Augmentation(settings.jitter_atr, settings.warp, rng)
    order = np.arange(len(shown.kind))
    there = list(batches(market, shown, order, size, device, augmentation))
    weights = TaskWeights().to(device)
    optimizer = new_optimizer(classifier, weights, settings)

    def loss_of(batch: Batch) -> torch.Tensor:
        states = classifier.encoder(batch.features)
        heads = classifier.read_spans(batch.features, states, batch.spans)
        return weights(losses(classifier.bar_logits(states), heads, batch))[0]

    learn(optimizer, there[:2], loss_of)  # warm
    ways = {"bare": lambda: learn(optimizer, there, loss_of), "loop": lambda: epochs.learn(1, [])}
    taken = in_turns(ways, device)
    return BatchSpeed(size, size, taken["bare"] / steps, taken["loop"] / steps, {})


def _repeated(rows: Examples, drawn: np.ndarray) -> Examples:
    """The rows that were drawn, each as often as it was, as a set of its own."""
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
    )


def _distillation_at(market: MarketArrays, size: int, device: str, steps: int) -> BatchSpeed:
    settings = FinetuneSettings(distill_epochs=1, distill_batch_windows=size)
    live_size = int(LIVE_SHARE * size)
    pseudo_labels = pseudo_labels_of(market, steps * size, steps * live_size, np.random.default_rng(0))
    student = unjudged(new_classifier(market).to(device))
    classifier = student.classifier.train()
    classifier.set_dropout(settings.distill_dropout)
    there = _prepared(market, pseudo_labels, steps, device)
    optimizer = torch.optim.AdamW(
        classifier.parameters(), settings.distill_learning_rate, fused=device == "cuda"
    )

    def loss_of(pair: tuple[DistillStep, DistillStep]) -> torch.Tensor:
        whole, live = (_said(classifier, *lesson[:2]) for lesson in pair)
        told = [lesson[2] for lesson in pair]
        return (
            binary_cross_entropy_with_logits(whole.expansion, told[0][:, 0])
            + binary_cross_entropy_with_logits(whole.retracement, told[0][:, 1])
            + binary_cross_entropy_with_logits(live.onset, told[1][:, 0])
            + binary_cross_entropy_with_logits(live.retracement, told[1][:, 1])
        )

    learn(optimizer, there[:2], loss_of)  # warm
    ways = {
        "bare": lambda: learn(optimizer, there, loss_of),
        "loop": lambda: distill(student, market, pseudo_labels, settings, 0),
    }
    taken = in_turns(ways, device)
    return BatchSpeed(size, size + live_size, taken["bare"] / steps, taken["loop"] / steps, {})


def _said(classifier: Classifier, features: torch.Tensor, spans: SpanTensors) -> Any:
    return classifier.read_spans(features, classifier.encoder(features), spans)


def _prepared(
    market: MarketArrays, pseudo_labels: PseudoLabels, steps: int, device: str
) -> list[tuple[DistillStep, DistillStep]]:
    """Every batch of one epoch on the device, windows read whole and live ones."""
    live = pseudo_labels.live
    if live is None:
        raise ValueError("lessons must hold live ones, got none")
    return list(
        zip(_cut(market, pseudo_labels, steps, device), _cut(market, live, steps, device), strict=True)
    )


def _cut(market: MarketArrays, pseudo_labels: PseudoLabels, steps: int, device: str) -> list[DistillStep]:
    views, told = (
        group_by_view(pseudo_labels.bar0, pseudo_labels.spans),
        [pseudo_labels.expansion, pseudo_labels.retracement],
    )
    made = []
    for shown in np.array_split(np.arange(len(views.bar0)), steps):
        spans = pseudo_labels.spans, pseudo_labels.inputs
        chosen, features, on_it = spans_of_views(views, shown, market, *spans, device, pseudo_labels.bars)
        made.append((features, on_it, torch.from_numpy(np.stack(told, axis=1)[chosen]).to(device)))
    return made
