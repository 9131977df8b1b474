"""Objectives: an encoder learns planted structure, and no row after the last window is read."""

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch

from moola_pipeline.models.encoder import Encoder, initialize
from moola_pipeline.training.objectives.objective import states_before
from moola_pipeline.training.objectives.span_structure import SPANS_A_WINDOW, SpanStructure
from moola_pipeline.training.pretrain import OBJECTIVES, PretrainResult, pretrain
from moola_pipeline.training.settings import ObjectiveName, PretrainSettings
from moola_pipeline.windows.dense import pretraining_windows
from moola_pipeline.windows.market_arrays import MarketArrays
from moola_pipeline.windows.span_inputs import span_inputs
from moola_pipeline.windows.spans import Spans
from moola_pipeline.windows.window_geometry import CONTEXT_BARS, WINDOW_BARS, view_rows
from moola_pipeline_tests.made_bars import TICK, with_prices

NAMES = get_args(ObjectiveName)
PERIOD = 24
"""Bars from one high of the planted wave to the next."""


def wave(n_segments: int, n_bars: int = 400) -> MarketArrays:
    """Segments with even legs of 12 bars up and down: what is hidden can be predicted."""
    rng = np.random.default_rng(0)
    phase = rng.integers(0, PERIOD, n_segments)[:, None]
    rising = (np.arange(n_bars) + phase) % PERIOD < PERIOD // 2
    moves = np.where(rising, 8, -8) + rng.integers(-3, 4, rising.shape)
    close = TICK * (40_000 + np.cumsum(moves, axis=1))
    opens = np.concatenate([close[:, :1], close[:, :-1]], axis=1)
    high, low = np.maximum(opens, close) + 2 * TICK, np.minimum(opens, close) - 2 * TICK
    prices = np.stack([opens, high, low, close], axis=2).reshape(-1, 4)
    return MarketArrays.from_prices(prices, np.repeat(np.arange(n_segments), n_bars), TICK)


BARS = wave(14)
SOURCE = BARS
WINDOWS = pretraining_windows(BARS.segment, len(BARS.prices))[:-6]
TRAIN = WINDOWS[:50]


def small(name: ObjectiveName, **changes: object) -> PretrainSettings:
    given = {"objective": name, "hidden_units": 8, "epochs": 6, "batch_windows": 8, "learning_rate": 5e-3}
    return PretrainSettings.model_validate(given | changes)


def made(objective: type, name: ObjectiveName, **changes: object):
    encoder = Encoder(8)
    initialize(encoder, 0)
    encoder.set_scale(
        torch.from_numpy(SOURCE.features[view_rows(TRAIN)].reshape(-1, SOURCE.features.shape[1]))
    )
    rng = np.random.default_rng(0)
    return objective(SOURCE, encoder, TRAIN, small(name, **changes), rng), encoder


def weights_of(result: PretrainResult) -> np.ndarray:
    return np.concatenate([tensor.numpy().ravel() for tensor in result.encoder.state_dict().values()])


def test_every_objective_name_has_an_objective():
    assert set(OBJECTIVES) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_an_encoder_beats_a_constant_on_planted_structure(name: ObjectiveName):
    errors = pretrain(SOURCE, WINDOWS, small(name)).errors

    assert errors["encoder"] < 0.6 * errors["mean"]


@pytest.mark.parametrize("name", NAMES)
def test_no_objective_reads_a_row_after_the_last_window(name: ObjectiveName):
    end = int(WINDOWS.max()) + WINDOW_BARS
    changed = with_prices(BARS, np.arange(end, len(BARS.prices)), np.random.default_rng(0))
    values, atr = SOURCE.features.copy(), SOURCE.atr.copy()
    values[end:], atr[end:] = np.nan, np.nan
    settings = small(name, epochs=1)

    assert end < len(BARS.prices)
    results = [
        pretrain(source, WINDOWS, settings) for source in (SOURCE, replace(changed, features=values, atr=atr))
    ]

    assert np.array_equal(weights_of(results[0]), weights_of(results[1]))
    assert results[0].errors == results[1].errors


def test_the_targets_of_spans_are_their_features():
    objective, _ = made(SpanStructure, "span_structure", mirror=False)
    batch = objective.draw(TRAIN[:5], np.random.default_rng(1), cut=np.inf)
    start, end = batch.onset - CONTEXT_BARS, batch.stop - CONTEXT_BARS - 1
    views, atr = BARS.views(TRAIN[:5]), SOURCE.atr[view_rows(TRAIN[:5])]
    measured = span_inputs(views, atr, Spans.untyped(batch.row, start, end, np.ones(len(start))))

    assert len(start) == 5 * SPANS_A_WINDOW
    assert np.allclose(batch.targets * objective.scale + objective.center, measured, atol=1e-3)


def test_states_before_a_span_are_the_last_one_and_the_mean_of_45():
    states = torch.arange(2 * 125 * 2, dtype=torch.float64).reshape(2, 125, 2)
    read = states_before(states, torch.tensor([0, 1]), torch.tensor([60, 10]))

    assert torch.equal(read[0, :2], states[0, 59])
    assert torch.allclose(read[0, 2:], states[0, 15:60].mean(dim=0))
    assert torch.allclose(read[1, 2:], states[1, :10].mean(dim=0))
