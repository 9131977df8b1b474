"""One epoch of pretraining: batches, prefetching, training steps and held-out errors."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from moola_pipeline.models.encoder import Encoder
from moola_pipeline.training.hidden_blocks import (
    HiddenBatch,
    HiddenBlocks,
    HiddenChoice,
    HiddenTensors,
    StateDropout,
    on_device,
)
from moola_pipeline.training.losses import require_finite
from moola_pipeline.training.prefetch import map_in_order, n_makers, prefetched
from moola_pipeline.training.process_group import SINGLE_PROCESS, ProcessGroup


@dataclass(frozen=True)
class BatchShare:
    """The share of a batch that one process computes; all of it if there is one process.

    Attributes:
        bar0: (B,) rows of bar 0 of the whole batch, in memory.
        tensors: Inputs and targets of the share, on the device.
        own: Slice of the share's targets in those of the whole batch.
        total: Number of targets of the whole batch.
        counts: False if the share is empty. `tensors` then hold the whole batch with loss weight 0,
            so that every process draws as many random numbers.
    """

    bar0: np.ndarray
    tensors: HiddenTensors
    own: slice
    total: int
    counts: bool = True


def choices(
    task: HiddenBlocks, windows: np.ndarray, size: int, rng: np.random.Generator
) -> Iterator[HiddenChoice]:
    """Draw the random part of each batch of (n,) windows, in their order, lazily."""
    for i in range(0, len(windows), size):
        yield task.choose(windows[i : i + size], rng)


def batches_in_order(
    task: HiddenBlocks,
    windows: np.ndarray,
    size: int,
    rng: np.random.Generator,
    group: ProcessGroup = SINGLE_PROCESS,
) -> Iterator[BatchShare]:
    """Make batches of (n,) windows on the decoder's device, in their order, lazily."""
    for chosen in choices(task, windows, size, rng):
        yield make_share(task, chosen, group)


def prefetched_batches(
    task: HiddenBlocks,
    windows: np.ndarray,
    size: int,
    rng: np.random.Generator,
    group: ProcessGroup = SINGLE_PROCESS,
) -> Iterator[BatchShare]:
    """The batches of `batches_in_order`, made in background threads."""
    chosen = choices(task, windows, size, rng)
    make = partial(make_share, task, group=group)
    return prefetched(map_in_order(chosen, make, n_makers(group.size)))


def make_share(task: HiddenBlocks, chosen: HiddenChoice, group: ProcessGroup = SINGLE_PROCESS) -> BatchShare:
    """This process's share of a batch, on the decoder's device."""
    share, total = group.share(len(chosen.bar0)), task.n_targets(chosen)
    first = task.n_targets(chosen.select(slice(0, share.start)))
    own_choice = chosen.select(share) if group.size > 1 else chosen
    own = slice(first, first + task.n_targets(own_choice))
    if own.start == own.stop:
        whole = _device_tensors(task, task.make(chosen))
        return BatchShare(chosen.bar0, whole, slice(0, total), total, counts=False)
    return BatchShare(chosen.bar0, _device_tensors(task, task.make(own_choice)), own, total)


def train_epoch(
    encoder: Encoder,
    task: HiddenBlocks,
    optimizer: torch.optim.Optimizer,
    batches: Iterable[BatchShare | HiddenBatch],
    dropout: StateDropout,
    group: ProcessGroup = SINGLE_PROCESS,
) -> float:
    """Take one step a batch; return the mean loss.

    Args:
        encoder, task, optimizer: Trained together.
        batches: From `prefetched_batches`; batches of `HiddenBlocks.draw` are sent to the device first.
        dropout: Dropout of encoder states.
        group: The processes that train together.
    """
    parameters = [p for parts in optimizer.param_groups for p in parts["params"]]
    rows, losses = [], []
    for batch in batches:
        loss = _own_loss(encoder, task, _as_share(task, batch), dropout)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        group.all_reduce_gradients(parameters)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        rows.append(batch.bar0)
        losses.append(loss.detach())
    # Check after the epoch: reading the loss in each step would synchronize with the device.
    by_batch = group.all_reduce(torch.stack(losses)).cpu().numpy()
    require_finite(by_batch, rows)
    return float(by_batch.mean())


def _own_loss(encoder: Encoder, task: HiddenBlocks, batch: BatchShare, dropout: StateDropout) -> torch.Tensor:
    """This process's part of the batch loss; the sum over all processes is the batch loss."""
    n_own = batch.own.stop - batch.own.start
    if n_own == batch.total:
        return task.error(encoder, batch.tensors, dropout) * (1.0 if batch.counts else 0.0)
    own_dropout = dropout._replace(own=batch.own, total=batch.total)
    return task.error(encoder, batch.tensors, own_dropout) * (n_own / batch.total)


def _device_tensors(task: HiddenBlocks, batch: HiddenBatch) -> HiddenTensors:
    """The tensors of a batch, on the decoder's device."""
    return on_device(task.tensors(batch), next(task.decoder.parameters()).device)


def _as_share(task: HiddenBlocks, batch: BatchShare | HiddenBatch) -> BatchShare:
    if isinstance(batch, BatchShare):
        return batch
    return BatchShare(batch.bar0, _device_tensors(task, batch), slice(0, 1), 1)


class HeldOut:
    """Held-out batches on the device; each batch belongs to one process of the group."""

    def __init__(self, task: HiddenBlocks, chosen: Iterable[HiddenChoice], group: ProcessGroup):
        self.task, self.group, all_choices = task, group, list(chosen)
        self.rows = [choice.bar0 for choice in all_choices]
        self.weights = [task.n_targets(choice) for choice in all_choices]
        self.own = {i: make_share(task, choice) for i, choice in enumerate(all_choices) if group.owns(i)}

    @torch.no_grad()
    def error(self, encoder: Encoder) -> float:
        """Mean error over all targets."""
        device = encoder.hidden_bar.device
        by_batch = torch.zeros(len(self.rows), device=device)
        for i, batch in self.own.items():
            by_batch[i] = self.task.error(encoder, batch.tensors)
        errors = self.group.all_reduce(by_batch).cpu().numpy().astype(np.float64)
        require_finite(errors, self.rows)
        return float(np.average(errors, weights=self.weights))
