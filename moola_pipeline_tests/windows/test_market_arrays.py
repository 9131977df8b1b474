"""Bars with their features as arrays: made from a table, cut, and measured."""

import numpy as np
import pandas as pd
import pytest

from moola_pipeline.bars.schema import PRICE_COLUMNS
from moola_pipeline.bars.table import build_table
from moola_pipeline.features.relativity import compute_features
from moola_pipeline.features.schema import mirrored
from moola_pipeline.windows.dense import pretraining_windows
from moola_pipeline.windows.market_arrays import MarketArrays
from moola_pipeline.windows.spans import Spans
from moola_pipeline.windows.window_geometry import view_rows
from moola_pipeline_tests.made_bars import TICK, made_bars

BARS = made_bars(3)
BAR0 = pretraining_windows(BARS.segment, len(BARS))


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """Two sessions of bars, UTC."""
    days = [pd.date_range(f"2024-01-0{day} 15:00", periods=400, freq="min", tz="UTC") for day in (2, 3)]
    raw = pd.DataFrame(BARS.prices[:800], columns=list(PRICE_COLUMNS))
    raw.insert(0, "timestamp", pd.DatetimeIndex(days[0].append(days[1])).as_unit("ns"))
    return build_table(raw.assign(volume=1), None)


def test_a_table_gives_its_columns_and_its_features(table: pd.DataFrame):
    market = MarketArrays.from_table(table, TICK)
    known = compute_features(market.prices, market.segment, TICK)

    assert np.array_equal(market.prices, BARS.prices[:800])
    assert np.array_equal(market.features, known.values) and np.array_equal(
        market.warm, known.structure_valid
    )
    assert (market.times == pd.DatetimeIndex(table["timestamp"])).all()
    assert np.array_equal(market.session, table["session"].to_numpy())


def test_features_that_are_known_are_not_computed_again(table: pd.DataFrame):
    known = compute_features(BARS.prices[:800] + 4, BARS.segment[:800], TICK)

    assert MarketArrays.from_table(table, TICK, known).features is known.values


def test_some_rows_are_those_of_the_whole_and_no_copy(table: pd.DataFrame):
    market = MarketArrays.from_table(table, TICK)
    some = market.rows(100, 300)

    assert len(some) == len(some.times) == len(some.session) == len(some.warm) == 200
    assert np.shares_memory(some.prices, market.prices) and np.shares_memory(some.features, market.features)
    assert np.array_equal(market.rows(790).atr, market.atr[790:])


def test_rows_from_a_session_on_have_the_features_that_they_have_alone(table: pd.DataFrame):
    market = MarketArrays.from_table(table, TICK)
    second = table.loc[table["session"] == table["session"].iloc[-1]].reset_index(drop=True)

    alone, some = MarketArrays.from_table(second, TICK), market.rows(400)

    assert np.array_equal(alone.features, some.features) and np.array_equal(alone.atr, some.atr)


def test_bars_of_prices_alone_have_no_times():
    assert len(BARS) == 1200
    assert len(BARS.times) == len(BARS.session) == 0
    assert len(BARS.rows(0, 10).times) == 0


def test_windows_that_point_down_are_mirrored_and_the_table_is_left():
    before = BARS.features.copy()
    down = np.arange(len(BAR0)) % 2 == 1
    views = BARS.feature_views(BAR0, down)

    assert np.array_equal(views[~down], BARS.features[view_rows(BAR0[~down])])
    assert np.array_equal(views[down], mirrored(BARS.features[view_rows(BAR0[down])]))
    assert np.array_equal(BARS.features, before)


def test_a_net_move_is_that_of_the_measured_span():
    window, start = np.arange(4), np.array([30, 40, 50, 60])
    spans = Spans.untyped(window, start, start + 6, np.ones(4, np.int8))
    by_hand = [
        (BARS.prices[row + s + 6, 3] - BARS.prices[row + s, 0]) / BARS.atr[row + s - 1]
        for row, s in zip(BAR0[:4], start, strict=True)
    ]

    assert BARS.net_moves(BAR0, spans) == pytest.approx(by_hand)
    assert BARS.measure_spans(BAR0[:4]).net_of(spans) == pytest.approx(by_hand)


def test_a_net_move_before_the_warm_up_is_zero():
    spans = Spans.untyped(np.array([0]), np.array([0]), np.array([3]), np.ones(1))

    assert BARS.net_moves(np.array([5]), spans).tolist() == [0]
