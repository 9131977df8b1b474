"""Augmented prices and their features: causal, and independent of the prices of hidden bars."""

import ast
import time

import numpy as np
import pytest

from moola_pipeline.features.schema import mirrored
from moola_pipeline.storage.home import PROJECT_ROOT
from moola_pipeline.windows.augmentation import (
    augmented_features,
    augmented_prices,
    bridge_hidden,
    hidden_blocks,
    visible_neighbors,
)
from moola_pipeline.windows.market_arrays import MarketArrays
from moola_pipeline.windows.window_geometry import VIEW_BARS, view_rows
from moola_pipeline_tests.made_bars import TICK, made_bars, upside_down, with_prices
from moola_pipeline_tests.source_trees import parsed

BARS = made_bars(3)
BAR0 = np.array([40, 131, 440, 695, 1095])


def flat_views(n_bars: int, price: float = 100.0) -> np.ndarray:
    return np.tile([price, price + 1, price - 1, price], (1, n_bars, 1))


def is_legal(views: np.ndarray) -> bool:
    opens, high, low, close = np.moveaxis(views, -1, 0)
    return bool((high >= np.maximum(opens, close)).all() and (low <= np.minimum(opens, close)).all())


def test_unchanged_prices_give_the_feature_table():
    features = augmented_features(BARS, BAR0, BARS.views(BAR0))

    assert features.shape == (len(BAR0), VIEW_BARS, BARS.features.shape[1])
    assert np.array_equal(features, BARS.features[view_rows(BAR0)])


def test_augmented_features_are_those_of_the_table_with_the_same_bars_changed():
    bar0 = np.array([40, 695])  # not in one segment, so that one table can hold both changes
    changed = with_prices(BARS, view_rows(bar0)[:, 50:60].ravel(), np.random.default_rng(0))

    features = augmented_features(BARS, bar0, changed.views(bar0))

    assert np.array_equal(features, changed.features[view_rows(bar0)])
    assert not np.array_equal(features, BARS.features[view_rows(bar0)])


def test_each_window_is_computed_by_itself():
    views = BARS.views(BAR0) * np.linspace(0.98, 1.02, len(BAR0))[:, None, None]

    together = augmented_features(BARS, BAR0, views)
    alone = [augmented_features(BARS, BAR0[i : i + 1], views[i : i + 1])[0] for i in range(len(BAR0))]

    assert np.array_equal(together, np.stack(alone))


def test_a_changed_bar_changes_no_feature_before_it():
    bar0, bar = BAR0[:1], 80
    views = BARS.views(bar0)
    views[0, bar] += [0, 40, -40, 0]

    changed = (augmented_features(BARS, bar0, views) != BARS.features[view_rows(bar0)]).any(axis=2)

    assert not changed[0, :bar].any()
    assert changed[0, bar]


def test_bars_of_other_segments_do_not_affect_a_window():
    bar0 = np.array([440])
    others = np.flatnonzero(BARS.segment != 1)
    changed = with_prices(BARS, others, np.random.default_rng(1))

    assert np.array_equal(
        augmented_features(changed, bar0, changed.views(bar0)),
        augmented_features(BARS, bar0, BARS.views(bar0)),
    )


def test_bars_after_a_window_do_not_affect_it():
    bar0 = np.array([440])
    changed = with_prices(BARS, np.arange(440 + 105, 800), np.random.default_rng(2))

    assert np.array_equal(
        augmented_features(changed, bar0, changed.views(bar0)),
        augmented_features(BARS, bar0, BARS.views(bar0)),
    )


def test_segment_starts_are_those_of_the_window():
    assert BARS.segment_starts(BAR0).tolist() == [0, 0, 400, 400, 800]


def test_views_are_copies():
    before = BARS.prices.copy()
    BARS.views(BAR0)[:] = 0

    assert np.array_equal(BARS.prices, before)


def test_neighbors_of_a_hidden_block_worked_by_hand():
    before, after = visible_neighbors(np.array([[False, True, True, False, True]]))

    assert before.tolist() == [[0, 0, 0, 3, 3]]
    assert after.tolist() == [[0, 3, 3, 3, 5]]


def test_a_bridge_worked_by_hand():
    views = flat_views(7)
    views[0, 5:] += 3  # the first bar after the block opens 3 points higher
    views[0, 2:5] = 1e6
    hidden = np.array([[False, False, True, True, True, False, False]])

    bridged = bridge_hidden(views, hidden)

    # Visible bars do not move from open to close and are 2 points high: no sway, wicks fill up.
    steps = np.array([100, 100.75, 101.5, 102.25])
    assert bridged[0, 2:5, 3] == pytest.approx(steps[1:])
    assert bridged[0, 2:5, 0] == pytest.approx(steps[:3])
    assert bridged[0, 2:5, 1] == pytest.approx(steps[1:] + 0.625)
    assert bridged[0, 2:5, 2] == pytest.approx(steps[:3] - 0.625)
    assert np.array_equal(bridged[0, [0, 1, 5, 6]], views[0, [0, 1, 5, 6]])


def test_a_bridge_alternates_by_the_mean_move_of_the_visible_bars():
    views = flat_views(6)
    views[0, 0, 3], views[0, 5, 3] = 101, 99  # two of three visible bars move 1 point
    hidden = np.array([[False, False, True, True, True, False]])

    close = bridge_hidden(views, hidden)[0, 2:5, 3]

    assert close == pytest.approx(100 + np.array([1, -1, 1]) * (2 / 3) / 2)


def test_a_bridge_does_not_use_the_prices_of_hidden_bars():
    rng = np.random.default_rng(3)
    hidden = hidden_blocks(len(BAR0), 0.4, 10, rng)
    views = BARS.views(BAR0)
    other = np.where(hidden[:, :, None], rng.uniform(1, 1e6, views.shape), views)

    assert np.array_equal(bridge_hidden(views, hidden), bridge_hidden(other, hidden))


def test_a_bridge_leaves_visible_bars_and_holds_legal_candles_elsewhere():
    hidden = hidden_blocks(len(BAR0), 0.4, 10, np.random.default_rng(4))
    views = BARS.views(BAR0)
    bridged = bridge_hidden(views, hidden)

    assert np.array_equal(bridged[~hidden], views[~hidden])
    assert not np.array_equal(bridged[hidden], views[hidden])
    assert is_legal(bridged)


def test_a_window_without_a_visible_edge_cannot_be_bridged():
    hidden = np.zeros((1, 6), bool)
    hidden[0, 5] = True
    with pytest.raises(ValueError, match="first and last bar of a window must be visible"):
        bridge_hidden(flat_views(6), hidden)


@pytest.mark.parametrize(
    ("ratio", "block_bars", "n_blocks"), [(0.4, 10, 5), (0.6, 10, 8), (0.3, 4, 9), (0.2, 40, 1)]
)
def test_hidden_bars_stand_in_blocks_with_visible_neighbors(ratio: float, block_bars: int, n_blocks: int):
    hidden = hidden_blocks(300, ratio, block_bars, np.random.default_rng(5))

    assert hidden.shape == (300, VIEW_BARS)
    assert not hidden[:, [0, -1]].any()
    for row in hidden:
        edges = np.flatnonzero(np.diff(np.concatenate([[0], row.astype(int), [0]])))
        assert (edges[1::2] - edges[::2]).tolist() == [block_bars] * n_blocks


def test_hidden_blocks_are_drawn_anew_and_reach_most_bars():
    rng = np.random.default_rng(6)
    first, second = hidden_blocks(200, 0.4, 10, rng), hidden_blocks(200, 0.4, 10, rng)

    assert not np.array_equal(first, second)
    assert np.array_equal(first, hidden_blocks(200, 0.4, 10, np.random.default_rng(6)))
    assert first.any(axis=0).mean() > 0.9


def test_a_ratio_that_leaves_no_visible_neighbor_is_refused():
    with pytest.raises(ValueError, match="visible bar on each side of a block, got 0.9"):
        hidden_blocks(1, 0.9, 10, np.random.default_rng(0))


def test_augmented_candles_are_legal():
    views = BARS.views(BAR0)
    atr = np.full(len(BAR0), 4.0)
    for seed in range(20):
        assert is_legal(augmented_prices(views, atr, 0.3, 0.6, np.random.default_rng(seed)))


def test_no_noise_and_no_warp_change_nothing():
    views = BARS.views(BAR0)

    assert augmented_prices(views, np.full(len(BAR0), 4.0), 0, 0, np.random.default_rng(0)) == pytest.approx(
        views, rel=1e-12
    )


def test_jitter_is_noise_of_the_given_size_in_atr():
    views = BARS.views(np.full(200, 440))
    atr = np.repeat([2.0, 8.0], 100)

    noise = augmented_prices(views, atr, 0.03, 0, np.random.default_rng(0)) - views

    # Open and close carry plain noise; high and low are widened to hold it.
    assert noise[:100, :, [0, 3]].std() == pytest.approx(0.03 * 2, rel=0.02)
    assert noise[100:, :, [0, 3]].std() == pytest.approx(0.03 * 8, rel=0.02)
    assert abs(noise[:, :, [0, 3]].mean()) < 0.002
    assert noise[:, -1, 3].std() == pytest.approx(noise[:, 1, 3].std(), rel=0.25)  # noise does not accumulate


def test_a_warp_stretches_each_bar_by_one_smooth_factor():
    views = BARS.views(np.full(50, 440))
    views[:, :, 1], views[:, :, 2] = views.max(axis=2) + TICK, views.min(axis=2) - TICK

    warped = augmented_prices(views, np.full(50, 4.0), 0, 0.2, np.random.default_rng(0))

    factor = (warped[:, :, 1] - warped[:, :, 2]) / (views[:, :, 1] - views[:, :, 2])
    body = views[:, :, 3] - views[:, :, 0]
    assert warped[:, :, 3] - warped[:, :, 0] == pytest.approx(body * factor, abs=1e-7)
    assert np.abs(np.diff(factor, axis=1)).max() < 0.05
    assert factor[:, 0].std() == pytest.approx(0.2, rel=0.3)
    assert factor.min() >= 0.1 - 1e-9


def test_augmentation_leaves_its_input_and_repeats_with_its_seed():
    views = BARS.views(BAR0)
    before = views.copy()
    atr = np.full(len(BAR0), 4.0)
    first = augmented_prices(views, atr, 0.03, 0.2, np.random.default_rng(7))

    assert np.array_equal(views, before)
    assert np.array_equal(first, augmented_prices(views, atr, 0.03, 0.2, np.random.default_rng(7)))
    assert not np.array_equal(first, augmented_prices(views, atr, 0.03, 0.2, np.random.default_rng(8)))


def test_a_segment_added_at_the_end_changes_no_earlier_window():
    fewer = MarketArrays.from_prices(BARS.prices[:800], BARS.segment[:800], TICK)
    bar0 = BAR0[BAR0 < 700]

    assert np.array_equal(
        augmented_features(fewer, bar0, fewer.views(bar0)), augmented_features(BARS, bar0, BARS.views(bar0))
    )


def test_only_training_uses_augmentation():
    package = PROJECT_ROOT / "moola_pipeline"
    users = [
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if any(
            isinstance(node, ast.ImportFrom) and "augmented_prices" in {alias.name for alias in node.names}
            for node in ast.walk(parsed(path))
        )
    ]
    assert sorted(users) == ["training/batches.py"]


def test_augmenting_a_thousand_windows_takes_no_loop_over_them():
    views, atr = BARS.views(np.full(1000, 440)), np.full(1000, 4.0)
    started = time.process_time()
    augmented_prices(views, atr, 0.03, 0.2, np.random.default_rng(0))
    assert time.process_time() - started < 1


def test_mirrored_prices_of_an_augmented_window_give_its_mirrored_features():
    views = augmented_prices(BARS.views(BAR0), np.full(len(BAR0), 4.0), 0.03, 0.2, np.random.default_rng(9))
    flipped = upside_down(BARS)
    top = 2 * BARS.prices.max()

    original = augmented_features(BARS, BAR0, views)
    turned = augmented_features(flipped, BAR0, top - views[:, :, [0, 2, 1, 3]])

    # Noise can leave a candle lower than a tick, which no bar on the grid is: it is measured by a tick.
    measurable = views[:, :, 1] - views[:, :, 2] >= TICK
    assert measurable.mean() > 0.9
    assert turned[measurable] == pytest.approx(mirrored(original)[measurable], abs=1e-4)
