"""What an asset takes of the machine while it works: memory, processor and GPU, as MLflow names them."""

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

from moola_pipeline.tracking.runs import TrackedRun

PREFIX = "system/"
"""What is named so stands under System metrics in the MLflow UI."""
THREAD = "system_metrics"
LOOK_SECONDS = 0.1
MAX_POINTS = 40
"""Points of a line at most; those of a longer stage are further apart."""
MEGABYTE = 1e6
"""MLflow's, in bytes."""


class Usage:
    """Looks ten times a second at what this process and its machine use, in a thread of its own.

    MLflow's monitor tells nothing of a stage shorter than its interval, nor of one process' memory,
    and writes to the store while the stage works. This one keeps what it sees until the stage ends.

    Attributes:
        points: Milliseconds since 1970, and figures since the point before by name.
    """

    def __init__(self) -> None:
        self.points: list[tuple[int, dict[str, float]]] = []
        self._process, self._gpus = psutil.Process(), _gpus()
        self._record_before, self._peak = _record_megabytes(), 0.0
        self._began = self._noted = self._clock()
        self._looks: list[dict[str, float]] = []
        self._looks_a_point = 1
        self._ended = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name=THREAD, daemon=True)
        _restart_cuda_peak()

    def start(self) -> None:
        """Begin to look."""
        self._look()
        self._watcher.start()

    def stop(self) -> None:
        """End the thread and look once more."""
        self._ended.set()
        self._watcher.join()
        self._look()
        self._note()

    @property
    def peak_megabytes(self) -> float:
        """The most memory that the process has held since the beginning, 10**6 bytes.

        By the system's own record where this stage has set a new one, else the most that was seen.
        """
        record, seen = _record_megabytes(), max(self._peak, self._resident_megabytes())
        return max(seen, record) if record > self._record_before else seen

    def totals(self) -> dict[str, float]:
        """Figures of the whole stage by name."""
        shares = self._shares_since(self._began)
        return {
            "peak_memory_megabytes": self.peak_megabytes,
            "mean_process_cpu_percentage": shares["process_cpu_percentage"],
            **_cuda_peak(),
        }

    def _watch(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            self._look()
            if len(self._looks) >= self._looks_a_point:
                self._note()

    def _look(self) -> None:
        resident, memory = self._resident_megabytes(), psutil.virtual_memory()
        self._peak = max(self._peak, resident)
        seen = {
            "process_memory_megabytes": resident,
            "system_memory_usage_megabytes": memory.used / MEGABYTE,
            "system_memory_usage_percentage": memory.used / memory.total * 100,
        }
        for number, gpu in enumerate(self._gpus):
            seen |= {f"gpu_{number}_{name}": value for name, value in _gpu_figures(gpu).items()}
        self._looks.append(seen)

    def _note(self) -> None:
        """Make a point of the looks since the last one; thin the line out when it grows too long."""
        now = self._clock()
        seen = _means(self._looks) | self._shares_since(self._noted)
        self.points.append((int(time.time() * 1000), seen))
        self._looks, self._noted = [], now
        if len(self.points) >= MAX_POINTS:
            pairs = zip(self.points[::2], self.points[1::2], strict=True)
            self.points = [(later[0], _means([first[1], later[1]])) for first, later in pairs]
            self._looks_a_point *= 2

    def _clock(self) -> tuple[float, float, float]:
        """Seconds that have passed, that this process has computed, and that cores have idled."""
        own, machine = self._process.cpu_times(), psutil.cpu_times()
        idle = machine.idle + getattr(machine, "iowait", 0.0)
        return time.perf_counter(), own.user + own.system, idle

    def _shares_since(self, before: tuple[float, float, float]) -> dict[str, float]:
        """Of the whole machine in percent of all its cores, of this process in percent of one."""
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
    """Look at what is used until the block ends, well or not, and log it to the run."""
    usage = Usage()
    usage.start()
    try:
        yield usage
    finally:
        usage.stop()
        run.log_lines({PREFIX + name: line for name, line in _lines(usage).items()})


def _lines(usage: Usage) -> dict[str, list[tuple[int, float]]]:
    """Of each figure its points: milliseconds since 1970, and value."""
    lines: dict[str, list[tuple[int, float]]] = {}
    for at, seen in usage.points:
        for name, value in seen.items():
            lines.setdefault(name, []).append((at, value))
    now = int(time.time() * 1000)
    return lines | {name: [(now, value)] for name, value in usage.totals().items()}


def _means(seen: list[dict[str, float]]) -> dict[str, float]:
    """Means of the figures that all of them have."""
    names = [name for name in seen[0] if all(name in one for one in seen)]
    return {name: sum(one[name] for one in seen) / len(seen) for name in names}


def _record_megabytes() -> float:
    """The most memory that this process ever held; 0 where the system keeps no record of it."""
    status = Path("/proc/self/status")
    if not status.exists():
        return 0.0
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
    return int(lines.get("VmHWM", "0 kB").split()[0]) * 1024 / MEGABYTE


@cache
def _gpus() -> list[Any]:
    """NVIDIA's handles of the GPUs of this machine."""
    try:
        nvml = import_module("pynvml")
    except ImportError:  # an environment older than the wish for it
        return []
    try:
        nvml.nvmlInit()
        return [nvml.nvmlDeviceGetHandleByIndex(number) for number in range(nvml.nvmlDeviceGetCount())]
    except nvml.NVMLError:  # no driver
        return []


def _gpu_figures(gpu: Any) -> dict[str, float]:
    """What a GPU does at the moment; from the first figure on that it does not tell, nothing."""
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
    """torch.cuda where this process has used it, else None: asking must not wake a GPU."""
    torch = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_initialized() else None


def _restart_cuda_peak() -> None:
    if cuda := _cuda():
        cuda.reset_peak_memory_stats()


def _cuda_peak() -> dict[str, float]:
    """The most that tensors took on the GPU, and the most that was held for them."""
    if not (cuda := _cuda()):
        return {}
    return {
        "peak_gpu_allocated_megabytes": cuda.max_memory_allocated() / MEGABYTE,
        "peak_gpu_reserved_megabytes": cuda.max_memory_reserved() / MEGABYTE,
    }
