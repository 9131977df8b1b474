"""Expansion models depend on training and validation windows only."""

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
from moola_pipeline_tests.training.conftest import SplitRows

SETTINGS = FinetuneSettings(
    seeds=(0,), distill_windows=0, epochs=2, frozen_epochs=0, batch_windows=8, head_units=4
)


def model_of(
    encoder: Encoder, market: InstrumentData, train: LabeledWindows, validation: LabeledWindows
) -> ExpansionModel:
    made = train_expansion_models(encoder, TrainingData(market.bars, train, validation), SETTINGS)
    return made[0].model


@pytest.fixture(scope="module")
def reference(
    encoder: Encoder, market: InstrumentData, train: SplitRows, validation: SplitRows
) -> ExpansionModel:
    return model_of(encoder, market, train.windows, validation.windows)


def same_weights(one: ExpansionModel, other: ExpansionModel) -> bool:
    pairs = zip(one.classifier.state_dict().values(), other.classifier.state_dict().values(), strict=True)
    return all(bool((a == b).all()) for a, b in pairs)


def test_changed_test_rows_change_no_threshold_no_calibration_and_no_weight(
    reference: ExpansionModel,
    encoder: Encoder,
    market: InstrumentData,
    train: SplitRows,
    validation: SplitRows,
):
    end = int(validation.windows.bar0.max()) + WINDOW_BARS
    later = np.arange(end, len(market.bars.prices))
    bars = with_prices(market.bars, later, np.random.default_rng(0))
    changed = InstrumentData(bars, market.windows)
    again = model_of(encoder, changed, train.windows, validation.windows)
    assert len(later) > 1000
    assert again.thresholds == reference.thresholds
    assert again.proposer == reference.proposer
    assert same_weights(reference, again)


def test_thresholds_fitted_on_test_rows_would_differ(
    reference: ExpansionModel, encoder: Encoder, market: InstrumentData, train: SplitRows
):
    """Planted fault: test windows instead of validation windows."""
    test = market.windows.select(np.arange(48, 60))
    tuned = model_of(encoder, market, train.windows, test)
    assert tuned.thresholds != reference.thresholds
    assert tuned.proposer == reference.proposer


def test_seeds_trained_in_parallel_equal_seeds_trained_one_by_one(
    encoder: Encoder, market: InstrumentData, train: SplitRows, validation: SplitRows
):
    settings = SETTINGS.model_copy(update={"seeds": (0, 1, 2)})
    windows = train.windows, validation.windows
    reported: list[int] = []
    serial, parallel = (
        train_expansion_models(
            encoder,
            TrainingData(market.bars, *windows),
            settings,
            on_epoch=lambda seed, entry: reported.append(seed),
            workers=workers,
        )
        for workers in (1, 3)
    )
    assert list(serial) == list(parallel) == [0, 1, 2]
    assert reported.count(1) == 4
    for seed, trained in serial.items():
        assert same_weights(trained.model, parallel[seed].model)
        assert trained.model.thresholds == parallel[seed].model.thresholds
    assert not same_weights(serial[0].model, serial[1].model)
