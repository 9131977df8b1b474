"""One epoch of pretraining: no step synchronizes with the device, and batches are there in advance."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from moola_pipeline.training.hidden_blocks import (
    HiddenBlocks,
    HiddenTensors,
    StateDropout,
    apply_dropout,
)
from moola_pipeline.training.pretrain import new_encoder, pretrain
from moola_pipeline.training.pretraining_loop import (
    BatchShare,
    batches_in_order,
    prefetched_batches,
    train_epoch,
)
from moola_pipeline.training.settings import PretrainSettings
from moola_pipeline_tests.training.test_pretrain import SMALL, SOURCE, WINDOWS, small_with, weights_of
from moola_pipeline_tests.training.waits import Waits


def epoch_of(n_batches: int, **changes: object) -> Waits:
    """The waits in one epoch of `n_batches` batches."""
    settings = PretrainSettings.model_validate(SMALL.model_dump() | changes)
    rng = np.random.default_rng(0)
    encoder = new_encoder(SOURCE, WINDOWS, settings)
    task = HiddenBlocks(SOURCE, encoder, WINDOWS, settings, rng)
    network = torch.nn.ModuleDict({"encoder": encoder, "decoder": task.decoder})
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)  # as on a GPU
    dropout = StateDropout(0.1, torch.Generator().manual_seed(0))
    batches = list(batches_in_order(task, WINDOWS[: 8 * n_batches], 8, rng))
    with Waits() as waits:
        train_epoch(encoder, task, optimizer, batches, dropout)
    return waits


@pytest.mark.parametrize("recomputed", [False, True])
def test_no_step_synchronizes_host_and_gpu(recomputed: bool):
    waits = epoch_of(4, gradient_checkpointing=recomputed)

    assert waits.total == 0, waits.found


def test_a_mask_in_the_loss_is_detected(monkeypatch: pytest.MonkeyPatch):
    """Planted fault: hidden bars selected by a mask, which the device must count first."""

    def error(self: HiddenBlocks, encoder: Any, tensors: HiddenTensors, dropout: Any = None) -> torch.Tensor:
        states = encoder(tensors.visible, tensors.hidden)[tensors.hidden]
        prediction = self.decoder(apply_dropout(states, dropout), tensors.inputs)
        return torch.nn.functional.mse_loss(prediction, tensors.targets)

    monkeypatch.setattr(HiddenBlocks, "error", error)
    assert epoch_of(3).found["index by a mask"] >= 3


def test_reading_each_loss_is_detected(monkeypatch: pytest.MonkeyPatch):
    """Planted fault: the loss is read after every step."""
    honest = HiddenBlocks.error

    def error(self: HiddenBlocks, *args: Any) -> torch.Tensor:
        loss = honest(self, *args)
        assert loss.item() > 0
        return loss

    monkeypatch.setattr(HiddenBlocks, "error", error)
    assert epoch_of(3).found["_local_scalar_dense"] == 3


def test_no_step_sends_anything_to_the_device(monkeypatch: pytest.MonkeyPatch):
    settings = small_with(epochs=1)
    rng = np.random.default_rng(0)
    encoder = new_encoder(SOURCE, WINDOWS, settings)
    task = HiddenBlocks(SOURCE, encoder, WINDOWS, settings, rng)
    network = torch.nn.ModuleDict({"encoder": encoder, "decoder": task.decoder})
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)
    batches = list(batches_in_order(task, WINDOWS[:32], 16, rng))

    def refused(*_: object) -> None:
        raise AssertionError("an array was turned into a tensor inside the step")

    for name in ("from_numpy", "as_tensor"):
        monkeypatch.setattr(torch, name, refused)
    dropout = StateDropout(0.1, torch.Generator().manual_seed(0))
    assert train_epoch(encoder, task, optimizer, batches, dropout) > 0


@pytest.mark.parametrize("makers", [1, 3])
def test_prefetched_batches_are_those_of_a_plain_loop(makers: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("moola_pipeline.training.pretraining_loop.n_makers", lambda processes: makers)
    settings = SMALL
    encoder = new_encoder(SOURCE, WINDOWS, settings)
    task = HiddenBlocks(SOURCE, encoder, WINDOWS, settings, np.random.default_rng(0))

    def drawn(way: Any) -> Iterator[BatchShare]:
        return way(task, WINDOWS[:40], 16, np.random.default_rng(5))

    plain, ahead = list(drawn(batches_in_order)), list(drawn(prefetched_batches))
    assert len(plain) == len(ahead) == 3
    for one, other in zip(plain, ahead, strict=True):
        assert np.array_equal(one.bar0, other.bar0) and (one.own, one.total) == (other.own, other.total)
        assert all(torch.equal(a, b) for a, b in zip(one.tensors, other.tensors, strict=True))


def test_recomputed_states_change_no_weight():
    settings = small_with(epochs=1)
    recomputed = settings.model_copy(update={"gradient_checkpointing": True})
    plain, again = (pretrain(SOURCE, WINDOWS, each) for each in (settings, recomputed))

    assert not settings.gradient_checkpointing
    assert np.array_equal(weights_of(plain), weights_of(again))


def test_states_are_recomputed_only_with_gradient_checkpointing(monkeypatch: pytest.MonkeyPatch):
    calls: list[int] = []
    monkeypatch.setattr(
        "moola_pipeline.models.encoder.checkpoint",
        lambda function, *args, **_: (calls.append(1), function(*args))[1],
    )
    pretrain(SOURCE, WINDOWS, small_with(epochs=1))
    assert not calls
    pretrain(SOURCE, WINDOWS, small_with(epochs=1, gradient_checkpointing=True))
    assert calls


def test_dropout_of_a_share_is_that_of_the_whole_batch():
    states = torch.ones(10, 4)
    whole = apply_dropout(states, StateDropout(0.5, torch.Generator().manual_seed(0)))
    own = apply_dropout(states[3:7], StateDropout(0.5, torch.Generator().manual_seed(0), slice(3, 7), 10))

    assert torch.equal(own, whole[3:7])
    assert set(whole.flatten().tolist()) == {0.0, 2.0}
