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
from moola_pipeline.training.parallel import LazyResult, all_in_parallel, one_at_a_time
from moola_pipeline.training.proposer_fit import fit_proposer, improve_proposer
from moola_pipeline.training.pseudo_labels import PseudoLabels, fit_min_net, make_pseudo_labels
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


class PreparedTraining:
    """What all trainings on the same labels share: the proposer, its spans, and pseudo-labels by seed.

    The proposer and the teachers of finding learn from complete windows only; the networks learn the
    labeled spans of the others too, and no bar or span there is a negative.

    Args:
        data: The bars and their labeled windows.
        settings: Seeds, proposer and pseudo-labels.
    """

    def __init__(self, data: TrainingData, settings: FinetuneSettings):
        market, train, validation = data.market, data.train, data.validation
        complete = train.complete_windows
        measures = market.measure_spans(complete.bar0)
        self.data, self.settings = data, settings
        self.proposer = fit_proposer(measures, complete.spans, settings.proposal_beta)
        self.proposals = propose(market.measure_spans(validation.bar0), self.proposer)
        self.examples = make_examples(train, propose(market.measure_spans(train.bar0), self.proposer))
        self.validation_examples = make_examples(validation, self.proposals)
        self.min_net_atr = fit_min_net(market, train)
        self._pseudo_labels = {
            seed: LazyResult(partial(self._make_pseudo_labels, seed), threading.Event())
            for seed in settings.seeds
        }

    def train(
        self,
        encoder: Encoder,
        settings: FinetuneSettings,
        seed: int,
        device: torch.device | str = "cpu",
        on_epoch: Callable[[dict[str, float]], None] = lambda entry: None,
        checkpoints: Checkpoints | None = None,
    ) -> TrainedModel:
        """Train one network and fit its thresholds.

        Args:
            encoder: Not changed.
            settings: Of this network; without `distill_windows` it learns from labels only.
            seed: One of the seeds prepared for. Networks of a seed share teachers and unlabeled windows.
            device: Device of the network.
            on_epoch: Called with each history entry.
            checkpoints: Folder of the checkpoints, from which a killed training resumes.
        """
        market, validation, proposals = self.data.market, self.data.validation, self.proposals
        pseudo_labels = self._pseudo_labels[seed].result() if settings.distill_windows else None
        rows = FinetuneRows(market, self.examples, self.validation_examples, pseudo_labels)
        result = finetune(encoder, rows, settings, seed, device, on_epoch, checkpoints)
        network, labeled = result.classifier, validation.spans.pointed()
        proposed_logits = read_spans(network, market, validation.bar0, proposals)
        labeled_logits = read_spans(network, market, validation.bar0, labeled)
        has_live = pseudo_labels is not None and pseudo_labels.live is not None
        live = fit_live_thresholds(network, market, validation, self.min_net_atr) if has_live else None
        thresholds = fit_thresholds(validation, proposals, proposed_logits, labeled_logits, live)
        type_logits = labeled_logits.retracement[labeled.is_typed]
        return _trained_model(ExpansionModel(network, self.proposer, thresholds), result, type_logits)

    def _make_pseudo_labels(self, seed: int) -> PseudoLabels:
        sizes = self.settings.distill_windows, self.settings.distill_live_windows
        market, train = self.data.market, self.data.train
        n_trees = self.settings.teacher_trees
        return make_pseudo_labels(market, train, self.proposer, seed, *sizes, self.min_net_atr, n_trees)


def train_expansion_models(
    encoder: Encoder,
    data: TrainingData,
    settings: FinetuneSettings,
    device: torch.device | str = "cpu",
    on_epoch: Callable[[int, dict[str, float]], None] = lambda seed, entry: None,
    checkpoints: Checkpoints | None = None,
    workers: int = 1,
) -> dict[int, TrainedModel]:
    """Train a network and its thresholds for each seed.

    Each seed has teachers and unlabeled windows of its own, so that the spread between seeds is that of the
    whole training. Results do not depend on the number of workers.

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
    prepared, report = PreparedTraining(data, settings), one_at_a_time(on_epoch)
    works = [
        partial(prepared.train, encoder, settings, seed, device, partial(report, seed), checkpoints)
        for seed in settings.seeds
    ]
    return dict(zip(settings.seeds, all_in_parallel(works, workers), strict=True))


def _trained_model(model: ExpansionModel, result: FinetuneResult, logits: np.ndarray) -> TrainedModel:
    retracement = logits > 0
    shares = {name: float((retracement == bool(number)).mean()) for number, name in enumerate(TYPES)}
    spread = float(np.std(1 / (1 + np.exp(-logits))))
    return TrainedModel(model, result, shares, spread)


def standalone_proposer(market: MarketArrays, train: LabeledWindows) -> SpanProposer:
    """The rule with the best F1 by itself on complete windows, for the baseline without a network."""
    complete = train.complete_windows
    return improve_proposer(market.measure_spans(complete.bar0), complete.spans)
