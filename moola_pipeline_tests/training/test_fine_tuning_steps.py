"""Fine-tuning: no step, on lessons or on labels, makes a GPU and its host wait."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from moola_pipeline.training import batches, distillation, losses
from moola_pipeline.training.device import to_device
from moola_pipeline.training.settings import FinetuneSettings
from moola_pipeline_tests.gpu import labeled_for, taught_for
from moola_pipeline_tests.made_bars import made_bars
from moola_pipeline_tests.training.waits import Waits

SOURCE = made_bars(60)
SETTINGS = FinetuneSettings(
    distill_epochs=1, distill_batch_windows=4, epochs=1, frozen_epochs=0, batch_windows=4, head_units=4
)
WAYS = [taught_for, labeled_for]


@pytest.fixture(autouse=True)
def _steps_as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Adam on the CPU reads its own count of steps; on a GPU it is one kernel that reads nothing."""
    plain = torch.optim.AdamW
    monkeypatch.setattr(
        torch.optim, "AdamW", lambda *given, **named: plain(*given, **named | {"fused": True})
    )


def waits_of(way: Callable[..., None], n_steps: int) -> Waits:
    with Waits() as waits:
        way(SOURCE, n_steps, "cpu", SETTINGS)
    return waits


@pytest.mark.parametrize("way", WAYS)
def test_a_longer_epoch_waits_no_more_often_than_a_shorter_one(way: Callable[..., None]):
    few, many = (waits_of(way, n_steps) for n_steps in (2, 8))

    assert many.found == few.found


def test_a_mask_in_the_loss_on_labels_is_noticed(monkeypatch: pytest.MonkeyPatch):
    """The fault planted: what counts is picked by a mask."""
    honest = losses.binary_loss

    def by_mask(logits: torch.Tensor, targets: torch.Tensor, known: torch.Tensor, *more: Any) -> torch.Tensor:
        mask = torch.zeros(logits.numel(), dtype=torch.bool).index_fill(0, known, True)
        return honest(logits, targets, known, *more) + 0 * logits.flatten()[mask].sum()

    monkeypatch.setattr(losses, "binary_loss", by_mask)
    few, many = (waits_of(labeled_for, n_steps) for n_steps in (2, 8))

    assert many.found["index by a mask"] > few.found["index by a mask"]


@pytest.mark.parametrize("way", WAYS)
def test_what_goes_to_the_device_goes_from_the_thread_beside_the_steps(
    way: Callable[..., None], monkeypatch: pytest.MonkeyPatch
):
    senders: list[str] = []

    def noted(array: np.ndarray | torch.Tensor, device: str) -> torch.Tensor:
        senders.append(threading.current_thread().name)
        return to_device(array, device)

    for module in (batches, distillation):
        monkeypatch.setattr(module, "to_device", noted)
    from_elsewhere, from_beside = [], []
    for n_steps in (2, 8):
        senders.clear()
        way(SOURCE, n_steps, "cpu", SETTINGS)
        from_beside.append(senders.count("prefetch"))
        from_elsewhere.append(len(senders) - from_beside[-1])

    assert from_elsewhere[0] == from_elsewhere[1]  # what is held out, before the epoch
    assert from_beside[1] > 2 * from_beside[0] > 0
