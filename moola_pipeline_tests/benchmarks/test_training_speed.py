"""Training speed: all ways do the same work, and the table ends at the first batch that is no faster."""

import numpy as np
import pytest
import torch

from moola_pipeline.benchmarks.batch_speed import (
    SIZES,
    BatchSpeed,
    best_batch_size,
    doubled,
    n_steps,
    seconds_in_turns,
)
from moola_pipeline.benchmarks.training_rows import labeled_rows, new_classifier, pseudo_labels_of
from moola_pipeline.benchmarks.training_speed import (
    LOADER_WORKERS,
    WORK,
    TrainingSpeed,
    joined,
    measure_training,
    training_lines,
    training_page,
)
from moola_pipeline.models.span_inference import group_by_view
from moola_pipeline.training.examples import EMPTY
from moola_pipeline.training.hidden_blocks import HiddenBlocks
from moola_pipeline.training.pretrain import new_encoder
from moola_pipeline.training.settings import PretrainSettings
from moola_pipeline.windows.dense import pretraining_windows
from moola_pipeline.windows.market_arrays import MarketArrays
from moola_pipeline_tests.made_bars import made_bars

MADE = BatchSpeed(windows=64, shown=64, bare=0.040, loop=0.044, loader={0: 0.099, 2: 0.088})
LARGER = BatchSpeed(windows=128, shown=128, bare=0.080, loop=0.081, loader={})


@pytest.fixture(scope="module")
def source() -> MarketArrays:
    return made_bars(30, seed=1)


def test_windows_joined_one_by_one_are_the_batch_drawn_at_once():
    """Without mirroring and with the same hidden bars, inputs and targets are equal."""
    bars = made_bars(30, seed=1)
    windows = pretraining_windows(bars.segment, len(bars.segment))[:8]
    settings = PretrainSettings(batch_windows=4, mirror=False)
    encoder = new_encoder(bars, windows, settings)
    rng = np.random.default_rng(0)
    task = HiddenBlocks(bars, encoder, windows, settings, rng)
    alone = [task.draw(windows[i : i + 1], np.random.default_rng(i)) for i in range(3)]
    batch = joined(alone)
    assert batch.bar0.tolist() == windows[:3].tolist()
    assert batch.visible.shape[0] == 3
    for number, window in enumerate(alone):
        of_window = batch.where.window == number
        np.testing.assert_array_equal(batch.targets[of_window], window.targets)
        np.testing.assert_array_equal(batch.where.bar[of_window], window.where.bar)
    losses = [float(task.error(encoder, task.tensors(window)).detach()) for window in alone]
    sizes = [len(window.targets) for window in alone]
    with torch.no_grad():
        assert float(task.error(encoder, task.tensors(batch))) == pytest.approx(
            np.average(losses, weights=sizes), rel=1e-5
        )


def test_ratios_follow_from_the_seconds():
    assert MADE.ratio == pytest.approx(1.1)
    assert MADE.loader_ratio == pytest.approx(2.0)
    assert MADE.windows_a_second == pytest.approx(64 / 0.044)
    assert LARGER.loader_ratio is None


def speeds(*windows_a_second: float) -> list[BatchSpeed]:
    return [
        BatchSpeed(size, size, size / rate, size / rate, {})
        for size, rate in zip(SIZES, windows_a_second, strict=False)
    ]


@pytest.mark.parametrize(
    ("rates", "measured", "best"),
    [
        ((1000, 1049, 9000), 2, 64),
        ((1000, 1051, 1051, 9000), 3, 128),
        ((1000, 2000, 4000, 8000, 16000), 5, 1024),
        ((1000, 500), 2, 64),
    ],
)
def test_batch_sizes_double_until_a_larger_one_is_no_faster(
    rates: tuple[float, ...], measured: int, best: int
):
    made = {speed.windows: speed for speed in speeds(*rates)}
    found = doubled(made.__getitem__)
    assert [speed.windows for speed in found] == list(SIZES[:measured])
    assert best_batch_size(found).windows == best


def test_larger_batches_take_fewer_steps_for_the_same_windows():
    assert [n_steps(size, "cpu", 12) for size in SIZES] == [12, 6, 3, 2, 2]
    assert [n_steps(size, "cpu", 1) for size in SIZES] == [1, 1, 1, 1, 1]


def test_ways_are_timed_in_turns():
    order: list[str] = []
    taken = seconds_in_turns(
        {"a": lambda: order.append("a"), "b": lambda: order.append("b")}, "cpu", repeats=2
    )
    assert order == ["a", "b", "a", "b"]
    assert set(taken) == {"a", "b"} and min(taken.values()) > 0


def test_the_page_and_the_terminal_show_the_same_figures():
    found = [TrainingSpeed("pretraining", "cpu", [MADE, LARGER])]
    page, lines = "\n".join(training_page(found)), training_lines(found)
    assert "| pretraining on hidden blocks | cpu | 64 | 40.0 | 44.0 | 88.0 | 1.10 | 2.00 | 1,455 |  |" in page
    assert "| pretraining on hidden blocks | cpu | 128 | 80.0 | 81.0 |  | 1.01 |  | 1,580 | yes |" in page
    assert "1,455 windows per second, 1.10 times the bare step, DataLoader 2.00 times our loop" in lines[0]
    assert lines[1].endswith("1,580 windows per second, 1.01 times the bare step")


def test_benchmark_rows_are_of_every_kind(source: MarketArrays):
    rows = labeled_rows(source, 40)
    assert set(rows.kind) == {0, 1, EMPTY}
    assert (rows.spans.type >= 0).any() and (rows.expansion == 0).any()


def test_random_pseudo_labels_have_the_requested_number_of_views(source: MarketArrays):
    pseudo_labels = pseudo_labels_of(source, 30, 20, np.random.default_rng(0))
    assert pseudo_labels.live is not None
    assert len(group_by_view(pseudo_labels.bar0, pseudo_labels.spans).bar0) == 30
    assert len(group_by_view(pseudo_labels.live.bar0, pseudo_labels.live.spans).bar0) == 20
    assert len(pseudo_labels.inputs) == len(pseudo_labels.expansion) == len(pseudo_labels.spans.window)


def test_views_repeat_if_the_bars_have_fewer(source: MarketArrays):
    pseudo_labels = pseudo_labels_of(source, 3000, 20, np.random.default_rng(0))
    views = group_by_view(pseudo_labels.bar0, pseudo_labels.spans)
    assert len(views.bar0) == 3000 > 2 * len(np.unique(views.bar0))


def test_the_benchmark_network_has_the_default_size(source: MarketArrays):
    assert 80_000 < sum(p.numel() for p in new_classifier(source).parameters()) < 100_000


def test_every_kind_of_training_is_timed_and_thread_counts_are_restored():
    bars = made_bars(30, seed=1)
    threads = torch.get_num_threads()
    found = measure_training(bars.prices, bars.segment, steps=1)
    assert [each.work for each in found if each.device == "cpu"] == list(WORK)
    for each in found:
        assert each.sizes[0].windows == 64
        assert all(min(speed.bare, speed.loop, *speed.loader.values()) > 0 for speed in each.sizes)
    assert set(found[0].sizes[0].loader) == set(found[0].best.loader) == set(LOADER_WORKERS)
    pseudo_labels = next(each for each in found if each.work == "pseudo_labels")
    assert pseudo_labels.sizes[0].shown == 64 + 48
    assert torch.get_num_threads() == threads
