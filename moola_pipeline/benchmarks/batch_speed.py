"""How fast batches are learned from, at doubling sizes until a larger one no longer pays."""

import time
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any, NamedTuple

import torch

SIZES = (64, 128, 256, 512, 1024)
"""Windows in a batch: the most that the settings of fine-tuning allow, then doubled."""
MIN_RISE = 1.05
"""A larger batch pays if windows a second rise at least so much."""
REPEATS = 3
STEPS = {"cpu": 12, "cuda": 100}
"""Of each measurement at the smallest size; at a larger one as many as show as many windows."""
MIN_STEPS = {"cpu": 2, "cuda": 25}


class BatchSpeed(NamedTuple):
    """Seconds a step at one batch size, the best of the repeats.

    Attributes:
        windows: In a batch.
        shown: Windows that a step learns from: those of the batch, and what is shown beside them.
        bare: Forward, backward and step, on batches that lie on the device already.
        loop: As training does it, batches made on the way.
        loader: With a plain Dataset and DataLoader instead, by its number of workers; empty where
            it was not measured.
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
        """Windows that our loop trains on."""
        return self.shown / self.loop


def doubled(measure: Callable[[int], BatchSpeed], sizes: Iterable[int] = SIZES) -> list[BatchSpeed]:
    """Measure at each size until windows a second no longer rise by 5 %; the size at which is the last."""
    found: list[BatchSpeed] = []
    for size in sizes:
        found.append(measure(size))
        if len(found) > 1 and not _pays(*found[-2:]):
            break
    return found


def best_paying(found: list[BatchSpeed]) -> BatchSpeed:
    """The largest size that is 5 % faster than the one before it."""
    best = found[0]
    for smaller, larger in pairwise(found):
        if _pays(smaller, larger):
            best = larger
    return best


def _pays(smaller: BatchSpeed, larger: BatchSpeed) -> bool:
    return larger.windows_a_second >= MIN_RISE * smaller.windows_a_second


def n_steps(size: int, device: str, steps: int | None = None) -> int:
    """Steps of a measurement at one size."""
    at_smallest = STEPS[device] if steps is None else steps
    return max(at_smallest * SIZES[0] // size, min(MIN_STEPS[device], at_smallest))


def in_turns(ways: dict[str, Callable[[], None]], device: str, repeats: int = REPEATS) -> dict[str, float]:
    """Seconds of each way, the best of its turns; one after the other in each repeat.

    So what else the machine does falls on all alike.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
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
    """Bare steps: forward, backward, clipping and step, nothing else."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for batch in batches:
        loss = loss_of(batch)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()


def settle(device: str) -> None:
    """A GPU works on after a call has returned: wait for it."""
    if device == "cuda":
        torch.cuda.synchronize()


def devices() -> list[str]:
    """What can be measured here: the processor, and a GPU where there is one."""
    return ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
