"""The clearest surges visible in bars, and the setup before each."""

from itertools import pairwise

import numpy as np

from moola_pipeline.features.averages import mean_true_range, segment_bounds
from moola_pipeline.labels.surges import Surges, setups_before, visible_surges


def flat_then(moves: list[float], before: int = 60) -> np.ndarray:
    """Bars of range 1 around 100, then one bar a move with wicks of half a point, then flat again."""
    closes = 100 + np.concatenate([np.zeros(before), np.cumsum(moves), np.full(30, np.sum(moves))])
    opened = np.concatenate([[100.0], closes[:-1]])
    high, low = np.maximum(opened, closes) + 0.5, np.minimum(opened, closes) - 0.5
    return np.column_stack([opened, high, low, closes])


def walk(n_bars: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    closes = 1000 + np.cumsum(rng.standard_normal(n_bars))
    opened = np.concatenate([[1000.0], closes[:-1]])
    reach = rng.random((2, n_bars))
    high, low = np.maximum(opened, closes) + reach[0], np.minimum(opened, closes) - reach[1]
    return np.column_stack([opened, high, low, closes]), np.repeat(
        [0, 1], [n_bars // 2, n_bars - n_bars // 2]
    )


def clarity_of(prices: np.ndarray, atr: np.ndarray, onset: int, offset: int) -> float:
    """The definition as a slow, plain loop."""
    points = [prices[onset, 0], *prices[onset : offset + 1, 3]]
    path = sum(abs(b - a) for a, b in pairwise(points))
    net = abs(points[-1] - points[0])
    return net / atr[onset - 1] * net / path / (offset - onset + 1) ** (1 / 3) if path else 0.0


def test_a_straight_move_of_three_points_a_bar_is_found():
    """Two bars of 3 points each where a bar's range is 1: 6 ATR, straight, over the cube root of 2."""
    prices = flat_then([3.0, 3.0])
    surges = visible_surges(prices, np.zeros(len(prices), int), 1.0)
    assert (surges.onset.tolist(), surges.offset.tolist(), surges.direction.tolist()) == ([60], [61], [1])
    np.testing.assert_allclose(surges.clarity, [6 / 2 ** (1 / 3)])


def test_each_surge_is_the_clearest_that_begins_at_its_bar_and_none_overlaps_another():
    prices, segment = walk(600, seed=4)
    starts, ends = segment_bounds(segment)
    high, low, close = (np.ascontiguousarray(prices[:, k]) for k in (1, 2, 3))
    atr = mean_true_range(high, low, close, starts, ends, 10)
    surges = visible_surges(prices, segment, 0.8)
    assert len(surges.onset) > 20
    assert (surges.onset[1:] > surges.offset[:-1]).all()
    assert (segment[surges.onset - 45] == segment[surges.offset]).all()
    for onset, offset, clarity in zip(surges.onset, surges.offset, surges.clarity, strict=True):
        np.testing.assert_allclose(clarity, clarity_of(prices, atr, onset, offset))
        room = ends[segment[onset]] - onset
        lengths = range(2, min(14, room) + 1)
        most = max(clarity_of(prices, atr, onset, onset + n - 1) for n in lengths)
        assert clarity >= most - 1e-9


def test_the_setup_is_measured_in_the_direction_of_the_surge():
    """A fall of 6, a rise of 3 over five bars, then a surge down: half of the leg was given back."""
    prices = flat_then([-3.0, -3.0, 0.6, 0.6, 0.6, 0.6, 0.6, -3.0, -3.0])
    segment = np.zeros(len(prices), int)
    one = Surges(np.array([67]), np.array([68]), np.array([-1], np.int8), np.array([2.0]))
    setups = setups_before(prices, segment, one)
    np.testing.assert_allclose(setups.retraced_share, [0.5])
    assert setups.bars_since.tolist() == [5]
    np.testing.assert_allclose(setups.leg_atr / setups.range_atr, [1.0])


def test_bars_of_the_surge_itself_do_not_change_its_setup():
    prices, segment = walk(400, seed=9)
    surges = visible_surges(prices, segment, 1.0)
    first = Surges(*(column[:1] for column in surges))
    changed = prices.copy()
    changed[first.onset[0] :] += 50
    for before, after in zip(
        setups_before(prices, segment, first), setups_before(changed, segment, first), strict=True
    ):
        np.testing.assert_allclose(before, after)
