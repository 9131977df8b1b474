"""How long the work on five years of bars takes, beside a plain way to do the same, in one run."""

import os
import platform
import tempfile
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pyarrow.csv

from moola_pipeline.bars.manifest import add_bars
from moola_pipeline.bars.schema import PRICE_COLUMNS
from moola_pipeline.bars.simulated import FULL_SETTINGS, SimulationSettings, simulate
from moola_pipeline.bars.store import BarStore, verify_files
from moola_pipeline.bars.table import build_table
from moola_pipeline.bench.feature_speed import REBUILT_WINDOWS, Timing, measure_feature_speed, timed
from moola_pipeline.bench.fresh import BATCH_WINDOWS, Memory
from moola_pipeline.bench.scan_speed import measure_scan
from moola_pipeline.bench.training_speed import STEPS, LoopSpeed, loop_lines, loop_page, measure_loop
from moola_pipeline.publish import publish_bytes

N_BARS = 1_800_000
STREAMED_BARS = 100_000
"""Bars the slow loop is timed on; its time a bar does not depend on how many there are."""
REPEATS = 5
MOST_MB, AIM_MB = 1000, 500
"""Most memory that five years of bars, features and windows may take, and the goal."""
COMMAND = "moola bench --out docs/benchmarks.md"
MEASURED = {
    "csv_import": "import of the bars as csv, with every check",
    "csv_pyarrow": "the same csv read by pyarrow alone",
    "rehash": "proof of the registered csv by its SHA256",
    "features": "features of all bars, warm, TA-Lib included",
    "features_compile": "compiling them, once on a machine (50 bars, empty cache)",
    "features_pandas": "part of them in vectorised pandas",
    "features_streaming": f"part of them in a Python loop, of {STREAMED_BARS:,} bars",
    "features_rebuilt": f"part of them rebuilt in pandas for each of {REBUILT_WINDOWS} windows",
    "features_loaded": "a stored feature table, proven and loaded",
    "features_from_bars": "stored bars, proven and loaded, and their features",
    "scan": "all bars scanned for expansions, features included, on two cores",
}
PLAIN_WAYS = {
    "pandas over features": "features_pandas",
    "streaming loop over features": "features_streaming",
    "rebuilding each window over features": "features_rebuilt",
}
"""Ratios of time a bar; the last is how the first attempt did it, item by item."""


class SpeedReport(NamedTuple):
    """What was measured, where and when.

    Attributes:
        timings: By name.
        ratios: A plain way's seconds over ours, or ours over a bare reader's, by name.
        microseconds_a_bar: Of the feature table and of the plain ways, by the timing's name.
        windows_a_second: Gathered from the feature table.
        scanned_a_second: Windows that a model of the usual size reads in a scan.
        loops: Of training, at each batch size.
        memory: Of bars, features and windows in a process of its own.
        machine: Where.
        measured_at: When, UTC.
        n_bars: Bars of each measurement, unless its name says otherwise.
    """

    timings: dict[str, Timing]
    ratios: dict[str, float]
    microseconds_a_bar: dict[str, float]
    windows_a_second: float
    scanned_a_second: float
    loops: list[LoopSpeed]
    memory: Memory
    machine: str
    measured_at: str
    n_bars: int


def measure_speed(
    n_bars: int = N_BARS, streamed_bars: int = STREAMED_BARS, training_steps: int = STEPS
) -> SpeedReport:
    """Time the import of a csv, the proof of its bytes, features, a scan and training, on simulated bars."""
    bars = made_bars(n_bars)
    prices = bars[list(PRICE_COLUMNS)].to_numpy()
    segment = build_table(bars, None)["segment"].to_numpy()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bars.csv"
        publish_bytes(path, bars.to_csv(index=False, date_format="%Y-%m-%dT%H:%M:%SZ").encode())
        numbers = iter(range(REPEATS))
        timings = {
            "csv_import": timed(lambda: add_bars(_store(folder, next(numbers)), path), REPEATS, 5, 1.5),
            "csv_pyarrow": timed(lambda: pyarrow.csv.read_csv(path), REPEATS),
            "rehash": timed(lambda: verify_files(_store(folder, 0)), REPEATS, floor=1),
        }
    found = measure_feature_speed(prices, segment, streamed_bars)
    timings |= found.timings
    scanned = measure_scan(build_table(bars, None))
    timings["scan"] = scanned.timing
    each = found.microseconds_a_bar
    ratios = {
        "csv import over pyarrow alone": timings["csv_import"].seconds / timings["csv_pyarrow"].seconds,
        **{name: each[way] / each["features"] for name, way in PLAIN_WAYS.items()},
        "loading a stored table over computing it from bars": timings["features_loaded"].seconds
        / timings["features_from_bars"].seconds,
    }
    measured_at = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    return SpeedReport(
        timings,
        ratios,
        each,
        found.windows_a_second,
        scanned.windows_a_second,
        measure_loop(prices, segment, "cpu", training_steps),
        found.memory,
        _machine(),
        measured_at,
        n_bars,
    )


def made_bars(n_bars: int) -> pd.DataFrame:
    """The last so many bars of a simulated market, RAW_COLUMNS."""
    days = timedelta(days=int(n_bars / 1380 * 1.5) + 10)  # five sessions in seven days, and holidays
    last = FULL_SETTINGS.last_session
    settings = SimulationSettings(first_session=last - days, last_session=last, label_periods=())
    return simulate(settings).bars.tail(n_bars).reset_index(drop=True)


def _store(folder: str, number: int) -> BarStore:
    return BarStore(Path(folder) / f"store-{number}", simulated=False)


def _machine() -> str:
    libraries = ", ".join(f"{name} {version(name)}" for name in ("numpy", "pandas", "pyarrow", "numba"))
    cores = f"{os.cpu_count()} cores under load {os.getloadavg()[0]:.1f}"
    return f"{platform.machine()}, {cores}, Python {platform.python_version()}, {libraries}"


def speed_lines(report: SpeedReport) -> list[str]:
    """One line a figure, for the terminal."""
    lines = [f"{report.machine}, {report.measured_at}; {report.n_bars:,} bars; not measured on a GPU"]
    for name, timing in report.timings.items():
        judged = _judged(timing.seconds, timing.floor, timing.goal, "s")
        lines.append(f"{MEASURED[name]:58}{timing.seconds:9.3f} s{f'  ({judged})' if judged else ''}")
    memory = f"{report.memory.rise:9.0f} MB  ({_judged(report.memory.rise, MOST_MB, AIM_MB, 'MB')})"
    return [
        *lines,
        f"{'memory of bars, features and windows, at its peak':58}{memory}",
        f"{f'windows gathered in batches of {BATCH_WINDOWS}':58}{report.windows_a_second:9,.0f} a second",
        f"{'windows scanned for expansions':58}{report.scanned_a_second:9,.0f} a second",
        *loop_lines(report.loops),
        *(f"{name:58}{ratio:9.1f} times" for name, ratio in report.ratios.items()),
    ]


def speed_page(report: SpeedReport) -> str:
    """The page of docs, in Markdown."""
    rows = [
        f"| {MEASURED[name]} | {it.seconds:.3f} | {it.repeats} | "
        f"{_judged(it.seconds, it.floor, it.goal, 's')} |"
        for name, it in report.timings.items()
    ]
    memory, each = report.memory, report.microseconds_a_bar
    stored = report.ratios["loading a stored table over computing it from bars"]
    return "\n".join(
        (
            "# Benchmarks",
            "",
            f"Written by `{COMMAND}`, {report.measured_at}, on {report.machine}. Not measured on a GPU: all "
            "of this is work of the processor, on one core. Other programs may have run beside it.",
            "",
            f"{report.n_bars:,} simulated one-minute bars; wall seconds, the best of the repeats, one run.",
            "",
            "| work | seconds | repeats | floor and goal |",
            "|---|---|---|---|",
            *rows,
            "",
            "| ratio | times |",
            "|---|---|",
            *(f"| {name} | {ratio:.1f} |" for name, ratio in report.ratios.items()),
            "",
            f"A bar takes {each['features']:.3f} us; in the plain ways, in the order above, "
            f"{', '.join(f'{each[way]:.2f}' for way in PLAIN_WAYS.values())} us. The pandas version has "
            "features 1-6 and the structural set, the streaming loop features 1-6, the rebuilt windows what "
            "pandas has; none has swings. They do less than the feature table, so these ratios are lower "
            "bounds.",
            "",
            "Compiling happens once on a machine and after a change of the code; the result is cached "
            "beside the code.",
            "",
            f"**Memory.** A process of its own that reads the bars, computes the features, tiles the windows "
            f"and gathers each of them in batches of {BATCH_WINDOWS} rises by {memory.rise:.0f} MB at its "
            f"peak, from {memory.before:.0f} MB with the code loaded "
            f"({_judged(memory.rise, MOST_MB, AIM_MB, 'MB')}). Windows are an index: gathering copies one "
            f"batch at a time, {report.windows_a_second:,.0f} windows a second.",
            "",
            f"**A scan.** A network of the usual size, its weights drawn at random, reads the windows of all "
            f"bars on two cores in {report.timings['scan'].seconds:.1f} s, features included: "
            f"{report.scanned_a_second:,.0f} windows a second.",
            "",
            *loop_page(report.loops),
            "**What is stored.** The asset keeps what the feature table is made from, and not the table: to "
            f"load one, its SHA256 proven, takes {stored:.1f} times as long as to load the bars, their "
            "digest proven, and compute it. Features whose bars or code have changed since are refused.",
            "",
        )
    )


def _judged(value: float, floor: float | None, goal: float | None, unit: str) -> str:
    """Whether a value keeps its floor and reaches its goal, in words; empty where it has neither."""
    if floor is None:
        return ""
    words = f"floor {floor:g} {unit}: {'kept' if value <= floor else 'MISSED'}"
    if goal is None:
        return words
    return f"{words}; goal {goal:g} {unit}: {'reached' if value <= goal else 'not reached'}"
