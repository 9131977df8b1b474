"""The ablations are trained beside the model, on the same pseudo-labels."""

import copy

import numpy as np
import pytest
import torch

from moola_pipeline.models.encoder import Encoder, initialize
from moola_pipeline.models.expansion_model import ExpansionModel
from moola_pipeline.training import expansion_models
from moola_pipeline.training.ablations import (
    RANDOM_SEED,
    TrainedNetworks,
    train_untrained,
    train_with_ablations,
)
from moola_pipeline.training.examples import TrainingData
from moola_pipeline.training.expansion_models import train_expansion_models
from moola_pipeline.training.settings import FinetuneSettings
from moola_pipeline_tests.made_bars import InstrumentData
from moola_pipeline_tests.training.conftest import SplitRows

SETTINGS = FinetuneSettings(
    seeds=(0, 1),
    scratch_seeds=1,
    distill_windows=1000,
    distill_live_windows=100,
    distill_epochs=1,
    epochs=1,
    frozen_epochs=0,
    batch_windows=8,
    head_units=4,
)


@pytest.fixture(scope="module")
def data(market: InstrumentData, train: SplitRows, validation: SplitRows) -> TrainingData:
    return TrainingData(market.bars, train.windows, validation.windows)


@pytest.fixture(scope="module")
def networks(encoder: Encoder, data: TrainingData) -> TrainedNetworks:
    return train_with_ablations(encoder, data, SETTINGS)


def weights(model: ExpansionModel) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in model.classifier.state_dict().items()}


def test_the_model_is_the_one_trained_without_ablations(
    networks: TrainedNetworks, encoder: Encoder, data: TrainingData
):
    alone = train_expansion_models(encoder, data, SETTINGS)
    assert list(networks.models) == list(alone) == [0, 1]
    for seed, trained in alone.items():
        np.testing.assert_equal(weights(networks.models[seed].model), weights(trained.model))
        assert networks.models[seed].model.thresholds == trained.model.thresholds
    np.testing.assert_equal(
        weights(networks.untrained), weights(train_untrained(data, encoder, SETTINGS, "cpu"))
    )


def test_networks_trained_in_parallel_equal_those_trained_one_by_one(
    networks: TrainedNetworks, encoder: Encoder, data: TrainingData
):
    parallel = train_with_ablations(encoder, data, SETTINGS, workers=3)
    assert list(networks.scratch) == list(parallel.scratch) == [0]
    for one, other in (
        (networks.scratch[0], parallel.scratch[0]),
        (networks.untrained, parallel.untrained),
        *((networks.models[seed].model, parallel.models[seed].model) for seed in (0, 1)),
    ):
        np.testing.assert_equal(weights(one), weights(other))


def test_the_network_from_scratch_differs_in_its_encoder_at_the_start_only(
    networks: TrainedNetworks, encoder: Encoder
):
    scratch, model = networks.scratch[0], networks.models[0].model
    assert scratch.proposer == model.proposer
    for name in ("center", "scale"):
        assert torch.equal(getattr(scratch.classifier.encoder, name), getattr(encoder, name))
    assert not np.array_equal(
        weights(scratch)["encoder.lstm.weight_hh_l0"], weights(model)["encoder.lstm.weight_hh_l0"]
    )


def test_the_encoder_below_untrained_heads_stays_as_it_was_drawn(networks: TrainedNetworks, encoder: Encoder):
    drawn = copy.deepcopy(encoder)
    initialize(drawn, RANDOM_SEED)
    untrained = networks.untrained.classifier.encoder.state_dict()
    for name, tensor in drawn.state_dict().items():
        assert torch.equal(untrained[name], tensor)
    assert not torch.equal(untrained["lstm.weight_hh_l0"], encoder.state_dict()["lstm.weight_hh_l0"])
    assert networks.untrained.thresholds.live is None


@pytest.mark.parametrize("workers", [1, 3])
def test_pseudo_labels_are_made_once_a_seed(
    workers: int, encoder: Encoder, data: TrainingData, monkeypatch: pytest.MonkeyPatch
):
    seeds: list[int] = []
    make = expansion_models.make_pseudo_labels

    def counted(market: object, train: object, proposer: object, seed: int, *sizes: object) -> object:
        seeds.append(seed)
        return make(market, train, proposer, seed, *sizes)  # pyright: ignore[reportArgumentType, reportCallIssue]

    monkeypatch.setattr(expansion_models, "make_pseudo_labels", counted)
    told: list[tuple[str, int]] = []
    train_with_ablations(
        encoder,
        data,
        SETTINGS,
        on_epoch=lambda network, seed, entry: told.append((network, seed)),
        workers=workers,
    )
    assert sorted(seeds) == [0, 1]
    assert sorted(set(told)) == [("model", 0), ("model", 1), ("scratch", 0)]
