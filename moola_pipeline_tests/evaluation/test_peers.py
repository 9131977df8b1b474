
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moola_pipeline.evaluation.metrics import type_f1_macro
from moola_pipeline.evaluation.peers import TYPE_PEERS, Seen, fit_type_peer, paths_before, summaries


def made_paths(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Paths that fall into the start for retracements and stand still for consolidations."""
    y = np.arange(n) % 2
    drift = np.linspace(3, 0, 45)[None, :] * y[:, None]
    return drift + rng.normal(0, 0.3, (n, 45)) * np.linspace(1, 0, 45), y


def seen_of(paths: np.ndarray) -> Seen:
    """The same paths as closes, and as the second of three features."""
    features = np.stack([np.ones_like(paths), paths, paths[::-1]], axis=2)
    return Seen(paths, features)


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


@pytest.mark.parametrize("name", TYPE_PEERS)
def test_every_peer_finds_a_planted_signal_and_answers_alike_for_a_seed(name):
    rng = np.random.default_rng(0)
    paths, y = made_paths(80, rng)
    asked, labeled = made_paths(40, rng)
    one, again = (
        fit_type_peer(name, seen_of(paths), y, np.random.default_rng(5)).predict_proba(seen_of(asked))
        for _ in range(2)
    )
    np.testing.assert_array_equal(one, again)
    assert one.shape == (40,)
    assert ((one >= 0) & (one <= 1)).all()
    assert type_f1_macro(labeled, one) > 0.9


@pytest.mark.parametrize("name", TYPE_PEERS)
def test_peers_do_no_better_than_chance_without_a_signal(name):
    rng = np.random.default_rng(1)
    paths, y = rng.normal(0, 1, (120, 45)), rng.integers(0, 2, 120)
    asked, labeled = rng.normal(0, 1, (400, 45)), rng.integers(0, 2, 400)
    p = fit_type_peer(name, seen_of(paths), y, rng).predict_proba(seen_of(asked))
    assert type_f1_macro(labeled, p) < 0.58


def test_a_handful_of_labels_is_enough_to_fit_on():
    paths, y = made_paths(4, np.random.default_rng(2))
    y = np.array([0, 0, 0, 1])
    for name in TYPE_PEERS:
        fitted = fit_type_peer(name, seen_of(paths), y, np.random.default_rng(0))
        assert fitted.predict_proba(seen_of(paths)).shape == (4,)


def test_an_unknown_peer_or_a_single_class_is_refused():
    paths, y = made_paths(10, np.random.default_rng(2))
    with pytest.raises(ValueError, match=r"must be one of logistic_45_closes, .*, got oracle"):
        fit_type_peer("oracle", seen_of(paths), y, np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"both types, got classes \[0\]"):
        fit_type_peer(TYPE_PEERS[0], seen_of(paths), y * 0, np.random.default_rng(0))
