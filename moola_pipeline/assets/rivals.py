"""The same network without its pretraining: what pretraining and learning as such are worth."""

import copy
from collections.abc import Callable

import numpy as np

from moola_pipeline.assets.scoring import Judged, score_annotators
from moola_pipeline.assets.trial import Trial
from moola_pipeline.labels.spans import LabeledWindows
from moola_pipeline.models.encoder import Encoder
from moola_pipeline.training.annotators import train_annotators
from moola_pipeline.training.initial import initialize
from moola_pipeline.training.settings import FinetuneSettings

FRESH_SEED = 104_729
"""Of the weights that take the place of the pretrained ones."""


def train_fresh(
    trial: Trial,
    encoder: Encoder,
    train: LabeledWindows,
    validation: LabeledWindows,
    settings: FinetuneSettings,
    device: str,
    rng: np.random.Generator,
    frozen: bool,
    on_epoch: Callable[[int, dict[str, float]], None] = lambda seed, entry: None,
) -> Judged:
    """Fine-tune from random encoder weights, everything else as in the model, and score it.

    Args:
        trial: The test windows.
        encoder: The pretrained one; its scaling of the features is kept, its weights are not.
        train, validation: As the model had them.
        settings: Of fine-tuning; its seeds are those trained.
        device: Where the networks run.
        rng: Of the calibration band.
        frozen: True trains the heads alone, on the labels alone (the untrained encoder: no teacher
            reaches it either); False trains all of it as the model was (scratch).
        on_epoch: Called with the seed and each history entry.
    """
    fresh = copy.deepcopy(encoder)
    initialize(fresh, FRESH_SEED)
    if frozen:
        settings = settings.model_copy(update={"frozen_epochs": settings.epochs, "taught_windows": 0})
    trained = train_annotators(
        fresh, trial.bars, trial.features, train, validation, settings, device, on_epoch
    )
    return score_annotators(trial, {seed: one.annotator for seed, one in trained.items()}, device, rng)
