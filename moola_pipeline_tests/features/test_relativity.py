"""The feature table: causal, in range, and equal to a plain loop."""

import numpy as np
import pytest
import talib
from hypothesis import given, settings
from hypothesis import strategies as st

from moola_pipeline.features import relativity
from moola_pipeline.features.relativity import (
    STRUCTURE_VALID_FROM,
    VALID_FROM,
    FeatureTable,
    compute_features,
)
from moola_pipeline.features.schema import (
    FEATURE_NAMES,
    FEATURES,
    N_FEATURES,
    N_RELATIVITY,
    NEUTRAL,
    RANGE_HIGH,
    RANGE_LOW,
    mirrored,
)
from moola_pipeline.features.zigzag import causal_zigzag
from moola_pipeline_tests.features.naive import TICK, naive_atr, naive_features, random_bars, upside_down
from moola_pipeline_tests.made_bars import made_bars

QUICK = settings(deadline=None, derandomize=True, max_examples=25)
seeds = st.integers(0, 2**32 - 1)
steps = st.sampled_from([0.5, 2.0, 8.0, 60.0])

ROUNDING = 4 * float(np.finfo(np.float32).eps)
"""Relative error of a product of two features that are each rounded to float32."""


def one_segment(prices: np.ndarray, tick_points: float = TICK) -> FeatureTable:
    return compute_features(prices, np.zeros(len(prices), np.int32), tick_points)


def stacked(rows: list[dict[str, float]]) -> np.ndarray:
    neutral = {feature.name: 0.5 if feature.mirror == "complement" else 0.0 for feature in FEATURES}
    return np.array([[row.get(name, neutral[name]) for name in FEATURE_NAMES] for row in rows])


def test_the_21st_bar_of_a_climb_worked_by_hand():
    # 20 bars that each climb 4 points over a range of 4: ATR and average range are 4.
    climb = np.array([[100 + 4 * t, 104 + 4 * t, 100 + 4 * t, 104 + 4 * t] for t in range(20)], float)
    # Then a range of 8 around the last close: 1/4 down to the close, body 1/2 of it.
    last = np.array([[185, 188, 180, 181]], float)

    table = one_segment(np.concatenate([climb, last]))
    row = dict(zip(FEATURE_NAMES, table.values[20].tolist(), strict=True))

    range_ema = 4 + (8 - 4) * 2 / 21
    atr = (4 * 9 + 8) / 10
    expected = {
        "open_norm": 5 / 8,
        "close_norm": 1 / 8,
        "body_pct": -4 / 8,
        "upper_wick_pct": 3 / 8,
        "lower_wick_pct": 1 / 8,
        "range_z": 8 / range_ema,
        "dist_to_prev_swing_high": (188 - 181) / atr,  # no swing yet: the segment's extremes
        "dist_to_prev_swing_low": 8.0,  # 81 points are 18 ATR, beyond the declared range
        "bars_since_swing_high": 0 / 30,
        "bars_since_swing_low": 20 / 30,
        "expansion_proxy": 8 / range_ema * 1 * -4 / 8,
        "consolidation_proxy": (1 - 8 / range_ema / 3) * (1 - 4 / 8) * (20 / 30 / 2),
    }
    assert {name: row[name] for name in expected} == pytest.approx(expected, rel=1e-6)
    assert np.array_equal(table.values[20, N_RELATIVITY:], NEUTRAL[N_RELATIVITY:])
    assert table.atr[20] == pytest.approx(atr)


@QUICK
@given(seeds, steps)
def test_features_equal_a_plain_loop_to_float32_rounding(seed: int, step_ticks: float):
    prices = random_bars(np.random.default_rng(seed), 160, step_ticks)

    np.testing.assert_allclose(
        one_segment(prices).values, stacked(naive_features(prices)), rtol=ROUNDING, atol=ROUNDING
    )


@QUICK
@given(seeds, steps)
def test_atr_equals_wilders_and_is_at_least_one_tick(seed: int, step_ticks: float):
    prices = random_bars(np.random.default_rng(seed), 80, step_ticks)
    table = one_segment(prices)

    assert not table.atr[:10].any()
    expected = naive_atr(*(prices[:, i].tolist() for i in (1, 2, 3)))[10:]
    np.testing.assert_allclose(table.atr[10:], np.maximum(expected, TICK), rtol=1e-6)


@settings(QUICK, max_examples=8)
@given(seeds, steps)
def test_later_bars_never_change_earlier_features(seed: int, step_ticks: float):
    prices = random_bars(np.random.default_rng(seed), 130, step_ticks)
    segment = (np.arange(130) >= 60).astype(np.int32)
    whole = compute_features(prices, segment, TICK)

    for n_bars in range(1, len(prices)):
        early = compute_features(prices[:n_bars], segment[:n_bars], TICK)
        assert np.array_equal(early.values, whole.values[:n_bars]), f"changed after bar {n_bars - 1}"
        assert np.array_equal(early.atr, whole.atr[:n_bars])
        assert np.array_equal(early.valid, whole.valid[:n_bars])


@QUICK
@given(seeds, st.lists(st.sampled_from([1, 2, 10, 11, 19, 20, 21, 40, 41, 90]), min_size=1, max_size=6))
def test_features_of_a_segment_do_not_depend_on_other_segments(seed: int, lengths: list[int]):
    prices = random_bars(np.random.default_rng(seed), sum(lengths))
    segment = np.repeat(np.arange(len(lengths)) * 3 + 5, lengths)
    together = compute_features(prices, segment, TICK)

    for number in np.unique(segment):
        alone = one_segment(prices[segment == number])
        for name in ("values", "valid", "structure_valid", "atr"):
            assert np.array_equal(getattr(together, name)[segment == number], getattr(alone, name)), name


@QUICK
@given(seeds, steps, st.sampled_from([2.0**-6, 0.5, 4.0, 2.0**10]))
def test_scaling_prices_and_tick_by_a_power_of_two_changes_nothing(
    seed: int, step_ticks: float, scale: float
):
    prices = random_bars(np.random.default_rng(seed), 120, step_ticks)
    plain, scaled = one_segment(prices), one_segment(prices * scale, TICK * scale)

    assert np.array_equal(scaled.values, plain.values)
    assert np.array_equal(scaled.atr, plain.atr * np.float32(scale))


@QUICK
@given(seeds, steps, st.integers(-100_000, 100_000))
def test_shifting_all_prices_changes_nothing(seed: int, step_ticks: float, ticks: int):
    prices = random_bars(np.random.default_rng(seed), 120, step_ticks)

    assert np.array_equal(one_segment(prices + ticks * TICK).values, one_segment(prices).values)


@QUICK
@given(seeds, steps)
def test_prices_upside_down_give_the_mirrored_features(seed: int, step_ticks: float):
    prices = random_bars(np.random.default_rng(seed), 160, step_ticks)
    plain, flipped = one_segment(prices), one_segment(upside_down(prices))

    np.testing.assert_allclose(flipped.values, mirrored(plain.values), rtol=0, atol=ROUNDING)


@QUICK
@given(seeds, st.sampled_from([0.0, 0.5, 8.0, 2000.0]))
def test_features_are_finite_float32_in_their_declared_ranges(seed: int, step_ticks: float):
    values = one_segment(random_bars(np.random.default_rng(seed), 200, step_ticks)).values

    assert values.shape == (200, N_FEATURES)
    assert values.dtype == np.float32
    assert np.isfinite(values).all()
    assert ((values >= RANGE_LOW) & (values <= RANGE_HIGH))[STRUCTURE_VALID_FROM:].all()


def test_a_market_that_never_moves_has_features_too():
    row = one_segment(np.full((60, 4), 100.0)).values[50]

    assert dict(zip(FEATURE_NAMES, row.tolist(), strict=True)) == {
        **dict.fromkeys(FEATURE_NAMES, 0.0),
        **dict.fromkeys(("open_norm", "close_norm", "position_10", "position_20", "position_40"), 0.5),
        **dict.fromkeys(("bars_since_swing_high", "bars_since_swing_low"), pytest.approx(50 / 30)),
        "consolidation_proxy": 1.0,
    }


def test_rows_are_valid_from_bar_20_and_structure_from_bar_40_of_each_segment():
    lengths = [50, 20, 21, 41]
    segment = np.repeat(np.arange(4), lengths)
    bar = np.concatenate([np.arange(n_bars) for n_bars in lengths])
    table = compute_features(random_bars(np.random.default_rng(4), len(segment)), segment, TICK)

    assert np.array_equal(table.valid, bar >= 20)
    assert np.array_equal(table.structure_valid, bar >= 40)
    assert (VALID_FROM, STRUCTURE_VALID_FROM) == (20, 40)
    assert (table.values[~table.valid] == NEUTRAL).all()
    assert (table.values[~table.structure_valid, N_RELATIVITY:] == NEUTRAL[N_RELATIVITY:]).all()
    assert (table.values[table.structure_valid] != 0).mean() > 0.8


def test_swing_features_are_those_of_the_zigzag():
    prices = random_bars(np.random.default_rng(5), 300)
    table = one_segment(prices)
    _, high, low, close = prices.T
    atr = np.maximum(naive_atr(high.tolist(), low.tolist(), close.tolist()), TICK)
    swings = causal_zigzag(high, low, close, atr)
    columns = {name: table.values[VALID_FROM:, i] for i, name in enumerate(FEATURE_NAMES)}

    bars = np.arange(VALID_FROM, 300)
    since_low = np.minimum((bars - swings.low_bar[VALID_FROM:]) / 30, 3)
    np.testing.assert_allclose(columns["bars_since_swing_low"], since_low, rtol=1e-6)
    above = np.clip((swings.high - close) / atr, -8, 8)[VALID_FROM:]
    np.testing.assert_allclose(columns["dist_to_prev_swing_high"], above, rtol=1e-5, atol=1e-6)


def test_the_callers_arrays_are_left_alone():
    prices, segment = random_bars(np.random.default_rng(6), 60), np.zeros(60, int)
    before = prices.copy()
    compute_features(prices, segment, TICK)

    assert np.array_equal(prices, before)
    assert prices.flags.writeable


@pytest.mark.parametrize("indicator", ["ATR", "EMA"])
def test_a_fault_in_an_indicator_stops_the_computation(indicator: str, monkeypatch: pytest.MonkeyPatch):
    def fails(*_: object) -> np.ndarray:
        raise RuntimeError("indicator out of order")

    monkeypatch.setattr(talib, indicator, fails)
    with pytest.raises(RuntimeError, match="indicator out of order"):
        one_segment(random_bars(np.random.default_rng(8), 60))


@pytest.mark.parametrize("n_bars", [1, 2, 10, 11, 19, 20, 21, 40])
def test_a_segment_shorter_than_the_warm_up_has_neutral_and_no_valid_rows(n_bars: int):
    table = one_segment(random_bars(np.random.default_rng(9), n_bars))

    assert table.values.shape == (n_bars, N_FEATURES)
    assert table.valid.sum() == max(n_bars - 20, 0)
    assert not table.structure_valid.any()
    assert (table.values[:20] == NEUTRAL).all()
    assert np.array_equal(table.atr > 0, np.arange(n_bars) >= 10)


@pytest.mark.parametrize(
    ("prices", "segment", "tick_points", "text"),
    [
        (
            np.ones((3, 5)),
            np.zeros(3, int),
            1,
            "prices must be (n_bars, 4) and segment (n_bars,), got (3, 5), (3,)",
        ),
        (
            np.ones((3, 4)),
            np.zeros(2, int),
            1,
            "prices must be (n_bars, 4) and segment (n_bars,), got (3, 4), (2,)",
        ),
        (np.ones(4), np.zeros(4, int), 1, "prices must be (n_bars, 4) and segment (n_bars,), got (4,), (4,)"),
        (np.ones((0, 4)), np.zeros(0, int), 1, "prices must hold at least one bar, got none"),
        (np.ones((3, 4)), np.zeros(3, int), 0, "tick_points must be > 0 index points, got 0"),
        (np.ones((3, 4)), np.zeros(3, int), np.nan, "tick_points must be > 0 index points, got nan"),
        (
            np.array([[1.0] * 4, [1, 1, 1, np.nan]]),
            np.zeros(2, int),
            1,
            "prices must be finite, bar 1 is not",
        ),
        (
            np.array([[1.0] * 4, [1, np.inf, 1, 1]]),
            np.zeros(2, int),
            1,
            "prices must be finite, bar 1 is not",
        ),
        (np.array([[1.0] * 4, [1, 1, 2, 1]]), np.zeros(2, int), 1, "high must be >= low, bar 1 is not"),
        (np.ones((3, 4)), np.array([0, 1, 0]), 1, "segment must not decrease"),
    ],
)
def test_invalid_input_is_refused(prices: np.ndarray, segment: np.ndarray, tick_points: float, text: str):
    with pytest.raises(ValueError) as refused:
        compute_features(prices, segment, tick_points)
    assert str(refused.value) == text


@pytest.mark.parametrize("block_bars", [1, 90, 100, 250, 10_000])
def test_features_do_not_depend_on_the_number_of_bars_processed_at_once(
    block_bars: int, monkeypatch: pytest.MonkeyPatch
):
    bars = made_bars(8, seed=3, n_bars=100)
    whole = compute_features(bars.prices, bars.segment, 0.25)
    monkeypatch.setattr(relativity, "BLOCK_BARS", block_bars)
    in_blocks = compute_features(bars.prices, bars.segment, 0.25)
    for name, column in vars(whole).items():
        np.testing.assert_array_equal(getattr(in_blocks, name), column, err_msg=name)


def test_an_illegal_bar_of_a_later_block_is_named_by_its_row(monkeypatch: pytest.MonkeyPatch):
    bars = made_bars(8, seed=3, n_bars=100)
    prices = bars.prices.copy()
    prices[555, 1] = np.nan
    monkeypatch.setattr(relativity, "BLOCK_BARS", 200)
    with pytest.raises(ValueError, match="prices must be finite, bar 555 is not"):
        compute_features(prices, bars.segment, 0.25)
