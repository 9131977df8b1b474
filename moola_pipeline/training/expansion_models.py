"""Training of complete expansion models, one a seed: span proposer, network and thresholds."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from moola_pipeline.labels.schema import TYPES
from moola_pipeline.labels.spans import LabeledWindows
from moola_pipeline.models.encoder import Encoder
from moola_pipeline.models.expansion_model import ExpansionModel
from moola_pipeline.models.span_inference import read_spans
from moola_pipeline.models.span_proposer import SpanProposer, propose
from moola_pipeline.training.checkpoints import Checkpoints
from moola_pipeline.training.examples import TrainingData, make_examples
from moola_pipeline.training.finetune import FinetuneResult, FinetuneRows, finetune
from moola_pipeline.training.live_thresholds import fit_live_thresholds
from moola_pipeline.training.parallel import all_in_parallel
from moola_pipeline.training.proposer_fit import fit_proposer, improve_proposer
from moola_pipeline.training.pseudo_labels import fit_min_net, make_pseudo_labels
from moola_pipeline.training.settings import FinetuneSettings
from moola_pipeline.training.thresholds import fit_thresholds
from moola_pipeline.windows.market_arrays import MarketArrays


@dataclass(frozen=True)
class TrainedModel:
    """One seed's model.

    Attributes:
        model: Span proposer, network and thresholds.
        result: Training result of the network.
        type_shares: Share of each type among its predictions for the labeled validation spans of known
            type.
        spread: Standard deviation of its uncalibrated P(retracement) over those spans.
    """

    model: ExpansionModel
    result: FinetuneResult
    type_shares: dict[str, float]
    spread: float

    @property
    def val_loss(self) -> float:
        """Validation loss of the epoch whose weights were kept."""
        return self.result.history[self.result.best_epoch]["val_loss"]


def train_expansion_models(
    encoder: Encoder,
    data: TrainingData,
    settings: FinetuneSettings,
    device: torch.device | str = "cpu",
    on_epoch: Callable[[int, dict[str, float]], None] = lambda seed, entry: None,
    checkpoints: Checkpoints | None = None,
    workers: int = 1,
) -> dict[int, TrainedModel]:
    """Fit the span proposer on training windows, then a network and its thresholds for each seed.

    Each seed has teachers and unlabeled windows of its own, so that the spread between seeds is that of the
    whole training.
    The proposer and the teachers of finding learn from complete windows only; the network learns the
    labeled spans of the others too, and no bar or span there is a negative.

    Results do not depend on the number of workers.

    Args:
        encoder: Pretrained; not changed.
        data: The bars and their labeled windows.
        settings: See `FinetuneSettings`.
        device: Device of the networks.
        on_epoch: Called with the seed and each history entry, in one thread at a time.
        checkpoints: Folder of the checkpoints, from which a killed training resumes.
        workers: Number of seeds trained at the same time, each in a thread.

    Raises:
        ValueError: If the training windows hold too few rows, or one type only.
    """
    market, train, validation = data.market, data.train, data.validation
    complete = train.complete_windows
    proposer = fit_proposer(market.measure_spans(complete.bar0), complete.spans, settings.proposal_beta)
    proposals = propose(market.measure_spans(validation.bar0), proposer)
    labeled = validation.spans.pointed()
    examples = make_examples(train, propose(market.measure_spans(train.bar0), proposer))
    validation_examples = make_examples(validation, proposals)
    min_net_atr = fit_min_net(market, train)
    has_live = bool(settings.distill_windows and settings.distill_live_windows)
    report_lock = threading.Lock()

    def report(seed: int, entry: dict[str, float]) -> None:
        with report_lock:
            on_epoch(seed, entry)

    def train_one(seed: int) -> TrainedModel:
        pseudo_labels = None
        if settings.distill_windows:
            sizes = settings.distill_windows, settings.distill_live_windows
            pseudo_labels = make_pseudo_labels(market, train, proposer, seed, *sizes, min_net_atr)
        rows = FinetuneRows(market, examples, validation_examples, pseudo_labels)
        result = finetune(encoder, rows, settings, seed, device, partial(report, seed), checkpoints)
        network = result.classifier
        proposed_logits = read_spans(network, market, validation.bar0, proposals)
        labeled_logits = read_spans(network, market, validation.bar0, labeled)
        live = fit_live_thresholds(network, market, validation, min_net_atr) if has_live else None
        thresholds = fit_thresholds(validation, proposals, proposed_logits, labeled_logits, live)
        type_logits = labeled_logits.retracement[labeled.is_typed]
        return _trained_model(ExpansionModel(network, proposer, thresholds), result, type_logits)

    models = all_in_parallel([partial(train_one, seed) for seed in settings.seeds], workers)
    return dict(zip(settings.seeds, models, strict=True))


def _trained_model(model: ExpansionModel, result: FinetuneResult, logits: np.ndarray) -> TrainedModel:
    retracement = logits > 0
    shares = {name: float((retracement == bool(number)).mean()) for number, name in enumerate(TYPES)}
    spread = float(np.std(1 / (1 + np.exp(-logits))))
    return TrainedModel(model, result, shares, spread)


def standalone_proposer(market: MarketArrays, train: LabeledWindows) -> SpanProposer:
    """The rule with the best F1 by itself on complete windows, for the baseline without a network."""
    complete = train.complete_windows
    return improve_proposer(market.measure_spans(complete.bar0), complete.spans)
