"""The same network without pretraining: from scratch, or only its heads on an untrained encoder."""

import copy
from collections.abc import Callable

from moola_pipeline.models.encoder import Encoder, initialize
from moola_pipeline.models.expansion_model import ExpansionModel
from moola_pipeline.training.examples import TrainingData
from moola_pipeline.training.expansion_models import train_expansion_models
from moola_pipeline.training.settings import FinetuneSettings

FRESH_SEED = 104_729
"""Seed of the random encoder weights."""


def train_from_scratch(
    data: TrainingData,
    encoder: Encoder,
    settings: FinetuneSettings,
    device: str,
    on_epoch: Callable[[int, dict[str, float]], None] = lambda seed, entry: None,
) -> dict[int, ExpansionModel]:
    """Train the whole network as the model was trained, but from random encoder weights.

    Args:
        data: Bars and labeled windows of the model's training.
        encoder: The pretrained encoder; its feature scaling is reused, its weights are not.
        settings: Fine-tuning settings of the model.
        device: Device of the networks.
        on_epoch: Called with the seed and each history entry.

    Returns:
        By seed of the settings.
    """
    trained = train_expansion_models(_random_like(encoder), data, settings, device, on_epoch)
    return {seed: result.model for seed, result in trained.items()}


def train_untrained(
    data: TrainingData, encoder: Encoder, settings: FinetuneSettings, device: str
) -> ExpansionModel:
    """Train heads on an untrained encoder, on labels only (without distillation), for the first seed.

    Arguments as in `train_from_scratch`.
    """
    seed = settings.seeds[0]
    heads_only = {"seeds": (seed,), "frozen_epochs": settings.epochs, "distill_windows": 0}
    settings = settings.model_copy(update=heads_only)
    return train_expansion_models(_random_like(encoder), data, settings, device)[seed].model


def _random_like(encoder: Encoder) -> Encoder:
    fresh = copy.deepcopy(encoder)
    initialize(fresh, FRESH_SEED)
    return fresh
