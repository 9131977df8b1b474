"""What can be measured once in a process only: what compiling costs, and how high the memory rises."""

import io
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from moola_pipeline.storage.atomic_write import atomic_write_bytes, atomic_write_json

BATCH_WINDOWS = 64
_COMPILE = "from moola_pipeline.benchmarks.measured_process import print_compiling; print_compiling()"
_MEMORY = "import sys; "
_MEMORY += "from moola_pipeline.benchmarks.measured_process import print_memory; print_memory(sys.argv[1])"


class Memory(NamedTuple):
    """Resident memory of a process that held bars, features and windows, MB of 2**20 bytes.

    Attributes:
        before: With the code loaded, before the first bar.
        peak: The most it ever held.
    """

    before: float
    peak: float

    @property
    def rise(self) -> float:
        """What bars, features and windows took at most."""
        return self.peak - self.before


def seconds_to_compile() -> float:
    """Seconds that the first features take where nothing was ever compiled, those of the import aside."""
    with tempfile.TemporaryDirectory() as cache:
        return float(answer_of(_COMPILE, NUMBA_CACHE_DIR=cache)["seconds"])


def memory_of_features(prices: np.ndarray, segment: np.ndarray, tick_points: float) -> Memory:
    """Resident memory while a process of its own reads these bars, computes features and tiles windows.

    Args:
        prices: (n_bars, 4) float64, index points.
        segment: (n_bars,) int, non-decreasing.
        tick_points: Smallest price step, index points.
    """
    with tempfile.TemporaryDirectory() as folder:
        for name, array in (("prices", prices), ("segment", segment)):
            content = io.BytesIO()
            np.save(content, array)
            atomic_write_bytes(Path(folder) / f"{name}.npy", content.getvalue())
        atomic_write_json(Path(folder) / "tick.json", tick_points)
        return Memory(**answer_of(_MEMORY, folder))


def print_compiling() -> None:
    """The body of the process that compiles."""
    from moola_pipeline.features.relativity import compute_features

    started = time.perf_counter()
    compute_features(np.ones((50, 4)), np.zeros(50, np.int32), 0.25)
    print(json.dumps({"seconds": time.perf_counter() - started}))  # noqa: T201


def print_memory(folder: str) -> None:
    """The body of the process whose memory is measured."""
    from moola_pipeline.features.relativity import compute_features
    from moola_pipeline.windows.dense import pretraining_windows
    from moola_pipeline.windows.window_geometry import gathered

    compute_features(np.ones((50, 4)), np.zeros(50, np.int32), 0.25)  # loads what was compiled
    before = resident_mb("VmRSS")
    prices, segment = (np.load(Path(folder) / f"{name}.npy") for name in ("prices", "segment"))
    table = compute_features(prices, segment, json.loads((Path(folder) / "tick.json").read_text()))
    bar0 = pretraining_windows(segment, len(segment))
    for i in range(0, len(bar0), BATCH_WINDOWS):
        gathered(table.values, bar0[i : i + BATCH_WINDOWS])
    print(json.dumps({"before": before, "peak": resident_mb("VmHWM")}))  # noqa: T201


def answer_of(code: str, *words: str, **variables: str) -> dict[str, Any]:
    """What a fresh Python prints as JSON.

    Args:
        code: What it runs.
        words: Its `sys.argv[1:]`.
        variables: Its environment, beside this process's.

    Raises:
        RuntimeError: If it fails; with the end of its complaint.
    """
    return json.loads(output_of(code, *words, **variables))


def output_of(code: str, *words: str, **variables: str) -> str:
    """What a fresh Python prints; arguments as in `answer_of`.

    Raises:
        RuntimeError: If it fails; with the end of its complaint.
    """
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the process ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    return done.stdout


def resident_mb(name: str) -> float:
    """A line of this process's status, MB of 2**20 bytes: VmRSS is what it holds, VmHWM the most it held.

    Its getrusage would still hold the peak of who started it.
    """
    status = Path("/proc/self/status")
    if status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        return int(lines[name].split()[0]) / 2**10
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # bytes on a Mac, the peak for both
