"""Swings: known only once a later bar has confirmed them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moola_pipeline.features.zigzag import ZIGZAG_K, Swings, causal_zigzag
from moola_pipeline_tests.features.naive import naive_atr, naive_swings, random_bars, upside_down

QUICK = settings(deadline=None, derandomize=True, max_examples=25)
seeds = st.integers(0, 2**32 - 1)
steps = st.sampled_from([0.5, 2.0, 8.0, 60.0])

SESSION_BARS = 1380
NAN = np.nan


def swings_of(prices: np.ndarray, k: float = ZIGZAG_K) -> Swings:
    high, low, close = prices[:, 1], prices[:, 2], prices[:, 3]
    atr = np.maximum(naive_atr(high.tolist(), low.tolist(), close.tolist()), 0.25)
    return causal_zigzag(high, low, close, atr, k)


def test_a_dozen_bars_worked_by_hand():
    # One ATR is 4 points, and 1 ATR turns the market.
    bars = [
        # high, low, close
        (101, 99, 100),
        (105, 100, 105),  # 5 above the first close, but ATR is not known yet
        (106, 102, 103),  # 3 above
        (107, 103, 105),  # 5 above: the first leg goes up
        (109, 103, 104),  # a new high, with a close 5 below it: no bar confirms its own extreme
        (109, 103, 106),  # a tie keeps the earlier bar
        (108, 104, 105),  # 4 below: the high of bar 4 is confirmed; lowest since then: bar 5
        (107, 103, 106),  # 3 above that low; its tie keeps the earlier bar
        (106, 101, 105),  # a new low, 4 below its own close
        (106, 102, 105),  # 4 above: the low of bar 8 is confirmed; highest since then: this bar
        (108, 104, 107),  # a new high
        (107, 103, 104),  # 4 below: the high of bar 10 is confirmed
    ]
    high, low, close = np.array(bars, float).T
    atr = np.array([NAN, NAN, *[4.0] * 10])

    swings = causal_zigzag(high, low, close, atr, k=1.0)

    assert swings.direction.tolist() == [0, 0, 0, 1, 1, 1, -1, -1, -1, 1, 1, -1]
    assert np.flatnonzero(swings.confirmed).tolist() == [6, 9, 11]
    assert swings.high.tolist() == [101, 105, 106, 107, 109, 109, 109, 109, 109, 109, 109, 108]
    assert swings.high_bar.tolist() == [0, 1, 2, 3, 4, 4, 4, 4, 4, 4, 4, 10]
    assert swings.low.tolist() == [99, 99, 99, 99, 99, 99, 99, 99, 99, 101, 101, 101]
    assert swings.low_bar.tolist() == [0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 8, 8]


@QUICK
@given(seeds, steps)
def test_swings_equal_a_search_through_all_bars_at_every_bar(seed: int, step_ticks: float):
    prices = random_bars(np.random.default_rng(seed), 200, step_ticks)
    high, low, close = prices[:, 1:].T.tolist()
    atr = [max(value, 0.25) for value in naive_atr(high, low, close)]

    swings = causal_zigzag(prices[:, 1], prices[:, 2], prices[:, 3], np.array(atr))
    expected = naive_swings(high, low, close, atr, ZIGZAG_K)

    for name in Swings._fields:
        assert getattr(swings, name).tolist() == [state[name] for state in expected], name


@QUICK
@given(seeds, steps)
def test_later_bars_never_change_earlier_swings(seed: int, step_ticks: float):
    prices = random_bars(np.random.default_rng(seed), 150, step_ticks)
    whole = swings_of(prices)

    for n_bars in range(1, len(prices)):
        for name, early, late in zip(Swings._fields, swings_of(prices[:n_bars]), whole, strict=True):
            assert np.array_equal(early, late[:n_bars]), f"{name} changed after bar {n_bars - 1}"


@QUICK
@given(seeds, steps)
def test_only_a_later_bar_confirms_an_extreme_and_by_k_atr(seed: int, step_ticks: float):
    prices = random_bars(np.random.default_rng(seed), 400, step_ticks)
    _, high, low, close = prices.T
    atr = np.maximum(naive_atr(high.tolist(), low.tolist(), close.tolist()), 0.25)
    swings = causal_zigzag(high, low, close, atr)

    for t in np.flatnonzero(swings.confirmed):
        if swings.direction[t] < 0:
            stood_at = swings.high_bar[t]
            assert swings.high[t] - close[t] >= ZIGZAG_K * atr[t]
            assert swings.high[t] == high[stood_at] == high[stood_at : t + 1].max()
        else:
            stood_at = swings.low_bar[t]
            assert close[t] - swings.low[t] >= ZIGZAG_K * atr[t]
            assert swings.low[t] == low[stood_at] == low[stood_at : t + 1].min()
        assert stood_at < t


@QUICK
@given(seeds, steps)
def test_confirmed_highs_and_lows_alternate(seed: int, step_ticks: float):
    swings = swings_of(random_bars(np.random.default_rng(seed), 400, step_ticks))
    turned = np.flatnonzero(swings.confirmed)

    assert (swings.direction[turned] == -swings.direction[turned - 1]).all()
    assert (swings.direction[turned[1:]] == -swings.direction[turned[:-1]]).all()
    stood_at = np.where(swings.direction[turned] < 0, swings.high_bar[turned], swings.low_bar[turned])
    assert (np.diff(stood_at) > 0).all()
    still = np.setdiff1d(np.flatnonzero(swings.direction[1:] != swings.direction[:-1]) + 1, turned)
    assert len(still) <= 1, "only the first leg begins without a confirmed swing"


@QUICK
@given(seeds, steps)
def test_prices_upside_down_give_the_same_swings_upside_down(seed: int, step_ticks: float):
    prices = random_bars(np.random.default_rng(seed), 200, step_ticks)
    swings, mirrored = swings_of(prices), swings_of(upside_down(prices))

    assert np.array_equal(mirrored.direction, -swings.direction)
    assert np.array_equal(mirrored.confirmed, swings.confirmed)
    assert np.array_equal(mirrored.high_bar, swings.low_bar)
    assert np.array_equal(mirrored.low_bar, swings.high_bar)
    assert np.array_equal(mirrored.high, 2 * prices.max() - swings.low)


@QUICK
@given(seeds, st.lists(st.integers(1, 60), min_size=1, max_size=5))
def test_each_segment_has_the_swings_it_has_alone(seed: int, lengths: list[int]):
    high, low, close = random_bars(np.random.default_rng(seed), sum(lengths))[:, 1:].T
    atr = np.full(len(close), 4.0)
    ends = np.cumsum(lengths)
    together = causal_zigzag(high, low, close, atr, starts=ends - lengths)

    for first, end in zip((ends - lengths).tolist(), ends.tolist(), strict=True):
        alone = causal_zigzag(high[first:end], low[first:end], close[first:end], atr[first:end])
        for name, part, whole in zip(Swings._fields, alone, together, strict=True):
            assert np.array_equal(part + first if name.endswith("_bar") else part, whole[first:end]), name


def test_legs_turn_many_times_a_session_but_far_less_than_once_a_bar():
    sessions = [random_bars(np.random.default_rng(seed), SESSION_BARS) for seed in range(5)]
    flips = [int(swings_of(prices).confirmed.sum()) for prices in sessions]

    assert min(flips) > SESSION_BARS / 50
    assert max(flips) < SESSION_BARS / 5


def test_a_larger_k_confirms_fewer_swings():
    prices = random_bars(np.random.default_rng(1), SESSION_BARS)
    flips = [int(swings_of(prices, k).confirmed.sum()) for k in (0.5, 1.2, 3, 8)]

    assert flips == sorted(flips, reverse=True)
    assert len(set(flips)) == 4


def test_without_a_known_atr_there_is_no_direction():
    high, low, close = random_bars(np.random.default_rng(2), 50)[:, 1:].T
    swings = causal_zigzag(high, low, close, np.full(50, NAN))

    assert not swings.direction.any()
    assert not swings.confirmed.any()
    assert np.array_equal(swings.high, np.maximum.accumulate(high))
    assert np.array_equal(swings.low, np.minimum.accumulate(low))


def test_no_bars_give_no_swings():
    none = np.empty(0)
    assert all(len(column) == 0 for column in causal_zigzag(none, none, none, none))


def test_integer_prices_and_a_strided_view_give_the_same_swings_as_floats():
    high, low, close = np.rint(random_bars(np.random.default_rng(3), 60)[:, 1:].T)
    atr = np.full(60, 4.0)
    plain = causal_zigzag(high, low, close, atr)
    strided = np.repeat(close, 2)[::2]
    converted = causal_zigzag(high.astype(int), low.astype(int), strided, atr)

    assert all(np.array_equal(a, b) for a, b in zip(plain, converted, strict=True))


@pytest.mark.parametrize(("k", "text"), [(-4, "-4"), (0, "0"), (float("nan"), "nan")])
def test_k_that_is_not_positive_is_refused(k: float, text: str):
    one = np.ones(1)
    with pytest.raises(ValueError, match=f"^k must be > 0 ATR, got {text}$"):
        causal_zigzag(one, one, one, one, k)


def test_columns_of_different_length_are_refused():
    two, three = np.ones(2), np.ones(3)
    with pytest.raises(ValueError, match=r"^shapes must agree, got \(2,\), \(2,\), \(3,\), \(2,\)$"):
        causal_zigzag(two, two, three, two)


@pytest.mark.parametrize("column", [0, 1, 2])
@pytest.mark.parametrize("value", [NAN, np.inf])
def test_a_price_that_is_not_finite_is_refused(column: int, value: float):
    prices = np.ones((4, 3))
    prices[column, 1] = value
    with pytest.raises(ValueError, match=r"^prices must be finite, got NaN or infinity$"):
        causal_zigzag(prices[0], prices[1], prices[2], prices[3])


@pytest.mark.parametrize("starts", [[1], [0, 2, 2], [0, 2, 1], [0, 3]])
def test_segments_that_do_not_increase_from_bar_0_are_refused(starts: list[int]):
    three = np.ones(3)
    with pytest.raises(ValueError, match=r"^starts must increase from bar 0 and lie in the bars$"):
        causal_zigzag(three, three, three, three, starts=np.array(starts))
