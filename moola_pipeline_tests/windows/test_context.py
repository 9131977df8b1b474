"""The bars before an expansion: worked by hand, causal, and symmetric."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moola_pipeline.windows.context import paths_before, summaries


def test_paths_by_hand():
    close = np.arange(100.0) ** 2
    atr = np.full(100, 2.0)
    atr[59] = 4.0
    paths = paths_before(close, atr, np.array([60, 60, 45]), np.array([1, -1, 1]))
    assert paths.shape == (3, 45)
    assert paths[0, -1] == 0
    assert paths[0, -2] == (58**2 - 59**2) / 4
    assert paths[0, 0] == (15**2 - 59**2) / 4
    np.testing.assert_array_equal(paths[1], -paths[0])
    assert paths[2, 0] == (0 - 44**2) / 2


@given(st.integers(0, 2**32 - 1), st.integers(45, 99))
def test_bars_from_the_start_on_change_nothing(seed, row):
    rng = np.random.default_rng(seed)
    close, atr = rng.normal(0, 5, 120).cumsum(), rng.uniform(1, 2, 120)
    rows, up = np.array([row]), np.array([1])
    before = paths_before(close, atr, rows, up)
    close[row:], atr[row:] = 1e9, 1e-9
    np.testing.assert_array_equal(paths_before(close, atr, rows, up), before)


@given(st.integers(0, 2**32 - 1))
def test_mirrored_prices_and_directions_give_the_same_paths(seed):
    rng = np.random.default_rng(seed)
    close, atr = rng.normal(0, 5, 120).cumsum(), rng.uniform(1, 2, 120)
    rows, directions = rng.integers(45, 120, 6), rng.choice([-1, 1], 6)
    mirrored = paths_before(-close, atr, rows, -directions)
    np.testing.assert_array_equal(mirrored, paths_before(close, atr, rows, directions))


def test_a_start_without_45_bars_or_atr_before_it_is_refused():
    close, atr = np.arange(100.0), np.ones(100)
    with pytest.raises(ValueError, match="must have 45 bars before it, got one at row 44"):
        paths_before(close, atr, np.array([60, 44]), np.ones(2))
    atr[59] = np.nan
    with pytest.raises(ValueError, match="ATR before a start must be > 0 points, got nan"):
        paths_before(close, atr, np.array([60]), np.ones(1))


def test_summaries_by_hand():
    path = np.zeros(45)
    path[3], path[24], path[30], path[40] = 1.0, 7.0, 9.0, -2.0
    row = summaries(path[None, :])[0]
    assert row.shape == (21,)
    np.testing.assert_array_equal(row[:15], path[::3])
    highest, lowest, recent_range, recent_path, close_20_back, place_of_highest = row[15:]
    assert (highest, lowest) == (9, -2)
    assert recent_range == 11  # the last 20 closes are path[25:]
    assert recent_path == 9 + 9 + 2 + 2
    assert close_20_back == 7
    assert place_of_highest == 30 / 44
