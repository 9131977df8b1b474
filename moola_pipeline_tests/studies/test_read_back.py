"""What is read back from states: all of what they hold, nothing of what they do not."""

import numpy as np
import pytest
import torch

from moola_pipeline.models.encoder import Encoder, initialize
from moola_pipeline.studies import read_back as study
from moola_pipeline.studies.ablation_folds import Fold, StudyData, whole_training
from moola_pipeline.studies.read_back import GROUPS, read_back, read_back_lines, states_before
from moola_pipeline.windows.span_inputs import N_INPUTS
from moola_pipeline_tests.made_bars import made_market


@pytest.fixture(scope="module")
def fold() -> Fold:
    market = made_market(60)
    train, validation = (market.windows.select(np.arange(*ends)) for ends in ((0, 140), (145, 180)))
    return whole_training(StudyData(market.bars, train, validation, "made"))


def encoder() -> Encoder:
    made = Encoder(4)
    initialize(made, 1)
    return made


def test_the_groups_hold_all_numbers():
    assert sum(GROUPS.values()) == N_INPUTS


def test_numbers_that_the_states_hold_are_read_back_and_noise_is_not(
    fold: Fold, monkeypatch: pytest.MonkeyPatch
):
    rng = np.random.default_rng(0)

    def states(market, bar0, spans, encoder):
        numbers = market.measure_inputs(bar0, spans)
        return np.clip((numbers - numbers.mean(axis=0)) / np.maximum(numbers.std(axis=0), 1e-3), -4, 4) + 0.01

    monkeypatch.setattr(study, "_states", states)
    _, whole = read_back(fold, {"knows all": encoder()})
    assert whole.encoder == "knows all" and whole.all_numbers > 0.9
    monkeypatch.setattr(
        study, "_states", lambda market, bar0, spans, encoder: rng.normal(size=(len(spans.window), 20))
    )
    _, none = read_back(fold, {"knows nothing": encoder()})
    assert none.all_numbers < 0.05


def test_an_encoder_is_read_beside_two_bars_without_one(fold: Fold):
    rows = read_back(fold, {"random weights": encoder()})
    assert [row.encoder for row in rows] == ["no encoder: features of two bars", "random weights"]
    assert all(-1 < value <= 1 for row in rows for value in (*row.by_group.values(), row.all_numbers))
    lines = read_back_lines(rows)
    assert len(lines) == 4 and lines[2].startswith("| no encoder: features of two bars | ")
    assert lines[3].count("|") == lines[0].count("|") == len(GROUPS) + 3


def test_states_before_a_span_are_the_last_one_and_the_mean_of_45():
    states = torch.arange(2 * 125 * 2, dtype=torch.float64).reshape(2, 125, 2)
    read = states_before(states, torch.tensor([0, 1]), torch.tensor([60, 10]))

    assert torch.equal(read[0, :2], states[0, 59])
    assert torch.allclose(read[0, 2:], states[0, 15:60].mean(dim=0))
    assert torch.allclose(read[1, 2:], states[1, :10].mean(dim=0))
