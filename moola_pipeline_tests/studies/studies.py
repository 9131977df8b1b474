"""A study of a made market, small enough to be held in a test."""

from pathlib import Path

import numpy as np

from moola_pipeline.settings import StudySettings
from moola_pipeline.studies.pretraining_study import Origin, Study
from moola_pipeline.studies.store import Store
from moola_pipeline.training.examples import TrainingData
from moola_pipeline.training.settings import FinetuneSettings, PretrainSettings
from moola_pipeline.windows.dense import pretraining_windows
from moola_pipeline_tests.made_bars import made_market

MARKET = made_market(20)
SMALL = StudySettings(
    counts=(12, 24),
    seeds=(0, 1),
    distill_seeds=(),
    encoder_seeds=1,
    label_steps=3,
    resamples=100,
    pretrain=PretrainSettings(hidden_units=8, epochs=1, batch_windows=16),
    finetune=FinetuneSettings(head_units=4, distill_windows=20, distill_epochs=1, distill_batch_windows=16),
)


def made_study(folder: Path, settings: StudySettings = SMALL, **digests: str) -> Study:
    """36 training windows and 12 validation windows of the made market."""
    source = MARKET.bars
    train, validation = (MARKET.windows.select(np.arange(*ends)) for ends in ((0, 36), (36, 48)))
    windows = pretraining_windows(MARKET.bars.segment, int(train.bar0.max()))
    labels = {"labels.train": "a", "labels.validation": "b"} | {
        name.replace("_", "."): digest for name, digest in digests.items()
    }
    origin = Origin(labels.pop("bars", "bars"), labels, {"models": "1"}, {"training": "1"})
    return Study(TrainingData(source, train, validation), windows, Store(folder), settings, origin)
