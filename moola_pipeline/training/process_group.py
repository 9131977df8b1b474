"""The processes that train one network together, each on its share of every batch."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor, distributed

TIMEOUT = timedelta(minutes=10)
"""How long a process waits for the others of its team; one that died ends them all much sooner."""


@dataclass(frozen=True)
class ProcessGroup:
    """One process among those that train together; alone by default.

    All of them choose the same whole batches and take the same steps, so that their weights are
    alike to the last bit; only the making of batches and the gradients are shared out.

    Attributes:
        rank: Number of this process, from 0.
        size: How many they are.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process is the one that reports and writes."""
        return self.rank == 0

    def share(self, n: int) -> slice:
        """This process's share of n things in a row; shares differ by one at most."""
        return slice(n * self.rank // self.size, n * (self.rank + 1) // self.size)

    def owns(self, number: int) -> bool:
        """Whether a thing that is not divided falls to this process."""
        return number % self.size == self.rank

    def all_reduce(self, values: Tensor) -> Tensor:
        """The sum over all processes, the same in each, in place."""
        if self.size > 1:
            distributed.all_reduce(values)
        return values

    def all_reduce_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Add up the gradients of all processes; where a process has none, it has zeros."""
        if self.size == 1:
            return
        learned = list(parameters)
        gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in learned]
        together = self.all_reduce(torch.cat([gradient.flatten() for gradient in gradients]))
        parts = together.split([p.numel() for p in learned])
        for parameter, part in zip(learned, parts, strict=True):
            parameter.grad = part.view_as(parameter)


SINGLE_PROCESS = ProcessGroup()


@contextmanager
def join_process_group(device: torch.device) -> Iterator[ProcessGroup]:
    """Join the processes that torchrun started with this one, and leave them behind the block.

    Args:
        device: Of this process; GPUs talk by nccl, anything else by gloo.
    """
    on_gpu = device.type == "cuda"
    distributed.init_process_group(
        "nccl" if on_gpu else "gloo", timeout=TIMEOUT, device_id=device if on_gpu else None
    )
    try:
        yield ProcessGroup(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()
