"""Small simulated markets with and without a type signal, and a network trained on each."""

from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd
import torch

from moola_pipeline.bars.simulated import LabelPeriod, SimulationSettings, simulate
from moola_pipeline.bars.table import build_table
from moola_pipeline.evaluation.scoring import EvaluatedModel, LabeledTestSet, score_models
from moola_pipeline.labels.placement import split_labels
from moola_pipeline.labels.simulated_annotator import draw_labels
from moola_pipeline.labels.spans import LabeledWindows, labeled_windows
from moola_pipeline.labels.splits import SplitSettings
from moola_pipeline.metrics.scores import resample_windows
from moola_pipeline.models.encoder import Encoder, initialize
from moola_pipeline.models.expansion_model import ExpansionModel
from moola_pipeline.training.examples import TrainingData
from moola_pipeline.training.expansion_models import train_expansion_models
from moola_pipeline.training.settings import FinetuneSettings
from moola_pipeline.windows.market_arrays import MarketArrays

TICK_POINTS = 0.25
RESAMPLES = 1000
HIDDEN_UNITS = 32
TRAINING = FinetuneSettings(
    seeds=(0,),
    distill_windows=0,
    epochs=16,
    frozen_epochs=0,
    patience=16,
    batch_windows=16,
    learning_rate=3e-3,
)
MARKET = SimulationSettings(
    seed=7,
    first_session=date(2024, 9, 3),
    last_session=date(2025, 6, 30),
    pause_bars=80,
    miss_rate=0,
    type_slip_rate=0,
    label_periods=(
        LabelPeriod(first_session=date(2024, 9, 3), last_session=date(2024, 12, 31), windows=240),
        LabelPeriod(first_session=date(2025, 1, 1), last_session=date(2025, 2, 28), windows=80),
        LabelPeriod(first_session=date(2025, 3, 1), last_session=date(2025, 6, 30), windows=200),
    ),
)
SPLITS = SplitSettings(
    train_end=date(2024, 12, 31), validation_end=date(2025, 2, 28), test_end=date(2025, 6, 30)
)


@dataclass(frozen=True)
class PlantedSignal:
    """A simulated market and its splits.

    Attributes:
        frame: Placed labels with `split`.
        test_set: The test windows.
        train, validation: The training and validation windows.
    """

    frame: pd.DataFrame
    test_set: LabeledTestSet
    train: LabeledWindows
    validation: LabeledWindows


def plant(rng: np.random.Generator, type_shown: bool = True) -> PlantedSignal:
    """Simulate a market, its labels and its splits; writes nothing.

    Args:
        rng: Draws the resamples of sessions.
        type_shown: False: no bar before an expansion depends on its type.
    """
    settings = MARKET.model_copy(update={"type_shown": type_shown})
    market = simulate(settings)
    bars = build_table(market.bars, market.rolls if len(market.rolls) else None)
    frame = split_labels(draw_labels(market, settings), bars, SPLITS).frame
    train, validation, test = (labeled_windows(frame, split) for split in ("train", "validation", "test"))
    test_set = LabeledTestSet(
        MarketArrays.from_table(bars, TICK_POINTS), resample_windows(test, RESAMPLES, rng)
    )
    return PlantedSignal(frame, test_set, train, validation)


def trained(planted: PlantedSignal, device: str) -> ExpansionModel:
    """The network fine-tuned from random weights on the planted labels."""
    encoder = Encoder(HIDDEN_UNITS)
    initialize(encoder, 0)
    market = planted.test_set.market
    encoder.set_scale(torch.from_numpy(market.features[market.warm]))
    data = TrainingData(market, planted.train, planted.validation)
    models = train_expansion_models(encoder.eval(), data, TRAINING, device)
    return models[TRAINING.seeds[0]].model


def evaluate(
    planted: PlantedSignal, model: ExpansionModel, device: str, rng: np.random.Generator
) -> EvaluatedModel:
    """Scores of a model on the test windows."""
    return score_models(planted.test_set, {0: model}, device, rng)
