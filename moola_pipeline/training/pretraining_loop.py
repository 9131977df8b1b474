"""One epoch of pretraining: batches chosen, made beside the steps, and learned from."""

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
    """What is random about batches of (n,) windows in their order, drawn when it is asked for."""
    for i in range(0, len(windows), size):
        yield objective.choose(windows[i : i + size], rng)


def batches_in_order(
    objective: Objective,
    windows: np.ndarray,
    size: int,
    rng: np.random.Generator,
    group: ProcessGroup = SINGLE_PROCESS,
) -> Iterator[BatchShare]:
    """Batches of (n,) windows in their order on the decoder's device, each made when it is asked for."""
    for chosen in choices(objective, windows, size, rng):
        yield made(objective, chosen, group)


def prefetched_batches(
    objective: Objective,
    windows: np.ndarray,
    size: int,
    rng: np.random.Generator,
    group: ProcessGroup = SINGLE_PROCESS,
) -> Iterator[BatchShare]:
    """The same batches, made in threads beside the steps that learn from them."""
    chosen = choices(objective, windows, size, rng)
    make = partial(made, objective, group=group)
    return prefetched(map_in_order(chosen, make, n_makers(group.size)))


def made(objective: Objective, chosen: Any, group: ProcessGroup = SINGLE_PROCESS) -> BatchShare:
    """This process's share of a batch, on the decoder's device."""
    share, total = group.share(len(chosen.bar0)), objective.n_targets(chosen)
    first = objective.n_targets(subset_of(chosen, slice(0, share.start)))
    mine = subset_of(chosen, share) if group.size > 1 else chosen
    own = slice(first, first + objective.n_targets(mine))
    if not total:
        return BatchShare(chosen.bar0, None, own, total)
    if own.start == own.stop:
        whole = _asked(objective, objective.make(chosen))
        return BatchShare(chosen.bar0, whole, slice(0, total), total, counts=False)
    return BatchShare(chosen.bar0, _asked(objective, objective.make(mine)), own, total)


def train_epoch(
    encoder: Encoder,
    objective: Objective,
    optimizer: torch.optim.Optimizer,
    shown: Iterable[Any],
    dropout: StateDropout,
    group: ProcessGroup = SINGLE_PROCESS,
) -> float:
    """One step a batch; the mean loss.

    Args:
        encoder, objective, optimizer: What learns.
        shown: From `prefetched_batches`; what `Objective.draw` gives is put on the device first.
        dropping: How states are dropped.
        team: The processes that train together.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    rows, losses = [], []
    for batch in shown:
        loss = _own_loss(encoder, objective, _whole(objective, batch), dropout)
        optimizer.zero_grad(set_to_none=True)
        if loss.requires_grad:
            loss.backward()
        group.all_reduce_gradients(parameters)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        rows.append(batch.bar0)
        losses.append(loss.detach())
    # Looked at after the epoch: a look at every step would make a GPU wait for it.
    by_batch = group.all_reduce(torch.stack(losses)).cpu().numpy()
    require_finite(by_batch, rows)
    return float(by_batch.mean())


def _own_loss(
    encoder: Encoder, objective: Objective, batch: BatchShare, dropout: StateDropout
) -> torch.Tensor:
    """This process's part of a batch's loss; the parts of all processes add up to it."""
    if batch.tensors is None:
        return torch.zeros((), device=encoder.hidden_bar.device)
    n_own = batch.own.stop - batch.own.start
    if n_own == batch.total:
        return objective.error(encoder, batch.tensors, dropout) * (1.0 if batch.counts else 0.0)
    dropped = dropout._replace(own=batch.own, total=batch.total)
    return objective.error(encoder, batch.tensors, dropped) * (n_own / batch.total)


def _asked(objective: Objective, batch: Any) -> Any:
    """What is asked of a batch in memory, on the decoder's device."""
    return on_device(objective.tensors(batch), next(objective.decoder.parameters()).device)


def _whole(objective: Objective, batch: Any) -> BatchShare:
    if isinstance(batch, BatchShare):
        return batch
    return BatchShare(batch.bar0, _asked(objective, batch), slice(0, 1), 1)


class HeldOut:
    """Held-out batches on the device; each whole, in one process of the team."""

    def __init__(self, objective: Objective, chosen: Iterable[Any], group: ProcessGroup):
        self.objective, self.group, every = objective, group, list(chosen)
        self.rows = [one.bar0 for one in every]
        self.weights = [objective.n_targets(one) for one in every]
        self.own = {i: made(objective, one) for i, one in enumerate(every) if group.owns(i)}

    @torch.no_grad()
    def error(self, encoder: Encoder) -> float:
        """Mean error over all that they ask."""
        device = encoder.hidden_bar.device
        by_batch = torch.zeros(len(self.rows), device=device)
        for i, batch in self.own.items():
            if batch.tensors is not None:
                by_batch[i] = self.objective.error(encoder, batch.tensors)
        found = self.group.all_reduce(by_batch).cpu().numpy().astype(np.float64)
        require_finite(found, self.rows)
        return float(np.average(found, weights=self.weights))
