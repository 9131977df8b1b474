"""Device, precision, threads and processes of a run."""

import sys

import pytest
import torch

from moola_pipeline.errors import BadInput
from moola_pipeline.resources.compute import PROCESSES_VARIABLE, Compute
from moola_pipeline.training.device import precision_on


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


def test_an_unavailable_device_is_refused_by_name(monkeypatch: pytest.MonkeyPatch):
    without_accelerators(monkeypatch)
    with pytest.raises(BadInput) as fault:
        Compute(device="cuda").prepare()
    assert str(fault.value) == "The device must be auto or one of cpu, got cuda. Choose an available device."


def test_float32_is_used_unless_tf32_is_set():
    Compute(tf32=True).prepare()
    assert torch.backends.cuda.matmul.allow_tf32
    assert torch.backends.cudnn.allow_tf32
    assert (precision_on("cuda"), precision_on("cpu")) == ("TF32", "float32")
    Compute().prepare()
    assert not torch.backends.cuda.matmul.allow_tf32
    assert not torch.backends.cudnn.allow_tf32
    assert precision_on("cuda") == "float32"


def test_the_cpu_multiplies_in_float32_whatever_the_process_was_set_to():
    torch.set_float32_matmul_precision("medium")
    Compute(tf32=True).prepare()
    assert torch.get_float32_matmul_precision() != "medium"
    Compute().prepare()
    assert torch.get_float32_matmul_precision() == "highest"


def test_one_process_pretrains_by_default(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(PROCESSES_VARIABLE, raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert [Compute().processes_on(device) for device in ("cpu", "mps", "cuda")] == [1, 1, 1]
    assert Compute(processes=2).processes_on("cpu") == 2
    assert Compute(processes=3).processes_on("cuda") == 3


def test_zero_processes_are_one_for_each_gpu(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert [Compute(processes=0).processes_on(device) for device in ("cpu", "mps", "cuda")] == [1, 1, 4]


def test_the_environment_sets_the_processes_unless_the_config_does(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(PROCESSES_VARIABLE, "2")
    assert Compute().processes_on("cpu") == 2
    assert Compute(processes=1).processes_on("cpu") == 1
    monkeypatch.setenv(PROCESSES_VARIABLE, "two")
    with pytest.raises(BadInput) as fault:
        Compute().processes_on("cpu")
    assert str(fault.value) == (
        "MOOLA_PROCESSES must be a number of processes (0: one per GPU), got 'two'. Correct or unset it."
    )


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(BadInput) as fault:
        Compute(processes=4).processes_on("cuda")
    assert str(fault.value) == (
        "The number of pretraining processes must be at most 2 on cuda, one per GPU, got 4. Use fewer, or "
        "--device cpu."
    )
    with pytest.raises(BadInput, match="at most 1 on mps"):
        Compute(processes=2).processes_on("mps")


def test_one_thread_is_used_by_default():
    Compute(threads=2).prepare()
    assert torch.get_num_threads() == 2
    Compute().prepare()
    assert torch.get_num_threads() == 1


def test_threads_take_turns_ten_times_as_often_as_by_default(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "setswitchinterval", (intervals := []).append)
    Compute().prepare()

    assert intervals == [0.0005]
