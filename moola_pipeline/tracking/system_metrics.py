"""Use of memory, CPU and GPU by an asset, under MLflow's metric names."""

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import psutil

from moola_pipeline.tracking.tracked_run import TrackedRun

PREFIX = "system/"
"""Metrics with this prefix appear under System metrics in the MLflow UI."""
THREAD = "system_metrics"
SAMPLE_SECONDS = 0.1
MAX_POINTS = 40
"""Maximal number of points of a metric; in a longer stage they are further apart."""
MEGABYTE = 1e6
"""MLflow's, in bytes."""


class Usage:
    """Samples the use of this process and its machine ten times a second, in its own thread.

    MLflow's monitor logs nothing for a stage shorter than its interval, has no memory per process, and
    writes to the store during the stage. This class stores its samples until the stage ends.

    Attributes:
        points: Milliseconds since 1970, and the figures since the previous point, by name.
    """

    def __init__(self) -> None:
        self.points: list[tuple[int, dict[str, float]]] = []
        self._process, self._gpus = psutil.Process(), _gpus()
        self._record_before, self._peak = _record_megabytes(), 0.0
        self._started_at = self._last_point_at = self._clock()
        self._samples: list[dict[str, float]] = []
        self._samples_per_point = 1
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample_until_ended, name=THREAD, daemon=True)
        _restart_cuda_peak()

    def start(self) -> None:
        """Start sampling."""
        self._sample()
        self._thread.start()

    def stop(self) -> None:
        """End the thread and take a last sample."""
        self._ended.set()
        self._thread.join()
        self._sample()
        self._add_point()

    @property
    def peak_megabytes(self) -> float:
        """The peak memory of the process since the start, 10**6 bytes.

        The system's high-water mark if this stage raised it, else the maximum of the samples.
        """
        self._peak = max(self._peak, self._resident_megabytes())  # kept, so that a later peak is never lower
        record = _record_megabytes()
        return max(self._peak, record) if record > self._record_before else self._peak

    def totals(self) -> dict[str, float]:
        """Figures of the whole stage, by name."""
        shares = self._shares_since(self._started_at)
        return {
            "peak_memory_megabytes": self.peak_megabytes,
            "mean_process_cpu_percentage": shares["process_cpu_percentage"],
            **_cuda_peak(),
        }

    def _sample_until_ended(self) -> None:
        while not self._ended.wait(SAMPLE_SECONDS):
            self._sample()
            if len(self._samples) >= self._samples_per_point:
                self._add_point()

    def _sample(self) -> None:
        resident, memory = self._resident_megabytes(), psutil.virtual_memory()
        self._peak = max(self._peak, resident)
        sample = {
            "process_memory_megabytes": resident,
            "system_memory_usage_megabytes": memory.used / MEGABYTE,
            "system_memory_usage_percentage": memory.used / memory.total * 100,
        }
        for number, gpu in enumerate(self._gpus):
            sample |= {f"gpu_{number}_{name}": value for name, value in _gpu_figures(gpu).items()}
        self._samples.append(sample)

    def _add_point(self) -> None:
        """Average the samples since the last point into a new one; merge points if there are too many."""
        now = self._clock()
        figures = _means(self._samples) | self._shares_since(self._last_point_at)
        self.points.append((int(time.time() * 1000), figures))
        self._samples, self._last_point_at = [], now
        if len(self.points) >= MAX_POINTS:
            pairs = zip(self.points[::2], self.points[1::2], strict=True)
            self.points = [(later[0], _means([first[1], later[1]])) for first, later in pairs]
            self._samples_per_point *= 2

    def _clock(self) -> tuple[float, float, float]:
        """Wall seconds, CPU seconds of this process, and idle seconds of all cores."""
        own, machine = self._process.cpu_times(), psutil.cpu_times()
        idle = machine.idle + getattr(machine, "iowait", 0.0)
        return time.perf_counter(), own.user + own.system, idle

    def _shares_since(self, before: tuple[float, float, float]) -> dict[str, float]:
        """CPU use: of the machine in percent of all cores, of this process in percent of one core."""
        cores = os.cpu_count() or 1
        passed, own, idle = (now - then for now, then in zip(self._clock(), before, strict=True))
        passed = max(passed, 1e-3)
        return {
            "cpu_utilization_percentage": min(max(100 * (1 - idle / passed / cores), 0.0), 100.0),
            "process_cpu_percentage": min(100 * own / passed, 100.0 * cores),
        }

    def _resident_megabytes(self) -> float:
        return self._process.memory_info().rss / MEGABYTE


@contextmanager
def measured(run: TrackedRun) -> Iterator[Usage]:
    """Sample until the block ends, even with an error, and log the figures to the run."""
    usage = Usage()
    usage.start()
    try:
        yield usage
    finally:
        usage.stop()
        run.log_lines({PREFIX + name: line for name, line in _lines(usage).items()})


def _lines(usage: Usage) -> dict[str, list[tuple[int, float]]]:
    """The points of each figure: milliseconds since 1970, and value."""
    lines: dict[str, list[tuple[int, float]]] = {}
    for at, figures in usage.points:
        for name, value in figures.items():
            lines.setdefault(name, []).append((at, value))
    now = int(time.time() * 1000)
    return lines | {name: [(now, value)] for name, value in usage.totals().items()}


def _means(samples: list[dict[str, float]]) -> dict[str, float]:
    """Means of the figures that all samples have."""
    names = [name for name in samples[0] if all(name in sample for sample in samples)]
    return {name: sum(sample[name] for sample in samples) / len(samples) for name in names}


def _record_megabytes() -> float:
    """The system's high-water mark of this process' memory; 0 if it has none."""
    status = Path("/proc/self/status")
    if not status.exists():
        return 0.0
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
    return int(lines.get("VmHWM", "0 kB").split()[0]) * 1024 / MEGABYTE


@cache
def _gpus() -> list[Any]:
    """NVML handles of this machine's GPUs."""
    try:
        nvml = import_module("pynvml")
    except ImportError:  # pynvml is not installed
        return []
    try:
        nvml.nvmlInit()
        return [nvml.nvmlDeviceGetHandleByIndex(number) for number in range(nvml.nvmlDeviceGetCount())]
    except nvml.NVMLError:  # no driver
        return []


def _gpu_figures(gpu: Any) -> dict[str, float]:
    """Current figures of a GPU, up to the first one that it does not support."""
    nvml, figures = import_module("pynvml"), {}
    try:
        figures["utilization_percentage"] = float(nvml.nvmlDeviceGetUtilizationRates(gpu).gpu)
        memory = nvml.nvmlDeviceGetMemoryInfo(gpu)
        figures["memory_usage_megabytes"] = memory.used / MEGABYTE
        figures["memory_usage_percentage"] = memory.used / memory.total * 100
        figures["power_usage_watts"] = nvml.nvmlDeviceGetPowerUsage(gpu) / 1000
    except nvml.NVMLError:
        return figures
    return figures


def _cuda() -> Any:
    """torch.cuda if this process has used it, else None: sampling must not initialize a GPU."""
    torch = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_initialized() else None


def _restart_cuda_peak() -> None:
    if cuda := _cuda():
        cuda.reset_peak_memory_stats()


def _cuda_peak() -> dict[str, float]:
    """Peak GPU memory of tensors, and peak reserved by torch."""
    if not (cuda := _cuda()):
        return {}
    return {
        "peak_gpu_allocated_megabytes": cuda.max_memory_allocated() / MEGABYTE,
        "peak_gpu_reserved_megabytes": cuda.max_memory_reserved() / MEGABYTE,
    }
