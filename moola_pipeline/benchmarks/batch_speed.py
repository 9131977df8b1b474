"""Training speed at doubling batch sizes, until a larger batch is no faster."""

import time
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any, NamedTuple

import torch

SIZES = (64, 128, 256, 512, 1024)
"""Windows per batch: the maximum in the fine-tuning settings, then doubled."""
MIN_RISE = 1.05
"""A larger batch pays if windows per second rise by at least this factor."""
REPEATS = 3
STEPS = {"cpu": 12, "cuda": 100}
"""Steps per measurement at the smallest size; larger sizes take fewer, for the same number of windows."""
MIN_STEPS = {"cpu": 2, "cuda": 25}


class BatchSpeed(NamedTuple):
    """Seconds per step at one batch size, the best of the repeats.

    Attributes:
        windows: Windows per batch.
        shown: Windows per step, live windows included.
        bare: Forward, backward and optimizer step, on batches that are on the device already.
        loop: The training loop, which makes its batches.
        loader: The same with a plain Dataset and DataLoader, by number of workers; empty if not
            measured.
    """

    windows: int
    shown: float
    bare: float
    loop: float
    loader: dict[int, float]

    @property
    def ratio(self) -> float:
        """Our loop over the bare steps."""
        return self.loop / self.bare

    @property
    def loader_ratio(self) -> float | None:
        """The best DataLoader over our loop."""
        return min(self.loader.values()) / self.loop if self.loader else None

    @property
    def windows_a_second(self) -> float:
        """Windows per second of our loop."""
        return self.shown / self.loop


def doubled(measure: Callable[[int], BatchSpeed], sizes: Iterable[int] = SIZES) -> list[BatchSpeed]:
    """Measure at each size, up to and including the first that is not 5 % faster (windows per second)."""
    found: list[BatchSpeed] = []
    for size in sizes:
        found.append(measure(size))
        if len(found) > 1 and not _pays(*found[-2:]):
            break
    return found


def best_batch_size(found: list[BatchSpeed]) -> BatchSpeed:
    """The largest size that is 5 % faster (windows per second) than the one before it."""
    best = found[0]
    for smaller, larger in pairwise(found):
        if _pays(smaller, larger):
            best = larger
    return best


def _pays(smaller: BatchSpeed, larger: BatchSpeed) -> bool:
    return larger.windows_a_second >= MIN_RISE * smaller.windows_a_second


def n_steps(size: int, device: str, steps: int | None = None) -> int:
    """Steps per measurement at one batch size."""
    at_smallest = STEPS[device] if steps is None else steps
    return max(at_smallest * SIZES[0] // size, min(MIN_STEPS[device], at_smallest))


def seconds_in_turns(
    ways: dict[str, Callable[[], None]], device: str, repeats: int | None = None
) -> dict[str, float]:
    """Seconds of each way, the best of the repeats, by default REPEATS.

    Each repeat runs all ways once, so other load on the machine affects them equally.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats or REPEATS):
        for name, way in ways.items():
            settle(device)
            started = time.perf_counter()
            way()
            settle(device)
            seconds[name].append(time.perf_counter() - started)
    return {name: min(taken) for name, taken in seconds.items()}


def learn(
    optimizer: torch.optim.Optimizer, batches: Iterable[Any], loss_of: Callable[[Any], torch.Tensor]
) -> None:
    """Take bare steps: forward, backward, clipping and optimizer step only."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for batch in batches:
        loss = loss_of(batch)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()


def settle(device: str) -> None:
    """Wait for a GPU: its calls return before the work is done."""
    if device == "cuda":
        torch.cuda.synchronize()


def devices() -> list[str]:
    """Devices of this machine: the CPU, and the GPU if there is one."""
    return ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
