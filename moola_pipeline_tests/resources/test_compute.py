"""The device a run uses, and the precision it keeps to."""

import pytest
import torch

from moola_pipeline.errors import BadInput
from moola_pipeline.resources.compute import Compute


def without_accelerators(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


def test_auto_falls_back_to_the_cpu(monkeypatch: pytest.MonkeyPatch):
    without_accelerators(monkeypatch)
    assert Compute().prepare() == "cpu"


def test_auto_prefers_a_gpu(monkeypatch: pytest.MonkeyPatch):
    without_accelerators(monkeypatch)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert Compute().prepare() == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert Compute().prepare() == "cuda"
    assert Compute(device="cpu").prepare() == "cpu"


def test_a_device_that_is_not_there_is_refused_by_name(monkeypatch: pytest.MonkeyPatch):
    without_accelerators(monkeypatch)
    with pytest.raises(BadInput) as fault:
        Compute(device="cuda").prepare()
    assert str(fault.value) == "The device must be auto or one of cpu, got cuda. Choose one that is there."


def test_float32_is_kept_unless_tf32_is_asked_for():
    Compute(tf32=True).prepare()
    assert torch.backends.cuda.matmul.allow_tf32
    Compute().prepare()
    assert not torch.backends.cuda.matmul.allow_tf32
    assert not torch.backends.cudnn.allow_tf32


def test_one_thread_is_used_unless_more_are_asked_for():
    Compute(threads=2).prepare()
    assert torch.get_num_threads() == 2
    Compute().prepare()
    assert torch.get_num_threads() == 1
