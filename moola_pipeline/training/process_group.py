"""Data-parallel training: processes that share each batch."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor, distributed

TIMEOUT = timedelta(minutes=10)
"""Timeout of a collective; torchrun ends all processes much sooner if one dies."""


@dataclass(frozen=True)
class ProcessGroup:
    """One process of those that train together; a single one by default.

    All choose the same whole batches and take the same steps, so their weights are equal bit for
    bit. They share only the making of batches and the computation of gradients.

    Attributes:
        rank: Number of this process, from 0.
        size: Number of processes.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process reports and writes files."""
        return self.rank == 0

    def share(self, n: int) -> slice:
        """This process's contiguous share of n items; sizes differ by at most one."""
        return slice(n * self.rank // self.size, n * (self.rank + 1) // self.size)

    def owns(self, number: int) -> bool:
        """Whether item `number` belongs to this process."""
        return number % self.size == self.rank

    def all_reduce(self, values: Tensor) -> Tensor:
        """Sum over all processes, in place; the same in each."""
        if self.size > 1:
            distributed.all_reduce(values)
        return values

    def all_reduce_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Sum the gradients of all processes; a missing gradient counts as zero."""
        if self.size == 1:
            return
        parameters = list(parameters)
        gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
        total = self.all_reduce(torch.cat([gradient.flatten() for gradient in gradients]))
        parts = total.split([p.numel() for p in parameters])
        for parameter, part in zip(parameters, parts, strict=True):
            parameter.grad = part.view_as(parameter)


SINGLE_PROCESS = ProcessGroup()


@contextmanager
def join_process_group(device: torch.device) -> Iterator[ProcessGroup]:
    """Join the processes that torchrun started; leave the group after the block.

    Args:
        device: Device of this process; GPUs use nccl, other devices gloo.
    """
    on_gpu = device.type == "cuda"
    distributed.init_process_group(
        "nccl" if on_gpu else "gloo", timeout=TIMEOUT, device_id=device if on_gpu else None
    )
    try:
        yield ProcessGroup(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()
