"""Training speed: our loop, bare steps on prepared batches, and a plain DataLoader."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from moola_pipeline.bars.instruments import NQ
from moola_pipeline.benchmarks.batch_speed import (
    MIN_RISE,
    REPEATS,
    BatchSpeed,
    best_batch_size,
    devices,
    doubled,
    learn,
    n_steps,
    seconds_in_turns,
)
from moola_pipeline.benchmarks.finetune_speed import measure_distillation, measure_labels
from moola_pipeline.training.hidden_blocks import HiddenBatch, HiddenBlocks, StateDropout
from moola_pipeline.training.pretrain import new_encoder, new_optimizer
from moola_pipeline.training.pretraining_loop import batches_in_order, prefetched_batches, train_epoch
from moola_pipeline.training.settings import PretrainSettings
from moola_pipeline.windows.dense import pretraining_windows
from moola_pipeline.windows.market_arrays import MarketArrays
from moola_pipeline.windows.window_geometry import CONTEXT_BARS, LIVE_BARS, VIEW_BARS

LOADER_WORKERS = (0, 2)
LOADER_STEPS = 12
MAX_RATIO, AIM_RATIO = 1.15, 1.05
"""Limit and goal for our loop's time over that of bare steps."""
MEASURED_BARS = 100_000
"""Bars that windows are drawn from; the time per step does not depend on it."""
WORK = {
    "pretraining": "pretraining on hidden blocks",
    "pseudo_labels": "fine-tuning, epochs on pseudo-labels",
    "labels": "fine-tuning, epochs on labels",
}


class TrainingSpeed(NamedTuple):
    """One kind of training on one device, at doubling batch sizes.

    Attributes:
        work: One of WORK.
        device: cpu or cuda.
        sizes: In increasing order; the last is no faster than the one before, or the largest tried.
    """

    work: str
    device: str
    sizes: list[BatchSpeed]

    @property
    def best(self) -> BatchSpeed:
        """The largest size that pays."""
        return best_batch_size(self.sizes)


class _Windows(Dataset):
    """A plain Dataset: hides bars and recomputes features window by window."""

    def __init__(self, task: HiddenBlocks, bar0: np.ndarray):
        self.task, self.bar0 = task, bar0

    def __len__(self) -> int:
        return len(self.bar0)

    def __getitem__(self, i: int) -> HiddenBatch:
        rng = np.random.default_rng(int(torch.randint(2**31, (1,))))
        return self.task.draw(self.bar0[i : i + 1], rng)


def measure_training(
    prices: np.ndarray, segment: np.ndarray, steps: int | None = None
) -> list[TrainingSpeed]:
    """Time each kind of training on each device, one thread for the network.

    Args:
        prices: (n_bars, 4) open, high, low, close, index points; the first MEASURED_BARS are used.
        segment: (n_bars,) their segments.
        steps: Per measurement at the smallest size; None for the default of the device.
    """
    market = MarketArrays.from_prices(prices[:MEASURED_BARS], segment[:MEASURED_BARS], NQ.tick_points)
    measures = {
        "pretraining": measure_pretraining,
        "pseudo_labels": measure_distillation,
        "labels": measure_labels,
    }
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return [
            TrainingSpeed(work, device, measure(market, device, steps))
            for device in devices()
            for work, measure in measures.items()
        ]
    finally:
        torch.set_num_threads(before)


def measure_pretraining(market: MarketArrays, device: str, steps: int | None = None) -> list[BatchSpeed]:
    """Time pretraining at each batch size, also with a DataLoader."""
    windows = pretraining_windows(market.segment, len(market.features))
    return doubled(lambda size: _pretraining_at(market, windows, size, device, n_steps(size, device, steps)))


def _pretraining_at(
    market: MarketArrays, windows: np.ndarray, size: int, device: str, steps: int
) -> BatchSpeed:
    settings = PretrainSettings(batch_windows=size)
    rng = np.random.default_rng(0)
    encoder = new_encoder(market, windows, settings)
    task = HiddenBlocks(market, encoder, windows, settings, rng)
    network = torch.nn.ModuleDict({"encoder": encoder, "decoder": task.decoder}).to(device)
    optimizer = new_optimizer(network, settings)
    dropout = StateDropout(settings.dropout, torch.Generator(device).manual_seed(0))
    drawn = rng.choice(windows, steps * size)
    few = drawn[: min(steps, LOADER_STEPS) * size]
    prepared = list(batches_in_order(task, drawn, size, rng))

    def loop(batches: Iterator[Any]) -> None:
        train_epoch(encoder, task, optimizer, batches, dropout)

    def bare() -> None:
        learn(optimizer, prepared, lambda batch: task.error(encoder, batch.tensors, dropout))

    ways = {"bare": bare, "loop": lambda: loop(prefetched_batches(task, drawn, size, rng))}
    for workers in LOADER_WORKERS:
        ways[f"loader {workers}"] = lambda workers=workers: loop(_loaded(task, few, size, workers))
    bare()  # warm up
    seconds = seconds_in_turns(ways, device)
    loaders = {workers: seconds[f"loader {workers}"] / (len(few) / size) for workers in LOADER_WORKERS}
    return BatchSpeed(size, size, seconds["bare"] / steps, seconds["loop"] / steps, loaders)


def _loaded(task: HiddenBlocks, bar0: np.ndarray, size: int, workers: int) -> Iterator[HiddenBatch]:
    return iter(DataLoader(_Windows(task, bar0), size, num_workers=workers, collate_fn=joined))


def joined(windows: list[HiddenBatch]) -> HiddenBatch:
    """Join batches of one window each into one batch."""
    where = [
        window.where._replace(window=window.where.window + number) for number, window in enumerate(windows)
    ]
    parts = {
        name: np.concatenate([getattr(window, name) for window in windows])
        for name in ("bar0", "visible", "hidden", "inputs", "targets")
    }
    joined = type(where[0])(*(np.concatenate(column) for column in zip(*where, strict=True)))
    return HiddenBatch(where=joined, **parts)


def training_lines(found: list[TrainingSpeed]) -> list[str]:
    """One line for each kind, device and size."""
    lines = []
    for each in found:
        for speed in each.sizes:
            name = f"{WORK[each.work]}, {each.device}, batches of {speed.windows}"
            loader = f", DataLoader {speed.loader_ratio:.2f} times our loop" if speed.loader_ratio else ""
            lines.append(
                f"{name:58}{speed.windows_a_second:9,.0f} windows per second, "
                f"{speed.ratio:.2f} times the bare step{loader}"
            )
    return lines


def training_page(found: list[TrainingSpeed]) -> tuple[str, ...]:
    """The section of the page, in Markdown."""
    return (
        "**Training.** Bare steps (forward, backward, clipping and optimizer step, on prepared batches); "
        "our loop, which makes its batches (bars hidden and features recomputed, or rows drawn and "
        "augmented); for pretraining also a plain Dataset, which makes one window at a time, with a "
        f"DataLoader of {' or '.join(map(str, LOADER_WORKERS))} workers, whichever is faster. One torch "
        "thread; on a CPU the LSTM's two directions train side by side. Milliseconds per step, the best of "
        f"{REPEATS} repeats, measured in turns. Our loop "
        f"over the bare step: limit {MAX_RATIO}, goal {AIM_RATIO}. The batch size doubles until windows per "
        f"second rise by less than {MIN_RISE - 1:.0%}. A batch of pseudo-labels has three live windows "
        f"({CONTEXT_BARS + LIVE_BARS} bars) per four whole windows ({VIEW_BARS} bars); both count. "
        "The settings keep batches of labels at 32 to 64.",
        "",
        "| training | device | windows per batch | bare step | our loop | DataLoader | loop over bare "
        "| DataLoader over loop | windows per second | best batch size |",
        "|---|---|---|---|---|---|---|---|---|---|",
        *(_row(each, speed) for each in found for speed in each.sizes),
        "",
    )


def _row(each: TrainingSpeed, speed: BatchSpeed) -> str:
    loader = f"{min(speed.loader.values()) * 1e3:.1f}" if speed.loader else ""
    over = f"{speed.loader_ratio:.2f}" if speed.loader_ratio else ""
    return (
        f"| {WORK[each.work]} | {each.device} | {speed.windows} | {speed.bare * 1e3:.1f} "
        f"| {speed.loop * 1e3:.1f} | {loader} | {speed.ratio:.2f} | {over} | {speed.windows_a_second:,.0f} "
        f"| {'yes' if speed is each.best else ''} |"
    )
