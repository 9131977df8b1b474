"""How long the work on five years of bars takes, beside a plain way to do the same, in one run."""

import os
import platform
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pyarrow.csv

from moola_pipeline.bars.manifest import add_bars
from moola_pipeline.bars.schema import NQ, PRICE_COLUMNS
from moola_pipeline.bars.simulated import FULL_SETTINGS, SimulationSettings, simulate
from moola_pipeline.bars.store import BarStore, verify_files
from moola_pipeline.bars.table import build_table
from moola_pipeline.bench.plain_features import pandas_features, streaming_bars
from moola_pipeline.features.relativity import compute_features
from moola_pipeline.publish import publish_bytes

N_BARS = 1_800_000
STREAMED_BARS = 100_000
"""Bars the slow loop is timed on; its time a bar does not depend on how many there are."""
REPEATS = 5
FLOORS = {"csv_import": 5.0, "rehash": 1.0, "features": 0.3}
"""Most seconds each may take."""
COMMAND = "moola bench --out docs/benchmarks.md"
MEASURED = {
    "csv_import": "import of the bars as csv, with every check",
    "csv_pyarrow": "the same csv read by pyarrow alone",
    "rehash": "proof of the registered csv by its SHA256",
    "features": "features of all bars, warm",
    "features_pandas": "part of them in vectorised pandas",
    "features_streaming": f"part of them in a Python loop, of {STREAMED_BARS:,} bars",
}


class Timing(NamedTuple):
    """One measurement: the best of its repeats, and the floor it must keep, if it has one."""

    seconds: float
    repeats: int
    floor: float | None


class SpeedReport(NamedTuple):
    """What was measured, where and when.

    Attributes:
        timings: By name.
        ratios: A plain way's seconds over ours, or ours over a bare reader's, by name.
        machine: Where.
        measured_at: When, UTC.
        n_bars: Bars of each measurement, unless its name says otherwise.
    """

    timings: dict[str, Timing]
    ratios: dict[str, float]
    machine: str
    measured_at: str
    n_bars: int


def measure_speed(n_bars: int = N_BARS, streamed_bars: int = STREAMED_BARS) -> SpeedReport:
    """Time the import of a csv, the proof of its bytes, and the features, on simulated bars."""
    bars = made_bars(n_bars)
    prices = bars[list(PRICE_COLUMNS)].to_numpy()
    segment = build_table(bars, None)["segment"].to_numpy()
    few = min(streamed_bars, n_bars)
    compute_features(prices[:2000], segment[:2000], NQ.tick_points)  # compiles, or loads what was compiled
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bars.csv"
        publish_bytes(path, bars.to_csv(index=False, date_format="%Y-%m-%dT%H:%M:%SZ").encode())
        numbers = iter(range(REPEATS))
        timings = {
            "csv_import": _timed(lambda: add_bars(_store(folder, next(numbers)), path), "csv_import"),
            "csv_pyarrow": _timed(lambda: pyarrow.csv.read_csv(path)),
            "rehash": _timed(lambda: verify_files(_store(folder, 0)), "rehash"),
        }
    timings |= {
        "features": _timed(lambda: compute_features(prices, segment, NQ.tick_points), "features"),
        "features_pandas": _timed(lambda: pandas_features(prices, segment), repeats=1),
        "features_streaming": _timed(lambda: streaming_bars(prices[:few]), repeats=1),
    }
    seconds = {name: timing.seconds for name, timing in timings.items()}
    ratios = {
        "csv import over pyarrow alone": seconds["csv_import"] / seconds["csv_pyarrow"],
        "pandas over features": seconds["features_pandas"] / seconds["features"],
        "streaming loop over features": seconds["features_streaming"] / few * n_bars / seconds["features"],
    }
    return SpeedReport(timings, ratios, _machine(), f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC", n_bars)


def made_bars(n_bars: int) -> pd.DataFrame:
    """The last so many bars of a simulated market, RAW_COLUMNS."""
    days = timedelta(days=int(n_bars / 1380 * 1.5) + 10)  # five sessions in seven days, and holidays
    last = FULL_SETTINGS.last_session
    settings = SimulationSettings(first_session=last - days, last_session=last, label_periods=())
    return simulate(settings).bars.tail(n_bars).reset_index(drop=True)


def _store(folder: str, number: int) -> BarStore:
    return BarStore(Path(folder) / f"store-{number}", simulated=False)


def _timed(work: Callable[[], object], name: str = "", repeats: int = REPEATS) -> Timing:
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return Timing(min(seconds), repeats, FLOORS.get(name))


def _machine() -> str:
    libraries = ", ".join(f"{name} {version(name)}" for name in ("numpy", "pandas", "pyarrow", "numba"))
    cores = f"{os.cpu_count()} cores under load {os.getloadavg()[0]:.1f}"
    return f"{platform.machine()}, {cores}, Python {platform.python_version()}, {libraries}"


def speed_lines(report: SpeedReport) -> list[str]:
    """One line a figure, for the terminal."""
    lines = [f"{report.machine}, {report.measured_at}; {report.n_bars:,} bars; not measured on a GPU"]
    for name, timing in report.timings.items():
        floor = "" if timing.floor is None else f"  (floor {timing.floor:g} s: {_kept(timing)})"
        lines.append(f"{MEASURED[name]:58}{timing.seconds:9.3f} s{floor}")
    return [*lines, *(f"{name:58}{ratio:9.1f} times" for name, ratio in report.ratios.items())]


def speed_page(report: SpeedReport) -> str:
    """The page of docs, in Markdown."""
    rows = [
        f"| {MEASURED[name]} | {timing.seconds:.3f} | {timing.repeats} | "
        f"{'' if timing.floor is None else f'{timing.floor:g} s: {_kept(timing)}'} |"
        for name, timing in report.timings.items()
    ]
    return "\n".join(
        (
            "# Benchmarks",
            "",
            f"Written by `{COMMAND}`, {report.measured_at}, on {report.machine}. Not measured on a GPU: all "
            "of this is work of the processor. Other programs may have run beside it.",
            "",
            f"{report.n_bars:,} simulated one-minute bars; wall seconds, the best of the repeats, one run.",
            "",
            "| work | seconds | repeats | floor |",
            "|---|---|---|---|",
            *rows,
            "",
            "| ratio | times |",
            "|---|---|",
            *(f"| {name} | {ratio:.1f} |" for name, ratio in report.ratios.items()),
            "",
            "The pandas version has features 1-6 and the structural set, the streaming loop features 1-6, "
            "neither has swings: both do less than the feature table, so their ratios are lower bounds.",
            "",
        )
    )


def _kept(timing: Timing) -> str:
    return "kept" if timing.floor is None or timing.seconds <= timing.floor else "MISSED"
