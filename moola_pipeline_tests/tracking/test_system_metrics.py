"""System metrics of a stage: peak memory, no thread left after an error, MLflow's names."""

import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest

import moola_pipeline.tracking.system_metrics as system_metrics
from moola_pipeline.tracking.system_metrics import MAX_POINTS, SAMPLE_SECONDS, THREAD, Usage, measured

HELD_SAMPLES = 4


class Logged:
    """The logging methods of a run."""

    def __init__(self) -> None:
        self.lines: dict[str, Any] = {}

    def log_lines(self, lines: dict[str, Any]) -> None:
        self.lines |= lines


def use(work: Any) -> dict[str, Any]:
    run = Logged()
    with measured(run):  # pyright: ignore[reportArgumentType]
        work()
    return run.lines


def last(lines: dict[str, Any], name: str) -> float:
    return lines[f"system/{name}"][-1][1]


def watchers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == THREAD]


def hold_memory(megabytes: int) -> None:
    ballast = np.ones(megabytes * 125_000)
    time.sleep(HELD_SAMPLES * SAMPLE_SECONDS)
    assert ballast.all()


def test_the_peak_is_that_of_the_stage_and_not_the_value_at_its_end():
    before = psutil.Process().memory_info().rss / 1e6
    lines = use(lambda: hold_memory(200))
    assert before + 190 < last(lines, "peak_memory_megabytes") < before + 400
    assert psutil.Process().memory_info().rss / 1e6 < before + 100


def test_a_stage_after_a_larger_one_has_a_peak_of_its_own():
    large = last(use(lambda: hold_memory(300)), "peak_memory_megabytes")
    small = last(use(lambda: hold_memory(50)), "peak_memory_megabytes")
    assert small < large - 150


def test_a_peak_between_two_samples_counts(monkeypatch: pytest.MonkeyPatch):
    records = iter([500.0, 9000.0])
    monkeypatch.setattr(system_metrics, "_record_megabytes", lambda: next(records))
    assert Usage().peak_megabytes == 9000.0


def test_the_peak_of_an_earlier_stage_does_not_count(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(system_metrics, "_record_megabytes", lambda: 9000.0)
    assert Usage().peak_megabytes < 8000.0


def test_computing_counts_as_cpu_time_and_waiting_does_not():
    def shares(work: Callable[[], None]) -> tuple[float, float]:
        """The logged share and the share by Python's clocks, on a busy machine too."""
        began, spent = time.perf_counter(), time.process_time()
        logged = last(use(work), "mean_process_cpu_percentage")
        return logged, 100 * (time.process_time() - spent) / (time.perf_counter() - began)

    def compute() -> None:
        ends = time.process_time() + 0.4
        while time.process_time() < ends:
            pass

    waiting, computing = shares(lambda: time.sleep(0.4)), shares(compute)
    assert waiting[0] == pytest.approx(waiting[1], abs=15)
    assert computing[0] == pytest.approx(computing[1], abs=15)
    assert computing[0] > waiting[0]


def test_a_stage_shorter_than_a_sampling_interval_has_every_figure():
    lines = use(lambda: None)
    assert set(lines) >= {
        "system/cpu_utilization_percentage",
        "system/system_memory_usage_megabytes",
        "system/system_memory_usage_percentage",
        "system/process_cpu_percentage",
        "system/process_memory_megabytes",
        "system/peak_memory_megabytes",
    }
    assert all(0 <= last(lines, name) <= 100 for name in ("cpu_utilization_percentage",))
    assert all(np.isfinite([value for line in lines.values() for _, value in line]))


def test_points_of_a_long_stage_are_merged_and_keep_their_mean():
    usage = Usage()
    for value in range(5 * MAX_POINTS):
        usage._samples.append({"process_memory_megabytes": float(value)})
        if len(usage._samples) >= usage._samples_per_point:
            usage._add_point()
    times, figures = zip(*usage.points, strict=True)
    memory = [one["process_memory_megabytes"] for one in figures]
    assert MAX_POINTS // 2 <= len(memory) < MAX_POINTS
    assert list(times) == sorted(times) and memory == sorted(memory)
    assert np.mean(memory[:20]) == pytest.approx(np.arange(160)[: 20 * usage._samples_per_point].mean())


def test_a_stage_that_fails_leaves_no_thread_and_its_figures():
    run = Logged()
    with pytest.raises(ValueError, match="no such bar"), measured(run):  # pyright: ignore[reportArgumentType]
        assert len(watchers()) == 1
        raise ValueError("no such bar")
    assert watchers() == []
    assert "system/peak_memory_megabytes" in run.lines


def test_a_gpu_is_told_of_under_mlflows_names(monkeypatch: pytest.MonkeyPatch):
    class NVMLError(Exception):
        pass

    def silent(gpu: object) -> int:
        raise NVMLError("Not Supported")

    made = SimpleNamespace(
        NVMLError=NVMLError,
        nvmlInit=lambda: None,
        nvmlDeviceGetCount=lambda: 2,
        nvmlDeviceGetHandleByIndex=lambda number: number,
        nvmlDeviceGetUtilizationRates=lambda gpu: SimpleNamespace(gpu=90 + gpu),
        nvmlDeviceGetMemoryInfo=lambda gpu: SimpleNamespace(used=2e9, total=8e9),
        nvmlDeviceGetPowerUsage=silent,
    )
    monkeypatch.setattr(system_metrics, "import_module", lambda name: made)
    system_metrics._gpus.cache_clear()
    try:
        lines = use(lambda: None)
    finally:
        system_metrics._gpus.cache_clear()
    assert last(lines, "gpu_0_utilization_percentage") == 90
    assert last(lines, "gpu_1_utilization_percentage") == 91
    assert last(lines, "gpu_1_memory_usage_megabytes") == 2000
    assert last(lines, "gpu_1_memory_usage_percentage") == 25
    assert "system/gpu_0_power_usage_watts" not in lines


def test_a_machine_without_a_driver_tells_of_no_gpu(monkeypatch: pytest.MonkeyPatch):
    class NVMLError(Exception):
        pass

    def missing() -> None:
        raise NVMLError("Driver Not Loaded")

    made = SimpleNamespace(NVMLError=NVMLError, nvmlInit=missing)
    monkeypatch.setattr(system_metrics, "import_module", lambda name: made)
    system_metrics._gpus.cache_clear()
    assert system_metrics._gpus() == []
    system_metrics._gpus.cache_clear()


def test_the_peak_of_tensors_is_asked_for_only_where_a_gpu_was_used(monkeypatch: pytest.MonkeyPatch):
    cuda = SimpleNamespace(
        is_initialized=lambda: True,
        reset_peak_memory_stats=lambda: None,
        max_memory_allocated=lambda: 3e6,
        max_memory_reserved=lambda: 5e6,
    )
    monkeypatch.setitem(system_metrics.sys.modules, "torch", SimpleNamespace(cuda=cuda))
    lines = use(lambda: None)
    assert last(lines, "peak_gpu_allocated_megabytes") == 3
    assert last(lines, "peak_gpu_reserved_megabytes") == 5
    monkeypatch.delitem(system_metrics.sys.modules, "torch")
    assert "system/peak_gpu_allocated_megabytes" not in use(lambda: None)


def test_a_peak_that_was_read_is_never_lower_later(monkeypatch: pytest.MonkeyPatch):
    usage = Usage()
    monkeypatch.setattr(system_metrics, "_record_megabytes", lambda: 0.0)
    resident = iter([300.0, 200.0])
    monkeypatch.setattr(usage, "_resident_megabytes", lambda: next(resident))
    assert (usage.peak_megabytes, usage.peak_megabytes) == (300.0, 300.0)
