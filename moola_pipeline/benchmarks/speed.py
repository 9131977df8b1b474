"""Speed of the work on five years of bars, and of plain alternatives, measured in one run."""

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
    """Time `--help` and the definitions in separate processes, Python's start included.

    Args:
        rehearsed: Measure once instead of the best of several repeats.
    """
    help_repeats, definitions_repeats = (1, 1) if rehearsed else (HELP_REPEATS, DEFINITIONS_REPEATS)
    return {
        "help": timed(lambda: _start(*_HELP), help_repeats, floor=0.5, goal=0.3),
        "definitions": timed(lambda: _start(*_DEFINITIONS), definitions_repeats, floor=4, goal=2),
    }


def _start(*words: str) -> None:
    subprocess.run([sys.executable, *words], check=True, capture_output=True)


SCAN_THREADS = 2
TICK_POINTS = 0.25


class ScanSpeed(NamedTuple):
    """Seconds of a scan, and windows read per second."""

    timing: Timing
    windows_a_second: float


def measure_scan(table: pd.DataFrame) -> ScanSpeed:
    """Scan a table of bars on two cores, with a network of the default size and random weights.

    The time depends on the number of proposed spans, not on the weights: the span proposer has
    typical thresholds.

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


LABELED_WINDOWS = 1_000
"""Labels of five years: five times as many as the annotator had made when this was written."""


def measure_labels(table: pd.DataFrame) -> Timing:
    """Time the projection of judgments, in time, to rows of label files on a table of bars."""
    from moola_pipeline.labels.judgment_rows import rows_of
    from moola_pipeline.labels.judgments import Judgment, MarkedSpan
    from moola_pipeline.labels.schema import CHOSEN, FIRST_DEFINITION, TYPES
    from moola_pipeline.windows.dense import pretraining_windows
    from moola_pipeline.windows.window_geometry import CORE_FIRST, CORE_LAST

    windows = pretraining_windows(table["segment"].to_numpy(), len(table))
    bar0 = windows[:: max(len(windows) // LABELED_WINDOWS, 1)][:LABELED_WINDOWS]
    opened = table["timestamp"].dt.strftime("%Y-%m-%dT%H:%M:%SZ").to_numpy()
    judgments = [
        Judgment(
            instrument="NQ",
            window_id=f"w{row}",
            looked_from=opened[row + CORE_FIRST],
            looked_to=opened[row + CORE_LAST],
            spans=(MarkedSpan(opened[row + CORE_FIRST], opened[row + CORE_FIRST + 9], TYPES[row % 2]),),
            annotator="made",
            definition=FIRST_DEFINITION,
            pass_number=1,
            batch=None,
            grade=None,
            chosen=CHOSEN[0],
            made_at=opened[row],
        )
        for row in bar0.tolist()
    ]
    return timed(lambda: rows_of(judgments, table), REPEATS, floor=0.05)


N_BARS = 1_800_000
STREAMED_BARS = 100_000
"""Bars for the slow loop; its time per bar does not depend on their number."""
REPEATS = 5
MAX_MB, AIM_MB = 1000, 500
"""Limit and goal for the memory of five years of bars, features and windows."""
MEASURED = {
    "csv_import": "csv import of the bars, with all checks",
    "csv_pyarrow": "the same csv read by pyarrow only",
    "rehash": "SHA256 check of the registered csv",
    "features": "features of all bars, compiled before, TA-Lib included",
    "features_compile": "compiling the features (50 bars, empty cache)",
    "features_pandas": "some of the features in vectorized pandas",
    "features_streaming": f"some of the features in a Python loop, {STREAMED_BARS:,} bars",
    "features_rebuilt": f"some features recomputed in pandas for {REBUILT_WINDOWS} windows",
    "features_loaded": "load a stored feature table, SHA256 checked",
    "features_from_bars": "load stored bars, digest checked, and compute features",
    "labels": f"labels of {LABELED_WINDOWS:,} judged windows, from times to bars",
    "scan": "scan of all bars, features included, on two cores",
    "help": "`moola --help`, whole process",
    "definitions": "loading Dagster's definitions, whole process",
}
PLAIN_WAYS = {
    "pandas over features": "features_pandas",
    "streaming loop over features": "features_streaming",
    "rebuilding each window over features": "features_rebuilt",
}
"""Ratios of time per bar; an earlier version of this project rebuilt each window."""


class SpeedReport(NamedTuple):
    """All measurements, with machine and time.

    Attributes:
        timings: By name.
        ratios: Ratios of seconds, by name: numerator over denominator.
        microseconds_a_bar: Of the feature table and of the alternatives, by the timing's name.
        windows_a_second: Windows gathered from the feature table per second.
        scanned_a_second: Windows read per second of a scan, by a model of the default size.
        training: Of each kind, on each device, at each batch size.
        steps: Steps with encoder states stored, and with states recomputed.
        memory: Of bars, features and windows in a separate process.
        machine: Description.
        gpu: Description of its GPU; None if there is none.
        measured_at: Time of the measurement, UTC.
        n_bars: Bars per measurement, unless its name gives another number.
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
    """Time csv import, checksums, features, a scan and training, on simulated bars.

    Args:
        n_bars: Bars of the market.
        streamed_bars: Bars for the slow loop.
        rehearsed: Whether to take the fewest repeats and steps; the figures are then not meaningful.
    """
    set_precision(tf32=False)  # as in training; by default, cuDNN computes an LSTM in TF32
    bars = made_bars(n_bars)
    prices = bars[list(PRICE_COLUMNS)].to_numpy()
    table = build_table(bars, None)
    segment = table["segment"].to_numpy()
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
    timings["labels"] = measure_labels(table)
    scan = measure_scan(table)
    timings["scan"] = scan.timing
    timings |= measure_startup(rehearsed)
    per_bar = found.microseconds_a_bar
    ratios = {
        "csv import over pyarrow alone": timings["csv_import"].seconds / timings["csv_pyarrow"].seconds,
        **{name: per_bar[way] / per_bar["features"] for name, way in PLAIN_WAYS.items()},
        "loading a stored table over computing it from bars": timings["features_loaded"].seconds
        / timings["features_from_bars"].seconds,
    }
    measured_at = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    return SpeedReport(
        timings,
        ratios,
        per_bar,
        found.windows_a_second,
        scan.windows_a_second,
        measure_training(prices, segment, 1 if rehearsed else None),
        measure_steps((8, 64), 1) if rehearsed else measure_steps(),
        found.memory,
        _machine(),
        _gpu(),
        measured_at,
        n_bars,
    )


def made_bars(n_bars: int) -> pd.DataFrame:
    """The last `n_bars` bars of a simulated market, RAW_COLUMNS."""
    days = timedelta(days=int(n_bars / 1380 * 1.5) + 10)  # five sessions per seven days, and holidays
    last = FULL_SETTINGS.last_session
    settings = SimulationSettings(first_session=last - days, last_session=last, label_periods=())
    return simulate(settings).bars.tail(n_bars).reset_index(drop=True)


def _store(folder: str, number: int) -> BarStore:
    return BarStore(Path(folder) / f"store-{number}", simulated=False)


def _machine() -> str:
    libraries = ", ".join(f"{name} {version(name)}" for name in ("numpy", "pandas", "pyarrow", "numba"))
    load = "" if sys.platform == "win32" else f" under load {os.getloadavg()[0]:.1f}"
    cores = f"{os.cpu_count()} cores{load}"
    return f"{platform.machine()}, {cores}, Python {platform.python_version()}, {libraries}"


def _gpu() -> str | None:
    import torch

    if not torch.cuda.is_available():
        return None
    return f"GPU: {torch.cuda.get_device_name()}, {precision_on('cuda')}, CUDA {torch.version.cuda}"
