"""From an encoder and labeled windows to whole models: rule, network and decisions, one a seed."""

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
from moola_pipeline.models.span_inference import SpanLogits, read_spans
from moola_pipeline.models.span_proposer import SpanProposer, propose
from moola_pipeline.training.checkpoints import Checkpoints
from moola_pipeline.training.examples import TrainingData, make_examples
from moola_pipeline.training.finetune import FinetuneResult, FinetuneRows, finetune
from moola_pipeline.training.live_thresholds import fit_live_thresholds
from moola_pipeline.training.parallel import all_in_parallel
from moola_pipeline.training.proposer_fit import fit_proposer, push_proposer
from moola_pipeline.training.pseudo_labels import fit_min_net, make_pseudo_labels
from moola_pipeline.training.settings import FinetuneSettings
from moola_pipeline.training.thresholds import fit_thresholds
from moola_pipeline.windows.market_arrays import MarketArrays


@dataclass(frozen=True)
class TrainedModel:
    """One seed's model.

    Attributes:
        model: SpanProposer, network and decisions.
        result: How the network was trained.
        type_shares: Share of each type among its answers for the labeled validation spans.
        spread: Standard deviation of its P(retracement), uncalibrated, over those spans.
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
    """Fit the proposing rule on training windows, then a network and its decisions for each seed.

    The numbers do not depend on how many seeds are trained at once.

    Args:
        encoder: Pretrained; not changed.
        data: The bars and their labeled windows.
        settings: See `FinetuneSettings`.
        device: Where the networks run.
        on_epoch: Called with the seed and each history entry, by one seed at a time.
        checkpoints: Where each epoch is kept, so that a training that was killed goes on.
        workers: Seeds trained at once, each in a thread.

    Raises:
        ValueError: If training holds too few rows, or one type only.
    """
    market, train, validation = data.market, data.train, data.validation
    train_measures = market.measure_spans(train.bar0)
    proposer = fit_proposer(train_measures, train.spans, settings.proposal_beta)
    proposals = propose(market.measure_spans(validation.bar0), proposer)
    labeled = validation.spans.pointed()
    examples = make_examples(train, propose(train_measures, proposer))
    checked = make_examples(validation, proposals)
    min_net_atr = fit_min_net(market, train)
    pseudo_labels = None
    if settings.distill_windows:
        asked = settings.distill_windows, settings.distill_live_windows
        pseudo_labels = make_pseudo_labels(market, train, proposer, *asked, min_net_atr)
    teaches_live = pseudo_labels is not None and pseudo_labels.live is not None
    rows = FinetuneRows(market, examples, checked, pseudo_labels)
    telling = threading.Lock()

    def tell(seed: int, entry: dict[str, float]) -> None:
        with telling:
            on_epoch(seed, entry)

    def train_one(seed: int) -> TrainedModel:
        result = finetune(encoder, rows, settings, seed, device, partial(tell, seed), checkpoints)
        network = result.classifier
        proposed = read_spans(network, market, validation.bar0, proposals)
        marked = read_spans(network, market, validation.bar0, labeled)
        live = fit_live_thresholds(network, market, validation, min_net_atr) if teaches_live else None
        thresholds = fit_thresholds(validation, proposals, proposed, marked, live)
        return _trained(ExpansionModel(network, proposer, thresholds), result, marked)

    trained = all_in_parallel([partial(train_one, seed) for seed in settings.seeds], workers)
    return dict(zip(settings.seeds, trained, strict=True))


def _trained(model: ExpansionModel, result: FinetuneResult, marked: SpanLogits) -> TrainedModel:
    retracement = marked.retracement > 0
    shares = {name: float((retracement == bool(number)).mean()) for number, name in enumerate(TYPES)}
    spread = float(np.std(1 / (1 + np.exp(-marked.retracement))))
    return TrainedModel(model, result, shares, spread)


def standalone_proposer(market: MarketArrays, train: LabeledWindows) -> SpanProposer:
    """The rule that finds expansions best by itself, for the peer that uses no network."""
    return push_proposer(market.measure_spans(train.bar0), train.spans)
