"""How fast training runs: our loop, bare steps on batches already there, and a plain DataLoader."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from moola_pipeline.bars.schema import NQ
from moola_pipeline.benchmarks.batch_speed import (
    MIN_RISE,
    REPEATS,
    BatchSpeed,
    best_paying,
    devices,
    doubled,
    in_turns,
    learn,
    n_steps,
)
from moola_pipeline.benchmarks.finetune_speed import measure_distillation, measure_labels
from moola_pipeline.training.objectives.hidden_blocks import HiddenBatch, HiddenBlocks
from moola_pipeline.training.objectives.objective import StateDropout
from moola_pipeline.training.pretrain import new_encoder, new_optimizer
from moola_pipeline.training.pretraining_loop import batches_in_order, prefetched_batches, train_epoch
from moola_pipeline.training.settings import PretrainSettings
from moola_pipeline.windows.dense import pretraining_windows
from moola_pipeline.windows.market_arrays import MarketArrays
from moola_pipeline.windows.window_geometry import CONTEXT_BARS, LIVE_BARS, VIEW_BARS

LOADER_WORKERS = (0, 2)
LOADER_STEPS = 12
MAX_RATIO, AIM_RATIO = 1.15, 1.05
"""Our loop's time over the bare steps', and the goal."""
MEASURED_BARS = 100_000
"""Bars that windows are drawn from: a step takes as long on more."""
WORK = {
    "pretraining": "pretraining on hidden blocks",
    "pseudo_labels": "fine-tuning, epochs on lessons",
    "labels": "fine-tuning, epochs on labels",
}


class TrainingSpeed(NamedTuple):
    """One kind of training on one device, at doubling batch sizes.

    Attributes:
        work: One of WORK.
        device: cpu or cuda.
        sizes: The last one no longer pays, or is the largest tried.
    """

    work: str
    device: str
    sizes: list[BatchSpeed]

    @property
    def best(self) -> BatchSpeed:
        """At the largest size that pays."""
        return best_paying(self.sizes)


class _Windows(Dataset):
    """Windows hidden and recomputed one by one, as a plain Dataset does it."""

    def __init__(self, objective: HiddenBlocks, bar0: np.ndarray):
        self.objective, self.bar0 = objective, bar0

    def __len__(self) -> int:
        return len(self.bar0)

    def __getitem__(self, i: int) -> HiddenBatch:
        rng = np.random.default_rng(int(torch.randint(2**31, (1,))))
        return self.objective.draw(self.bar0[i : i + 1], rng)


def measure_training(
    prices: np.ndarray, segment: np.ndarray, steps: int | None = None
) -> list[TrainingSpeed]:
    """Time each kind of training on each device, one thread for the network.

    Args:
        prices: (n_bars, 4) open, high, low, close, index points; the first MEASURED_BARS are used.
        segment: (n_bars,) their segments.
        steps: Of each measurement at the smallest size; by the device if None.
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
    """Time pretraining at each batch size, beside a DataLoader, too."""
    windows = pretraining_windows(market.segment, len(market.features))
    return doubled(lambda size: _pretraining_at(market, windows, size, device, n_steps(size, device, steps)))


def _pretraining_at(
    market: MarketArrays, windows: np.ndarray, size: int, device: str, steps: int
) -> BatchSpeed:
    settings = PretrainSettings(batch_windows=size)
    rng = np.random.default_rng(0)
    encoder = new_encoder(market, windows, settings)
    objective = HiddenBlocks(market, encoder, windows, settings, rng, len(market.features))
    network = torch.nn.ModuleDict({"encoder": encoder, "decoder": objective.decoder}).to(device)
    optimizer = new_optimizer(network, settings)
    dropout = StateDropout(settings.dropout, torch.Generator(device).manual_seed(0))
    shown = rng.choice(windows, steps * size)
    few = shown[: min(steps, LOADER_STEPS) * size]
    there = list(batches_in_order(objective, shown, size, rng))

    def loop(batches: Iterator[Any]) -> None:
        train_epoch(encoder, objective, optimizer, batches, dropout)

    def bare() -> None:
        learn(optimizer, there, lambda batch: objective.error(encoder, batch.asked, dropout))

    ways = {"bare": bare, "loop": lambda: loop(prefetched_batches(objective, shown, size, rng))}
    for workers in LOADER_WORKERS:
        ways[f"loader {workers}"] = lambda workers=workers: loop(_loaded(objective, few, size, workers))
    bare()  # warm
    taken = in_turns(ways, device)
    loaders = {workers: taken[f"loader {workers}"] / (len(few) / size) for workers in LOADER_WORKERS}
    return BatchSpeed(size, size, taken["bare"] / steps, taken["loop"] / steps, loaders)


def _loaded(objective: HiddenBlocks, shown: np.ndarray, size: int, workers: int) -> Iterator[HiddenBatch]:
    return iter(DataLoader(_Windows(objective, shown), size, num_workers=workers, collate_fn=joined))


def joined(windows: list[HiddenBatch]) -> HiddenBatch:
    """One batch of batches of one window each."""
    where = [one.where._replace(window=one.where.window + number) for number, one in enumerate(windows)]
    parts = {
        name: np.concatenate([getattr(one, name) for one in windows])
        for name in ("bar0", "visible", "hidden", "inputs", "targets")
    }
    joined = type(where[0])(*(np.concatenate(column) for column in zip(*where, strict=True)))
    return HiddenBatch(where=joined, **parts)


def training_lines(found: list[TrainingSpeed]) -> list[str]:
    """One line for each kind, device and size."""
    lines = []
    for each in found:
        for one in each.sizes:
            name = f"{WORK[each.work]}, {each.device}, batches of {one.windows}"
            beside = f", a DataLoader {one.loader_ratio:.2f} times as long" if one.loader_ratio else ""
            lines.append(
                f"{name:58}{one.windows_a_second:9,.0f} windows a second, "
                f"{one.ratio:.2f} times the bare step{beside}"
            )
    return lines


def training_page(found: list[TrainingSpeed]) -> tuple[str, ...]:
    """The section of the page, in Markdown."""
    return (
        "**Training.** Bare steps (forward, backward, clipping and step, on batches that are there) beside "
        "our loop (batches made on the way: hidden and recomputed, or drawn and augmented), and, for "
        "pretraining, a plain Dataset that makes window by window with a DataLoader of "
        f"{' or '.join(map(str, LOADER_WORKERS))} workers, the faster. One thread for the network; "
        f"milliseconds a step, the best of {REPEATS} turns, one after the other in each. Our loop over the "
        f"bare step: floor {MAX_RATIO}, goal {AIM_RATIO}. The batch is doubled until windows a second rise "
        f"by less than {MIN_RISE - 1:.0%}. A batch of lessons has three live windows "
        f"({CONTEXT_BARS + LIVE_BARS} bars) beside four that are read whole ({VIEW_BARS} bars); both count. "
        "The settings keep batches of labels at 32 to 64.",
        "",
        "| training | device | windows a batch | bare step | our loop | DataLoader | loop over bare "
        "| DataLoader over loop | windows a second | largest that pays |",
        "|---|---|---|---|---|---|---|---|---|---|",
        *(_row(each, one) for each in found for one in each.sizes),
        "",
    )


def _row(each: TrainingSpeed, one: BatchSpeed) -> str:
    loader = f"{min(one.loader.values()) * 1e3:.1f}" if one.loader else ""
    over = f"{one.loader_ratio:.2f}" if one.loader_ratio else ""
    return (
        f"| {WORK[each.work]} | {each.device} | {one.windows} | {one.bare * 1e3:.1f} | {one.loop * 1e3:.1f} "
        f"| {loader} | {one.ratio:.2f} | {over} | {one.windows_a_second:,.0f} "
        f"| {'here' if one is each.best else ''} |"
    )
