"""Shares of a batch add up to the batch, its loss and its gradient."""

import numpy as np
import pytest
import torch

from moola_pipeline.errors import BadInput
from moola_pipeline.training.hidden_blocks import HiddenBlocks, StateDropout
from moola_pipeline.training.pretrain import new_encoder, pretrain
from moola_pipeline.training.pretraining_loop import _own_loss, make_share
from moola_pipeline.training.process_group import SINGLE_PROCESS, ProcessGroup
from moola_pipeline.training.settings import PretrainSettings
from moola_pipeline.windows.dense import pretraining_windows
from moola_pipeline_tests.made_bars import made_bars

BARS = made_bars(16)
SOURCE = BARS
WINDOWS = pretraining_windows(BARS.segment, len(BARS.prices))


SETTINGS = PretrainSettings(hidden_units=8, epochs=1, batch_windows=16)


def test_seven_windows_shared_by_three_worked_by_hand():
    assert [ProcessGroup(rank, 3).share(7) for rank in range(3)] == [slice(0, 2), slice(2, 4), slice(4, 7)]
    assert [ProcessGroup(rank, 3).share(2) for rank in range(3)] == [slice(0, 0), slice(0, 1), slice(1, 2)]


@pytest.mark.parametrize("size", [1, 2, 3, 8])
@pytest.mark.parametrize("n", [0, 1, 5, 64])
def test_shares_follow_one_another_and_differ_by_one_at_most(size: int, n: int):
    shares = [ProcessGroup(rank, size).share(n) for rank in range(size)]
    lengths = [share.stop - share.start for share in shares]

    assert [i for share in shares for i in range(n)[share]] == list(range(n))
    assert max(lengths) - min(lengths) <= 1
    assert sum(ProcessGroup(rank, size).owns(n) for rank in range(size)) == 1


def test_a_single_process_is_the_main_one_and_sums_nothing():
    values = torch.ones(3)

    assert SINGLE_PROCESS.is_main and SINGLE_PROCESS.all_reduce(values) is values


def small_task() -> tuple[HiddenBlocks, torch.nn.Module]:
    encoder = new_encoder(SOURCE, WINDOWS, SETTINGS)
    task = HiddenBlocks(SOURCE, encoder, WINDOWS, SETTINGS, np.random.default_rng(0))
    with torch.no_grad():
        for parameter in task.decoder.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)) / 10)
    return task, torch.nn.ModuleDict({"encoder": encoder, "decoder": task.decoder})


def loss_and_gradient(
    group: ProcessGroup, task: HiddenBlocks, network: torch.nn.Module, n: int
) -> tuple[float, list[torch.Tensor]]:
    """One process's part of the loss of a batch of n windows, and of its gradient."""
    network.zero_grad(set_to_none=True)
    chosen = task.choose(WINDOWS[:n], np.random.default_rng(7))
    dropout = StateDropout(0.3, torch.Generator().manual_seed(3))
    loss = _own_loss(network["encoder"], task, make_share(task, chosen, group), dropout)  # pyright: ignore
    loss.backward()
    return float(loss.detach()), [
        torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in network.parameters()
    ]


@pytest.mark.parametrize(("size", "n"), [(2, 16), (3, 16), (5, 3)])
def test_losses_and_gradients_of_the_processes_add_up_to_those_of_one(size: int, n: int):
    task, network = small_task()
    whole, gradient = loss_and_gradient(SINGLE_PROCESS, task, network, n)
    parts, gradients = zip(
        *(loss_and_gradient(ProcessGroup(rank, size), task, network, n) for rank in range(size)),
        strict=True,
    )

    assert whole > 0
    assert sum(parts) == pytest.approx(whole, rel=1e-5)
    for expected, *parts_of_it in zip(gradient, *gradients, strict=True):
        torch.testing.assert_close(sum(parts_of_it), expected, rtol=1e-4, atol=1e-6)


def test_a_process_without_a_share_draws_as_many_random_numbers_as_the_others():
    task, network = small_task()
    after = []
    for group in (SINGLE_PROCESS, *(ProcessGroup(rank, 5) for rank in range(5))):
        chosen = task.choose(WINDOWS[:3], np.random.default_rng(7))
        dropout = StateDropout(0.3, torch.Generator().manual_seed(3))
        _own_loss(network["encoder"], task, make_share(task, chosen, group), dropout)  # pyright: ignore
        after.append(float(torch.rand(1, generator=dropout.generator)))
    assert len(set(after)) == 1


def test_making_part_of_a_choice_gives_that_part_of_the_batch():
    task, _ = small_task()
    chosen = task.choose(WINDOWS[:16], np.random.default_rng(7))
    whole = task.tensors(task.make(chosen))
    half = task.tensors(task.make(chosen.select(slice(0, 5))))

    assert len(half[0]) == 5
    for part, all_of_it in zip(half, whole, strict=True):
        assert torch.equal(part, all_of_it[: len(part)])
    assert task.n_targets(chosen.select(slice(0, 5))) < task.n_targets(chosen)


def test_making_a_batch_draws_no_random_numbers():
    task, _ = small_task()
    chosen = task.choose(WINDOWS[:16], np.random.default_rng(7))
    one, other = (task.tensors(task.make(chosen)) for _ in range(2))

    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_more_processes_than_windows_in_a_batch_are_refused():
    with pytest.raises(
        BadInput, match=r"batch_windows must be at least the number of processes \(17\), got 16"
    ):
        pretrain(SOURCE, WINDOWS, SETTINGS, group=ProcessGroup(0, 17))
