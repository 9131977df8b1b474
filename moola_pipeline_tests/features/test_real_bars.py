"""The properties of features on five years of real bars, with their rolls and halts."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from moola_pipeline.bars.rolls import read_rolls
from moola_pipeline.bars.schema import PRICE_COLUMNS
from moola_pipeline.bars.table import build_table
from moola_pipeline.features.averages import segment_bounds
from moola_pipeline.features.gates import feature_table_figures, is_dense, is_spread
from moola_pipeline.features.relativity import FeatureTable, compute_features
from moola_pipeline.features.schema import FEATURE_NAMES, RANGE_HIGH, RANGE_LOW, mirrored
from moola_pipeline.features.zigzag import confirmed_swings
from moola_pipeline.windows.dense import figures_by_position, pretraining_windows
from moola_pipeline_tests.features.naive import TICK, naive_features, upside_down
from moola_pipeline_tests.features.test_relativity import ROUNDING, stacked

Bars = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def bars(private_data: Path) -> Bars:
    """Prices and segments of all real bars."""
    real = private_data / "real"
    raw = pd.read_parquet(real / "nq_1m_2020-09_2025-06.parquet").rename(columns={"ts_utc": "timestamp"})
    table = build_table(raw.astype({"volume": "Int64"}), read_rolls(real / "nq_rolls.csv"))
    return table[list(PRICE_COLUMNS)].to_numpy(), table["segment"].to_numpy()


@pytest.fixture(scope="module")
def whole(bars: Bars) -> FeatureTable:
    return compute_features(*bars, TICK)


def some_segments(bars: Bars, n: int, longest: int = 10**9) -> list[slice]:
    """Rows of segments spread evenly over the years."""
    starts, ends = segment_bounds(bars[1])
    chosen = np.flatnonzero((ends - starts > 100) & (ends - starts <= longest))
    chosen = chosen[np.linspace(0, len(chosen) - 1, n).astype(int)]
    return [slice(first, end) for first, end in zip(starts[chosen], ends[chosen], strict=True)]


def test_later_bars_never_change_earlier_features(bars: Bars, whole: FeatureTable):
    prices, segment = bars
    cuts = np.random.default_rng(0).integers(1, len(prices), 12)
    for n_bars in cuts.tolist():
        early = compute_features(prices[:n_bars], segment[:n_bars], TICK)
        for name, column in vars(early).items():
            assert np.array_equal(column, getattr(whole, name)[:n_bars]), f"{name}, {n_bars} bars"


def test_every_prefix_of_a_session_gives_its_last_bar_the_same_features(bars: Bars, whole: FeatureTable):
    for rows in some_segments(bars, 3):
        prices = bars[0][rows]
        for n_bars in range(1, len(prices) + 1):
            last = compute_features(prices[:n_bars], np.zeros(n_bars, np.int32), TICK)
            assert np.array_equal(last.values[-1], whole.values[rows.start + n_bars - 1])


def test_features_of_a_segment_do_not_depend_on_other_segments(bars: Bars, whole: FeatureTable):
    for rows in some_segments(bars, 50):
        alone = compute_features(bars[0][rows], np.zeros(rows.stop - rows.start, np.int32), TICK)
        for name, column in vars(alone).items():
            assert np.array_equal(column, getattr(whole, name)[rows]), name


@pytest.mark.parametrize("scale", [2.0**-6, 2.0**10])
def test_scaling_prices_and_tick_by_a_power_of_two_changes_nothing(
    scale: float, bars: Bars, whole: FeatureTable
):
    scaled = compute_features(bars[0] * scale, bars[1], TICK * scale)
    assert np.array_equal(scaled.values, whole.values)
    assert np.array_equal(scaled.atr, whole.atr * np.float32(scale))


def test_prices_upside_down_give_the_mirrored_features(bars: Bars, whole: FeatureTable):
    flipped = compute_features(upside_down(bars[0]), bars[1], TICK)
    np.testing.assert_allclose(flipped.values, mirrored(whole.values), rtol=0, atol=ROUNDING)


def test_features_equal_a_plain_loop_to_float32_rounding(bars: Bars, whole: FeatureTable):
    for rows in some_segments(bars, 3, longest=600):
        expected = stacked(naive_features(bars[0][rows]))
        np.testing.assert_allclose(whole.values[rows], expected, rtol=ROUNDING, atol=ROUNDING)


def test_only_a_later_bar_of_the_segment_confirms_a_swing_and_highs_and_lows_alternate(bars: Bars):
    prices, segment = bars
    swings = confirmed_swings(prices, segment, TICK)

    assert len(swings.bar) > 200_000
    assert (swings.bar < swings.confirmed_bar).all()
    assert np.array_equal(segment[swings.bar], segment[swings.confirmed_bar])
    together = segment[swings.bar[1:]] == segment[swings.bar[:-1]]
    assert (swings.is_high[1:] != swings.is_high[:-1])[together].all()
    assert np.array_equal(
        swings.price, np.where(swings.is_high, prices[swings.bar, 1], prices[swings.bar, 2])
    )


def test_values_are_finite_float32_in_their_declared_ranges(whole: FeatureTable):
    assert whole.values.dtype == np.float32
    assert np.isfinite(whole.values).all()
    warm = whole.values[whole.structure_valid]
    assert (warm.min(axis=0) >= RANGE_LOW).all() and (warm.max(axis=0) <= RANGE_HIGH).all()


def test_every_feature_is_dense_and_spread_in_the_table_and_at_each_bar_of_a_window(
    bars: Bars, whole: FeatureTable
):
    figures = feature_table_figures(whole.values[whole.structure_valid])
    names = np.array(FEATURE_NAMES)
    assert names[~is_dense(figures["non_zero_share"].to_numpy())].tolist() == []
    assert names[~is_spread(figures["spread_share"].to_numpy())].tolist() == []

    bar0 = pretraining_windows(bars[1], len(bars[1]))
    at_bar = figures_by_position(whole.values, bar0[:: len(bar0) // 2000])
    assert is_dense(at_bar.non_zero_share).all()
    assert is_spread(at_bar.spread_share).all()
