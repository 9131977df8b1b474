"""How long the work on five years of bars takes, beside a plain way to do the same, in one run."""

import os
import platform
import subprocess
import sys
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
from moola_pipeline.benchmarks.feature_speed import REBUILT_WINDOWS, Timing, measure_feature_speed, timed
from moola_pipeline.benchmarks.measured_process import Memory
from moola_pipeline.benchmarks.step_memory import StepMemory, measure_steps
from moola_pipeline.benchmarks.training_speed import TrainingSpeed, measure_training
from moola_pipeline.storage.atomic_write import atomic_write_bytes
from moola_pipeline.training.device import precision_on, set_precision

HELP_REPEATS, DEFINITIONS_REPEATS = 5, 3
_HELP = ("-m", "moola_pipeline", "--help")
_DEFINITIONS = ("-c", "import moola_pipeline.definitions")


def measure_startup(rehearsed: bool = False) -> dict[str, Timing]:
    """Time both in processes of their own, Python's start included; once only where it is a rehearsal."""
    helped, loaded = (1, 1) if rehearsed else (HELP_REPEATS, DEFINITIONS_REPEATS)
    return {
        "help": timed(lambda: _start(*_HELP), helped, floor=0.5, goal=0.3),
        "definitions": timed(lambda: _start(*_DEFINITIONS), loaded, floor=4, goal=2),
    }


def _start(*words: str) -> None:
    subprocess.run([sys.executable, *words], check=True, capture_output=True)


SCAN_THREADS = 2
TICK_POINTS = 0.25


class ScanSpeed(NamedTuple):
    """Seconds of a scan, and windows read in a second of it."""

    timing: Timing
    windows_a_second: float


def measure_scan(table: pd.DataFrame) -> ScanSpeed:
    """Scan a table of bars with a network of the usual size on two cores, its weights drawn at random.

    Time does not depend on what the weights are, but for how many spans the rule proposes: its
    thresholds are those usually fitted.

    Args:
        table: BAR_COLUMNS.
    """
    import torch

    from moola_pipeline.inference.hindsight import predict_expansions
    from moola_pipeline.models.classifier import Classifier
    from moola_pipeline.models.encoder import Encoder
    from moola_pipeline.models.expansion_model import ExpansionModel, Thresholds
    from moola_pipeline.models.span_proposer import SpanProposer
    from moola_pipeline.training.settings import FinetuneSettings, PretrainSettings

    thresholds = Thresholds(
        expansion_scale=1,
        expansion_shift=0,
        expansion_threshold=0.5,
        retracement_scale=1,
        retracement_shift=0,
        retracement_threshold=0.5,
        refine=False,
    )
    torch.manual_seed(0)
    heads = FinetuneSettings()
    classifier = Classifier(Encoder(PretrainSettings().hidden_units), heads.head_units, heads.dropout).eval()
    proposer = SpanProposer(min_net_atr=2.5, min_efficiency=0.6, min_length=3, max_length=15, ordering="net")
    model = ExpansionModel(classifier, proposer, thresholds)
    predict_expansions(model, table.head(2000), TICK_POINTS, "warm")  # compiles
    before, found = torch.get_num_threads(), []
    torch.set_num_threads(SCAN_THREADS)
    try:
        timing = timed(lambda: found.append(predict_expansions(model, table, TICK_POINTS, "0").n_windows), 1)
    finally:
        torch.set_num_threads(before)
    return ScanSpeed(timing, found[-1] / timing.seconds)


N_BARS = 1_800_000
STREAMED_BARS = 100_000
"""Bars the slow loop is timed on; its time a bar does not depend on how many there are."""
REPEATS = 5
MAX_MB, AIM_MB = 1000, 500
"""Most memory that five years of bars, features and windows may take, and the goal."""
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
    "help": "`moola --help`, from the start of the process to its end",
    "definitions": "Dagster's definitions loaded, from the start of the process",
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
        training: Of each kind, on each device, at each batch size.
        steps: With encoder states kept or computed again.
        memory: Of bars, features and windows in a process of its own.
        machine: Where.
        gpu: Its GPU, None where there is none.
        measured_at: When, UTC.
        n_bars: Bars of each measurement, unless its name says otherwise.
    """

    timings: dict[str, Timing]
    ratios: dict[str, float]
    microseconds_a_bar: dict[str, float]
    windows_a_second: float
    scanned_a_second: float
    training: list[TrainingSpeed]
    steps: list[StepMemory]
    memory: Memory
    machine: str
    gpu: str | None
    measured_at: str
    n_bars: int


def measure_speed(
    n_bars: int = N_BARS, streamed_bars: int = STREAMED_BARS, rehearsed: bool = False
) -> SpeedReport:
    """Time the import of a csv, the proof of its bytes, features, a scan and training, on simulated bars.

    Args:
        n_bars: Of the market.
        streamed_bars: That the slow loop is timed on.
        rehearsed: Whether to go through all of it as quickly as can be: the figures then mean little.
    """
    set_precision(tf32=False)  # as training does; left to itself, cuDNN computes an LSTM in TF32
    bars = made_bars(n_bars)
    prices = bars[list(PRICE_COLUMNS)].to_numpy()
    segment = build_table(bars, None)["segment"].to_numpy()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bars.csv"
        atomic_write_bytes(path, bars.to_csv(index=False, date_format="%Y-%m-%dT%H:%M:%SZ").encode())
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
    timings |= measure_startup(rehearsed)
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
        measure_training(prices, segment, 1 if rehearsed else None),
        measure_steps((8, 64), 1) if rehearsed else measure_steps(),
        found.memory,
        _machine(),
        _gpu(),
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


def _gpu() -> str | None:
    import torch

    if not torch.cuda.is_available():
        return None
    return f"GPU: {torch.cuda.get_device_name()}, {precision_on('cuda')}, CUDA {torch.version.cuda}"
