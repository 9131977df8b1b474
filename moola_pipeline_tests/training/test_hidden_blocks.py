"""The task of pretraining: an encoder learns planted structure; no row after the last window is read."""

from dataclasses import replace

import numpy as np

from moola_pipeline.training.pretrain import PretrainResult, pretrain
from moola_pipeline.training.settings import PretrainSettings
from moola_pipeline.windows.dense import pretraining_windows
from moola_pipeline.windows.market_arrays import MarketArrays
from moola_pipeline.windows.window_geometry import WINDOW_BARS
from moola_pipeline_tests.made_bars import TICK, with_prices

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


def small(**changes: object) -> PretrainSettings:
    given = {"hidden_units": 8, "epochs": 6, "batch_windows": 8, "learning_rate": 5e-3}
    return PretrainSettings.model_validate(given | changes)


def weights_of(result: PretrainResult) -> np.ndarray:
    return np.concatenate([tensor.numpy().ravel() for tensor in result.encoder.state_dict().values()])


def test_an_encoder_beats_a_constant_on_planted_structure():
    errors = pretrain(SOURCE, WINDOWS, small()).errors

    assert errors["encoder"] < 0.6 * errors["mean"]


def test_no_row_after_the_last_window_is_read():
    end = int(WINDOWS.max()) + WINDOW_BARS
    changed = with_prices(BARS, np.arange(end, len(BARS.prices)), np.random.default_rng(0))
    values, atr = SOURCE.features.copy(), SOURCE.atr.copy()
    values[end:], atr[end:] = np.nan, np.nan
    settings = small(epochs=1)

    assert end < len(BARS.prices)
    results = [
        pretrain(source, WINDOWS, settings) for source in (SOURCE, replace(changed, features=values, atr=atr))
    ]

    assert np.array_equal(weights_of(results[0]), weights_of(results[1]))
    assert results[0].errors == results[1].errors
