"""Fine-tuning: no step, on pseudo-labels or labels, synchronizes host and GPU."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from moola_pipeline.training import batches, distillation, losses, supervised_loop
from moola_pipeline.training.device import to_device
from moola_pipeline.training.optimizer import AdamW
from moola_pipeline.training.settings import FinetuneSettings
from moola_pipeline_tests.gpu import run_distill_steps, run_label_steps
from moola_pipeline_tests.made_bars import made_bars
from moola_pipeline_tests.training.waits import Waits

SOURCE = made_bars(60)
SETTINGS = FinetuneSettings(
    distill_epochs=1, distill_batch_windows=4, epochs=1, frozen_epochs=0, batch_windows=4, head_units=4
)
WAYS = [run_distill_steps, run_label_steps]


@pytest.fixture(autouse=True)
def _steps_as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Adam on the CPU reads its step count; on a GPU the fused kernel reads nothing back."""
    for module in (distillation, supervised_loop):
        monkeypatch.setattr(module, "AdamW", lambda *given, **named: AdamW(*given, **named | {"fused": True}))


def waits_of(way: Callable[..., None], n_steps: int) -> Waits:
    with Waits() as waits:
        way(SOURCE, n_steps, "cpu", SETTINGS)
    return waits


@pytest.mark.parametrize("way", WAYS)
def test_a_longer_epoch_has_no_more_waits_than_a_shorter_one(way: Callable[..., None]):
    few, many = (waits_of(way, n_steps) for n_steps in (2, 8))

    assert many.found == few.found


def test_a_mask_in_the_loss_on_labels_is_detected(monkeypatch: pytest.MonkeyPatch):
    """Planted fault: known entries selected by a mask."""
    honest = losses.binary_loss

    def by_mask(logits: torch.Tensor, targets: torch.Tensor, known: torch.Tensor, *more: Any) -> torch.Tensor:
        mask = torch.zeros(logits.numel(), dtype=torch.bool).index_fill(0, known, True)
        return honest(logits, targets, known, *more) + 0 * logits.flatten()[mask].sum()

    monkeypatch.setattr(losses, "binary_loss", by_mask)
    few, many = (waits_of(run_label_steps, n_steps) for n_steps in (2, 8))

    assert many.found["index by a mask"] > few.found["index by a mask"]


@pytest.mark.parametrize("way", WAYS)
def test_batches_are_sent_to_the_device_by_the_prefetch_thread(
    way: Callable[..., None], monkeypatch: pytest.MonkeyPatch
):
    senders: list[str] = []

    def recorded(array: np.ndarray | torch.Tensor, device: str) -> torch.Tensor:
        senders.append(threading.current_thread().name)
        return to_device(array, device)

    for module in (batches, distillation):
        monkeypatch.setattr(module, "to_device", recorded)
    from_others, from_prefetch = [], []
    for n_steps in (2, 8):
        senders.clear()
        way(SOURCE, n_steps, "cpu", SETTINGS)
        from_prefetch.append(senders.count("prefetch"))
        from_others.append(len(senders) - from_prefetch[-1])

    assert from_others[0] == from_others[1]  # held-out batches, before the epoch
    assert from_prefetch[1] > 2 * from_prefetch[0] > 0
