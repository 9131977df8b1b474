"""Whole annotators see training and validation windows, and nothing that comes later."""

import numpy as np
import pytest

from moola_pipeline.labels.spans import LabeledWindows
from moola_pipeline.models.encoder import Encoder
from moola_pipeline.models.expansion_model import ExpansionModel
from moola_pipeline.training.examples import TrainingData
from moola_pipeline.training.expansion_models import train_expansion_models
from moola_pipeline.training.settings import FinetuneSettings
from moola_pipeline.windows.window_geometry import WINDOW_BARS
from moola_pipeline_tests.made_bars import InstrumentData, with_prices
from moola_pipeline_tests.training.conftest import DistillStep

SETTINGS = FinetuneSettings(
    seeds=(0,), distill_windows=0, epochs=2, frozen_epochs=0, batch_windows=8, head_units=4
)


def annotator_of(
    encoder: Encoder, market: InstrumentData, train: LabeledWindows, validation: LabeledWindows
) -> ExpansionModel:
    made = train_expansion_models(encoder, TrainingData(market.bars, train, validation), SETTINGS)
    return made[0].model


@pytest.fixture(scope="module")
def honest(
    encoder: Encoder, market: InstrumentData, train: DistillStep, validation: DistillStep
) -> ExpansionModel:
    return annotator_of(encoder, market, train.windows, validation.windows)


def same_weights(one: ExpansionModel, other: ExpansionModel) -> bool:
    pairs = zip(one.classifier.state_dict().values(), other.classifier.state_dict().values(), strict=True)
    return all(bool((a == b).all()) for a, b in pairs)


def test_changed_test_rows_change_no_threshold_no_calibration_and_no_weight(
    honest: ExpansionModel,
    encoder: Encoder,
    market: InstrumentData,
    train: DistillStep,
    validation: DistillStep,
):
    seen = int(validation.windows.bar0.max()) + WINDOW_BARS
    later = np.arange(seen, len(market.bars.prices))
    bars = with_prices(market.bars, later, np.random.default_rng(0))
    changed = InstrumentData(bars, market.windows)
    again = annotator_of(encoder, changed, train.windows, validation.windows)
    assert len(later) > 1000
    assert again.thresholds == honest.thresholds
    assert again.proposer == honest.proposer
    assert same_weights(honest, again)


def test_decisions_fitted_on_test_rows_would_be_others(
    honest: ExpansionModel, encoder: Encoder, market: InstrumentData, train: DistillStep
):
    """The fault planted: test windows handed in where validation belongs."""
    test = market.windows.select(np.arange(48, 60))
    tuned = annotator_of(encoder, market, train.windows, test)
    assert tuned.thresholds != honest.thresholds
    assert tuned.proposer == honest.proposer


def test_seeds_trained_at_once_are_those_trained_one_after_the_other(
    encoder: Encoder, market: InstrumentData, train: DistillStep, validation: DistillStep
):
    settings = SETTINGS.model_copy(update={"seeds": (0, 1, 2)})
    windows = train.windows, validation.windows
    heard: list[int] = []
    alone, together = (
        train_expansion_models(
            encoder,
            TrainingData(market.bars, *windows),
            settings,
            on_epoch=lambda seed, entry: heard.append(seed),
            workers=workers,
        )
        for workers in (1, 3)
    )
    assert list(alone) == list(together) == [0, 1, 2]
    assert heard.count(1) == 4
    for seed, one in alone.items():
        assert same_weights(one.model, together[seed].model)
        assert one.model.thresholds == together[seed].model.thresholds
    assert not same_weights(alone[0].model, alone[1].model)
