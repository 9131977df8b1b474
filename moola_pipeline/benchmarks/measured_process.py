"""Measurements in a separate process: compile time and peak memory."""

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
    """Resident memory of a process that computes features and gathers windows, MB of 2**20 bytes.

    Attributes:
        before: With the code loaded, before the first bar.
        peak: Peak.
    """

    before: float
    peak: float

    @property
    def rise(self) -> float:
        """Peak memory of bars, features and windows."""
        return self.peak - self.before


def seconds_to_compile() -> float:
    """Seconds to compute the first features with an empty compilation cache, imports excluded."""
    with tempfile.TemporaryDirectory() as cache:
        return float(json_output_of(_COMPILE, NUMBA_CACHE_DIR=cache)["seconds"])


def memory_of_features(prices: np.ndarray, segment: np.ndarray, tick_points: float) -> Memory:
    """Resident memory of a separate process that reads these bars, computes features and tiles windows.

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
        return Memory(**json_output_of(_MEMORY, folder))


def print_compiling() -> None:
    """Main function of the process that compiles."""
    from moola_pipeline.features.relativity import compute_features

    started = time.perf_counter()
    compute_features(np.ones((50, 4)), np.zeros(50, np.int32), 0.25)
    print(json.dumps({"seconds": time.perf_counter() - started}))  # noqa: T201


def print_memory(folder: str) -> None:
    """Main function of the process whose memory is measured."""
    from moola_pipeline.features.relativity import compute_features
    from moola_pipeline.windows.dense import pretraining_windows
    from moola_pipeline.windows.window_geometry import gather_rows

    compute_features(np.ones((50, 4)), np.zeros(50, np.int32), 0.25)  # load the compiled code
    before = resident_mb("VmRSS")
    prices, segment = (np.load(Path(folder) / f"{name}.npy") for name in ("prices", "segment"))
    table = compute_features(prices, segment, json.loads((Path(folder) / "tick.json").read_text()))
    bar0 = pretraining_windows(segment, len(segment))
    for i in range(0, len(bar0), BATCH_WINDOWS):
        gather_rows(table.values, bar0[i : i + BATCH_WINDOWS])
    print(json.dumps({"before": before, "peak": resident_mb("VmHWM")}))  # noqa: T201


def json_output_of(code: str, *words: str, **variables: str) -> dict[str, Any]:
    """Run code in a new Python process and parse its standard output as JSON.

    Args:
        code: Passed to `python -c`.
        words: Its `sys.argv[1:]`.
        variables: Environment variables, in addition to those of this process.

    Raises:
        RuntimeError: If it fails; with the end of its standard error.
    """
    return json.loads(output_of(code, *words, **variables))


def output_of(code: str, *words: str, **variables: str) -> str:
    """Run code in a new Python process and return its standard output; arguments as in `json_output_of`.

    Raises:
        RuntimeError: If it fails; with the end of its standard error.
    """
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the process exited with {done.returncode}: {done.stderr.strip()[-500:]}")
    return done.stdout


def resident_mb(name: str) -> float:
    """Resident memory of this process, MB of 2**20 bytes: VmRSS is the current one, VmHWM the peak.

    On Linux, getrusage() would include the peak of the parent process.
    """
    status = Path("/proc/self/status")
    if status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        return int(lines[name].split()[0]) / 2**10
    if sys.platform == "win32":
        return 0.0  # not measured
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # macOS: bytes, the peak for both names
