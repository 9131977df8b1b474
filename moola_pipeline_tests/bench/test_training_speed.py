"""What is timed beside our training loop does the same work."""

import numpy as np
import pytest
import torch

from moola_pipeline.bars.schema import NQ
from moola_pipeline.bench.training_speed import (
    LOADER_WORKERS,
    LoopSpeed,
    joined,
    loop_lines,
    loop_page,
    measure_loop,
)
from moola_pipeline.features.relativity import compute_features
from moola_pipeline.training.batches import Source
from moola_pipeline.training.objectives.hidden_blocks import HiddenBlocks
from moola_pipeline.training.pretrain import new_encoder
from moola_pipeline.training.settings import PretrainSettings
from moola_pipeline.windows.dense import pretraining_windows
from moola_pipeline.windows.repainted import BarArrays
from moola_pipeline_tests.made_bars import made_bars

MADE = LoopSpeed(windows=64, bare=0.040, loop=0.044, loader={0: 0.099, 2: 0.088})


def test_windows_joined_one_by_one_are_the_batch_drawn_at_once():
    """With no mirror and the same hidden bars the two ways must ask and show the same."""
    bars = made_bars(3000, seed=1)
    table = compute_features(bars.prices, bars.segment, NQ.tick_points)
    source = Source(BarArrays(bars.prices, bars.segment, NQ.tick_points), table.values, table.atr)
    windows = pretraining_windows(bars.segment, len(bars.segment))[:8]
    settings = PretrainSettings(batch_windows=4, mirror=False)
    encoder = new_encoder(table.values, windows, settings)
    rng = np.random.default_rng(0)
    objective = HiddenBlocks(source, encoder, windows, settings, rng, len(bars.segment))
    alone = [objective.draw(windows[i : i + 1], np.random.default_rng(i)) for i in range(3)]
    batch = joined(alone)
    assert batch.bar0.tolist() == windows[:3].tolist()
    assert batch.visible.shape[0] == 3
    for number, one in enumerate(alone):
        mine = batch.where.window == number
        np.testing.assert_array_equal(batch.targets[mine], one.targets)
        np.testing.assert_array_equal(batch.where.bar[mine], one.where.bar)
    by_one = [float(objective.loss(encoder, one)) for one in alone]
    sizes = [len(one.targets) for one in alone]
    with torch.no_grad():
        assert float(objective.loss(encoder, batch)) == pytest.approx(
            np.average(by_one, weights=sizes), rel=1e-5
        )


def test_ratios_follow_from_what_was_timed():
    assert MADE.ratio == pytest.approx(1.1)
    assert MADE.loader_ratio == pytest.approx(2.0)
    assert MADE.windows_a_second == pytest.approx(64 / 0.044)


def test_the_page_and_the_terminal_tell_the_same_figures():
    page, (line,) = "\n".join(loop_page([MADE])), loop_lines([MADE])
    assert "| 64 | 40.0 | 44.0 | 88.0 | 1.10 | 2.00 | 1,455 |" in page
    assert "1,455 windows a second, 1.10 times the bare step, a DataLoader 2.00 times as long" in line


def test_every_way_is_timed_at_every_size():
    bars = made_bars(3000, seed=1)
    threads = torch.get_num_threads()
    small, large = measure_loop(bars.prices, bars.segment, "cpu", steps=1)
    assert (small.windows, large.windows) == (64, 256)
    for one in (small, large):
        assert min(one.bare, one.loop, *one.loader.values()) > 0
        assert set(one.loader) == set(LOADER_WORKERS)
    assert torch.get_num_threads() == threads
