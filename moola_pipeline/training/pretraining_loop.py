"""One epoch of pretraining: batches, prefetching, training steps and held-out errors."""

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch

from moola_pipeline.models.encoder import Encoder
from moola_pipeline.training.losses import require_finite
from moola_pipeline.training.objectives.objective import (
    BatchShare,
    Objective,
    StateDropout,
    on_device,
    subset_of,
)
from moola_pipeline.training.prefetch import map_in_order, n_makers, prefetched
from moola_pipeline.training.process_group import SINGLE_PROCESS, ProcessGroup


def choices(objective: Objective, windows: np.ndarray, size: int, rng: np.random.Generator) -> Iterator[Any]:
    """Draw the random part of each batch of (n,) windows, in their order, lazily."""
    for i in range(0, len(windows), size):
        yield objective.choose(windows[i : i + size], rng)


def batches_in_order(
    objective: Objective,
    windows: np.ndarray,
    size: int,
    rng: np.random.Generator,
    group: ProcessGroup = SINGLE_PROCESS,
) -> Iterator[BatchShare]:
    """Make batches of (n,) windows on the decoder's device, in their order, lazily."""
    for chosen in choices(objective, windows, size, rng):
        yield make_share(objective, chosen, group)


def prefetched_batches(
    objective: Objective,
    windows: np.ndarray,
    size: int,
    rng: np.random.Generator,
    group: ProcessGroup = SINGLE_PROCESS,
) -> Iterator[BatchShare]:
    """The batches of `batches_in_order`, made in background threads."""
    chosen = choices(objective, windows, size, rng)
    make = partial(make_share, objective, group=group)
    return prefetched(map_in_order(chosen, make, n_makers(group.size)))


def make_share(objective: Objective, chosen: Any, group: ProcessGroup = SINGLE_PROCESS) -> BatchShare:
    """This process's share of a batch, on the decoder's device."""
    share, total = group.share(len(chosen.bar0)), objective.n_targets(chosen)
    first = objective.n_targets(subset_of(chosen, slice(0, share.start)))
    own_choice = subset_of(chosen, share) if group.size > 1 else chosen
    own = slice(first, first + objective.n_targets(own_choice))
    if own.start == own.stop:
        whole = _device_tensors(objective, objective.make(chosen))
        return BatchShare(chosen.bar0, whole, slice(0, total), total, counts=False)
    return BatchShare(chosen.bar0, _device_tensors(objective, objective.make(own_choice)), own, total)


def train_epoch(
    encoder: Encoder,
    objective: Objective,
    optimizer: torch.optim.Optimizer,
    batches: Iterable[Any],
    dropout: StateDropout,
    group: ProcessGroup = SINGLE_PROCESS,
) -> float:
    """Take one step a batch; return the mean loss.

    Args:
        encoder, objective, optimizer: Trained together.
        batches: From `prefetched_batches`; batches of `Objective.draw` are sent to the device first.
        dropout: Dropout of encoder states.
        group: The processes that train together.
    """
    parameters = [p for parts in optimizer.param_groups for p in parts["params"]]
    rows, losses = [], []
    for batch in batches:
        loss = _own_loss(encoder, objective, _as_share(objective, batch), dropout)
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


def _own_loss(
    encoder: Encoder, objective: Objective, batch: BatchShare, dropout: StateDropout
) -> torch.Tensor:
    """This process's part of the batch loss; the sum over all processes is the batch loss."""
    n_own = batch.own.stop - batch.own.start
    if n_own == batch.total:
        return objective.error(encoder, batch.tensors, dropout) * (1.0 if batch.counts else 0.0)
    own_dropout = dropout._replace(own=batch.own, total=batch.total)
    return objective.error(encoder, batch.tensors, own_dropout) * (n_own / batch.total)


def _device_tensors(objective: Objective, batch: Any) -> Any:
    """The tensors of a batch, on the decoder's device."""
    return on_device(objective.tensors(batch), next(objective.decoder.parameters()).device)


def _as_share(objective: Objective, batch: Any) -> BatchShare:
    if isinstance(batch, BatchShare):
        return batch
    return BatchShare(batch.bar0, _device_tensors(objective, batch), slice(0, 1), 1)


class HeldOut:
    """Held-out batches on the device; each batch belongs to one process of the group."""

    def __init__(self, objective: Objective, chosen: Iterable[Any], group: ProcessGroup):
        self.objective, self.group, all_choices = objective, group, list(chosen)
        self.rows = [choice.bar0 for choice in all_choices]
        self.weights = [objective.n_targets(choice) for choice in all_choices]
        self.own = {i: make_share(objective, choice) for i, choice in enumerate(all_choices) if group.owns(i)}

    @torch.no_grad()
    def error(self, encoder: Encoder) -> float:
        """Mean error over all targets."""
        device = encoder.hidden_bar.device
        by_batch = torch.zeros(len(self.rows), device=device)
        for i, batch in self.own.items():
            by_batch[i] = self.objective.error(encoder, batch.tensors)
        errors = self.group.all_reduce(by_batch).cpu().numpy().astype(np.float64)
        require_finite(errors, self.rows)
        return float(np.average(errors, weights=self.weights))
