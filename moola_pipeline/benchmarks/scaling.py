"""Time and memory of features, windows and an epoch at 1, 10 and 100 times the bars."""

import json
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from moola_pipeline.bars.instruments import NQ
from moola_pipeline.bars.schema import PRICE_COLUMNS
from moola_pipeline.benchmarks.measured_process import BATCH_WINDOWS, json_output_of, resident_mb

if TYPE_CHECKING:
    from matplotlib.axes import Axes

REPEATS = 3
TILE_BARS = 180_000
"""Bars of the simulated market that are repeated to make more."""
EPOCH_WINDOWS = 1024
"""Windows of the timed epoch; the time per step does not depend on the number of bars."""
_SCALED = (
    "import sys; from moola_pipeline.benchmarks.scaling import print_scaled; print_scaled(int(sys.argv[1]))"
)


class Scaled(NamedTuple):
    """Cost at one number of bars, in a separate process; seconds of processor time, not wall time.

    Attributes:
        bars, windows: Their number; a window begins at every 52nd bar.
        features: Seconds for the feature table, compiled before; the best of 3.
        tiled: Seconds to find all windows.
        gathered: Seconds to copy each window once, in batches of 64.
        epoch: Seconds of one pretraining epoch on EPOCH_WINDOWS windows, with the initial ridge fit
            and the validation.
        before_mb: Memory with the code loaded, MB of 2**20 bytes.
        arrays_mb: Size of the arrays kept in memory: prices, segments and the feature table.
        peak_mb: Peak memory of the process.
    """

    bars: int
    windows: int
    features: float
    tiled: float
    gathered: float
    epoch: float
    before_mb: float
    arrays_mb: float
    peak_mb: float

    @property
    def bytes_a_bar(self) -> float:
        """Peak memory minus that of the code, per bar."""
        return (self.peak_mb - self.before_mb) * 2**20 / self.bars

    @property
    def whole_epoch(self) -> float:
        """Estimated seconds of an epoch on all windows, proportional to the measured one."""
        return self.epoch * self.windows / EPOCH_WINDOWS


def measure_scaling(sizes: tuple[int, ...]) -> list[Scaled]:
    """Measure at each size, each in a separate process, one after the other."""
    return [Scaled(**json_output_of(_SCALED, str(n_bars))) for n_bars in sizes]


def tiled_market(n_bars: int) -> tuple[np.ndarray, np.ndarray]:
    """Prices and segments of a market that repeats a simulated one, each time at another price level.

    The two arrays are the only ones of their length.

    Returns:
        (n_bars, 4) float64 index points, (n_bars,) int32.
    """
    from moola_pipeline.bars.table import build_table
    from moola_pipeline.benchmarks.speed import made_bars

    bars = made_bars(min(n_bars, TILE_BARS))
    tile, own = bars[list(PRICE_COLUMNS)].to_numpy(), build_table(bars, None)["segment"].to_numpy()
    prices, segment = np.empty((n_bars, 4)), np.empty(n_bars, np.int32)
    for number, first in enumerate(range(0, n_bars, len(tile))):
        rows = slice(first, min(first + len(tile), n_bars))
        length = rows.stop - first
        np.add(tile[:length], number * 40 * NQ.tick_points, out=prices[rows])
        np.add(own[:length], number * (own[-1] + 1), out=segment[rows])
    return prices, segment


def print_scaled(n_bars: int) -> None:
    """Main function of the measured process."""
    import torch

    from moola_pipeline.features.relativity import compute_features
    from moola_pipeline.training.pretrain import pretrain
    from moola_pipeline.training.settings import PretrainSettings
    from moola_pipeline.windows.dense import pretraining_windows
    from moola_pipeline.windows.market_arrays import MarketArrays
    from moola_pipeline.windows.window_geometry import gather_rows

    torch.set_num_threads(1)
    few = tiled_market(40_000)
    compute_features(*few, NQ.tick_points)  # load the compiled code
    before = resident_mb("VmRSS")
    prices, segment = tiled_market(n_bars)
    found: dict[str, Any] = {"bars": n_bars, "before_mb": before}
    clock = _Clock(found)

    def compute() -> MarketArrays:
        clock.last = time.process_time()
        arrays = MarketArrays.from_prices(prices, segment, NQ.tick_points)
        clock.note_least("features")
        return arrays

    for _ in range(REPEATS - 1):
        compute()  # freed before the next is made
    market = compute()
    bar0 = pretraining_windows(segment, n_bars)
    clock.note("tiled")
    for i in range(0, len(bar0), BATCH_WINDOWS):
        gather_rows(market.features, bar0[i : i + BATCH_WINDOWS])
    clock.note("gathered")
    settings = PretrainSettings(epochs=1, max_windows=EPOCH_WINDOWS)
    pretrain(market, bar0, settings)
    clock.note("epoch")
    n_bytes = sum(array.nbytes for array in vars(market).values() if isinstance(array, np.ndarray))
    found |= {"windows": len(bar0), "arrays_mb": n_bytes / 2**20, "peak_mb": resident_mb("VmHWM")}
    print(json.dumps(found))  # noqa: T201


class _Clock:
    """Notes the processor seconds since the last note; other load changes them little."""

    def __init__(self, found: dict[str, Any]) -> None:
        self.found, self.last = found, time.process_time()

    def note(self, name: str) -> None:
        now = time.process_time()
        self.found[name], self.last = now - self.last, now

    def note_least(self, name: str) -> None:
        before = self.found.get(name, float("inf"))
        self.note(name)
        self.found[name] = min(before, self.found[name])


def scaling_table(found: list[Scaled]) -> list[str]:
    """The table, in Markdown."""
    return [
        "| bars | windows | features, s | finding windows, s | copying each window, s "
        f"| epoch of {EPOCH_WINDOWS:,} windows, s | epoch of all windows, s (*estimate*) | arrays, MB "
        "| peak without code, MB | bytes per bar |",
        "|---|---|---|---|---|---|---|---|---|---|",
        *(
            f"| {size.bars:,} | {size.windows:,} | {size.features:.2f} | {size.tiled:.3f} "
            f"| {size.gathered:.2f} | {size.epoch:.1f} | {size.whole_epoch:,.0f} | {size.arrays_mb:,.0f} "
            f"| {size.peak_mb - size.before_mb:,.0f} | {size.bytes_a_bar:,.0f} |"
            for size in found
        ),
    ]


def scaling_picture(found: list[Scaled]) -> bytes:
    """Processor seconds and memory against bars, on logarithmic axes, as an SVG file."""
    from matplotlib.figure import Figure

    from moola_pipeline.plotting import BLUE, GREEN, INK, ORANGE, RED, house_style, picture_file

    lines = {
        "features": ("features of all bars", BLUE, "o"),
        "gathered": ("copying each window", GREEN, "s"),
        "epoch": (f"epoch of {EPOCH_WINDOWS:,} windows", ORANGE, "^"),
    }
    bars = [size.bars for size in found]
    with house_style():
        figure = Figure((9.0, 3.6), layout="constrained")
        seconds, memory = figure.subplots(1, 2)
        for name, (label, color, mark) in lines.items():
            seconds.loglog(
                bars, [getattr(size, name) for size in found], f"{mark}-", color=color, label=label
            )
        peaks = [size.peak_mb - size.before_mb for size in found]
        memory.loglog(bars, peaks, "o-", color=RED, label="peak")
        arrays = [size.arrays_mb for size in found]
        memory.loglog(bars, arrays, "s--", color=INK, label="arrays in memory")
        _label_axes(seconds, bars, "processor seconds")
        _label_axes(memory, bars, "MB, without the code")
        return picture_file(figure, ".svg")


def _label_axes(axes: "Axes", bars: list[int], title: str) -> None:
    axes.set_title(title)
    axes.set_xlabel("one-minute bars")
    axes.set_xticks(bars, [f"{n / 1e6:g}M" for n in bars], minor=False)
    axes.yaxis.set_major_formatter("{x:g}")
    axes.minorticks_off()
    axes.legend()
