"""The model beside its ablations: the same network from scratch, and heads on an untrained encoder."""

import copy
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from moola_pipeline.models.encoder import Encoder, initialize
from moola_pipeline.models.expansion_model import ExpansionModel
from moola_pipeline.training.checkpoints import Checkpoints
from moola_pipeline.training.examples import TrainingData
from moola_pipeline.training.expansion_models import PreparedTraining, TrainedModel
from moola_pipeline.training.parallel import all_in_parallel, one_at_a_time
from moola_pipeline.training.settings import FinetuneSettings

MODEL, SCRATCH = "model", "scratch"
RANDOM_SEED = 104_729
"""Seed of the random encoder weights."""


class TrainedNetworks(NamedTuple):
    """The model and its ablations.

    Attributes:
        models: By seed.
        scratch: The same networks from random encoder weights, by seed: what pretraining adds.
        untrained: Heads on an untrained encoder, by the first seed: what the encoder adds.
    """

    models: dict[int, TrainedModel]
    scratch: dict[int, ExpansionModel]
    untrained: ExpansionModel


def train_with_ablations(
    encoder: Encoder,
    data: TrainingData,
    settings: FinetuneSettings,
    device: str = "cpu",
    on_epoch: Callable[[str, int, dict[str, float]], None] = lambda network, seed, entry: None,
    checkpoints: Checkpoints | None = None,
    workers: int = 1,
) -> TrainedNetworks:
    """Train the model for each seed, from scratch for the first `scratch_seeds`, and the untrained heads.

    Networks of a seed share its teachers and unlabeled windows. The ablations keep the feature scaling of
    the encoder, not its weights. The rest is as in `train_expansion_models`.

    Args:
        encoder: Pretrained; not changed.
        data: The bars and their labeled windows.
        settings: See `FinetuneSettings`.
        device: Device of the networks.
        on_epoch: Called with MODEL or SCRATCH, the seed and each history entry, in one thread at a time.
        checkpoints: Folder of the checkpoints of the model.
        workers: Number of networks trained at the same time.
    """
    prepared, seeds = PreparedTraining(data, settings), settings.seeds
    scratch_seeds = seeds[: settings.scratch_seeds]
    report = one_at_a_time(on_epoch)
    model, *more = (
        partial(prepared.train, encoder, settings, seed, device, partial(report, MODEL, seed), checkpoints)
        for seed in seeds
    )
    scratch = [
        partial(prepared.train, random_like(encoder), settings, seed, device, partial(report, SCRATCH, seed))
        for seed in scratch_seeds
    ]
    untrained = partial(prepared.train, random_like(encoder), _heads_only(settings), seeds[0], device)
    # The untrained heads need no teachers: another core trains them while those of the first seed are fitted.
    first, heads, *others = all_in_parallel([model, untrained, *more, *scratch], workers)
    by_seed = dict(zip(seeds, [first, *others[: len(more)]], strict=True))
    from_scratch = [trained.model for trained in others[len(more) :]]
    return TrainedNetworks(by_seed, dict(zip(scratch_seeds, from_scratch, strict=True)), heads.model)


def train_untrained(
    data: TrainingData, encoder: Encoder, settings: FinetuneSettings, device: str
) -> ExpansionModel:
    """Train only the heads on an untrained encoder, on labels without distillation, by the first seed.

    Args:
        data: Bars and labeled windows of the model's training.
        encoder: The pretrained encoder; its feature scaling is reused, its weights are not.
        settings: Fine-tuning settings of the model.
        device: Device of the network.
    """
    prepared, heads_only = PreparedTraining(data, settings), _heads_only(settings)
    return prepared.train(random_like(encoder), heads_only, settings.seeds[0], device).model


def _heads_only(settings: FinetuneSettings) -> FinetuneSettings:
    return settings.model_copy(update={"frozen_epochs": settings.epochs, "distill_windows": 0})


def random_like(encoder: Encoder, seed: int = 0) -> Encoder:
    """An encoder with random weights and the feature scaling of another."""
    random = copy.deepcopy(encoder)
    initialize(random, RANDOM_SEED + seed)
    return random
