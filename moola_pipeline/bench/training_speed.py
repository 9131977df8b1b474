"""How fast training runs: our loop, bare steps on batches already there, and a plain DataLoader."""

import time
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from moola_pipeline.bars.schema import NQ
from moola_pipeline.features.relativity import compute_features
from moola_pipeline.training.batches import Source
from moola_pipeline.training.objectives.hidden_blocks import HiddenBatch, HiddenBlocks
from moola_pipeline.training.objectives.objective import Dropping
from moola_pipeline.training.prefetch import prefetched
from moola_pipeline.training.pretrain import drawn_batches, new_encoder, train_epoch
from moola_pipeline.training.settings import PretrainSettings
from moola_pipeline.windows.dense import pretraining_windows
from moola_pipeline.windows.repainted import BarArrays

SIZES = (64, 256)
"""Windows in a batch: the default, and a larger one."""
STEPS = 12
REPEATS = 3
LOADER_WORKERS = (0, 2)
MOST_RATIO, AIM_RATIO = 1.15, 1.05
"""Our loop's time over the bare steps', and the goal."""
MEASURED_BARS = 100_000
"""Bars that windows are drawn from: a step takes as long on more."""


class LoopSpeed(NamedTuple):
    """Seconds a step at one batch size, the best of the repeats.

    Attributes:
        windows: In a batch.
        bare: Forward, backward and step, on batches that lie on the device already.
        loop: As training does it: drawn, hidden and repainted beside the steps.
        loader: With a Dataset that draws window by window and a DataLoader, by its number of workers.
    """

    windows: int
    bare: float
    loop: float
    loader: dict[int, float]

    @property
    def ratio(self) -> float:
        """Our loop over the bare steps."""
        return self.loop / self.bare

    @property
    def loader_ratio(self) -> float:
        """The best DataLoader over our loop."""
        return min(self.loader.values()) / self.loop

    @property
    def windows_a_second(self) -> float:
        """Windows that our loop trains on."""
        return self.windows / self.loop


class _Windows(Dataset):
    """Windows hidden and repainted one by one, as a plain Dataset does it."""

    def __init__(self, objective: HiddenBlocks, bar0: np.ndarray):
        self.objective, self.bar0 = objective, bar0

    def __len__(self) -> int:
        return len(self.bar0)

    def __getitem__(self, i: int) -> HiddenBatch:
        rng = np.random.default_rng(int(torch.randint(2**31, (1,))))
        return self.objective.draw(self.bar0[i : i + 1], rng)


def measure_loop(
    prices: np.ndarray, segment: np.ndarray, device: torch.device | str, steps: int = STEPS
) -> list[LoopSpeed]:
    """Time pretraining on hidden blocks at each batch size, in one thread of torch's.

    Args:
        prices: (n_bars, 4) open, high, low, close, index points; the first MEASURED_BARS are used.
        segment: (n_bars,) their segments.
        device: Where the network runs.
        steps: Of each measurement.
    """
    prices, segment = prices[:MEASURED_BARS], segment[:MEASURED_BARS]
    table = compute_features(prices, segment, NQ.tick_points)
    source = Source(BarArrays(prices, segment, NQ.tick_points), table.values, table.atr)
    windows = pretraining_windows(segment, len(segment))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return [_measured(source, windows, size, device, steps) for size in SIZES]
    finally:
        torch.set_num_threads(before)


def loop_lines(found: list[LoopSpeed]) -> list[str]:
    """One line a batch size."""
    return [
        f"{f'pretraining, batches of {one.windows}':58}{one.windows_a_second:9,.0f} windows a second, "
        f"{one.ratio:.2f} times the bare step, a DataLoader {one.loader_ratio:.2f} times as long"
        for one in found
    ]


def loop_page(found: list[LoopSpeed]) -> tuple[str, ...]:
    """The section of the page, in Markdown."""
    return (
        "**The training loop.** Pretraining on hidden blocks, one thread for the network: bare steps "
        "(forward, backward, step, on batches that are there), our loop (batches hidden and repainted in a "
        "thread beside the steps), and a plain Dataset that makes window by window with a DataLoader of "
        f"{' or '.join(map(str, LOADER_WORKERS))} workers, the faster; milliseconds a step, the best of "
        f"{REPEATS} turns, one after the other in each. Our loop over the bare step: floor {MOST_RATIO}, "
        f"goal {AIM_RATIO}.",
        "",
        "| windows a batch | bare step | our loop | DataLoader | loop over bare | DataLoader over loop "
        "| windows a second |",
        "|---|---|---|---|---|---|---|",
        *(
            f"| {one.windows} | {one.bare * 1e3:.1f} | {one.loop * 1e3:.1f} "
            f"| {min(one.loader.values()) * 1e3:.1f} | {one.ratio:.2f} | {one.loader_ratio:.2f} "
            f"| {one.windows_a_second:,.0f} |"
            for one in found
        ),
        "",
    )


def _measured(
    source: Source, windows: np.ndarray, size: int, device: torch.device | str, steps: int
) -> LoopSpeed:
    settings = PretrainSettings(batch_windows=size)
    rng = np.random.default_rng(0)
    encoder = new_encoder(source.values, windows, settings)
    objective = HiddenBlocks(source, encoder, windows, settings, rng, len(source.values))
    network = torch.nn.ModuleDict({"encoder": encoder, "decoder": objective.decoder}).to(device)
    optimizer = torch.optim.AdamW(network.parameters(), settings.learning_rate)
    shown = rng.choice(windows, steps * size)
    dropping = Dropping(settings.dropout, torch.Generator().manual_seed(0))
    there = list(drawn_batches(objective, shown, size, rng))

    def seconds(batches: Iterable[Any]) -> float:
        _wait(device)
        started = time.perf_counter()
        train_epoch(encoder, objective, optimizer, batches, dropping)
        _wait(device)
        return (time.perf_counter() - started) / steps

    seconds(there[: max(steps // 4, 1)])  # warm
    # one after the other in each repeat, so that what else the machine does falls on all alike
    bare, loop = [], []
    loader: dict[int, list[float]] = {workers: [] for workers in LOADER_WORKERS}
    for _ in range(REPEATS):
        bare.append(seconds(there))
        loop.append(seconds(prefetched(drawn_batches(objective, shown, size, rng))))
        for workers, taken in loader.items():
            taken.append(seconds(_loaded(objective, shown, size, workers)))
    return LoopSpeed(size, min(bare), min(loop), {workers: min(taken) for workers, taken in loader.items()})


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


def _wait(device: torch.device | str) -> None:
    """A GPU works on after a call has returned."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()
