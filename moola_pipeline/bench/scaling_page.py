"""How cost grows with the bars, as a table and as a picture."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from moola_pipeline.bench.scaling import EPOCH_WINDOWS, Scaled
from moola_pipeline.inference.plots import GRID, picture_file

LINES = {
    "features": ("features of all bars", "#1f4fd8"),
    "gathered": ("every window copied once", "#2a9d8f"),
    "epoch": (f"an epoch of {EPOCH_WINDOWS:,} windows", "#c26a00"),
}


def scaling_table(found: list[Scaled]) -> list[str]:
    """The figures as a table in Markdown."""
    return [
        "| bars | windows | features, s | windows found, s | each copied once, s "
        f"| an epoch of {EPOCH_WINDOWS:,} windows, s | of all windows, s (*estimate*) | arrays, MB "
        "| peak above the code, MB | bytes a bar |",
        "|---|---|---|---|---|---|---|---|---|---|",
        *(
            f"| {one.bars:,} | {one.windows:,} | {one.features:.2f} | {one.tiled:.3f} | {one.gathered:.2f} "
            f"| {one.epoch:.1f} | {one.whole_epoch:,.0f} | {one.arrays_mb:,.0f} "
            f"| {one.peak_mb - one.before_mb:,.0f} | {one.bytes_a_bar:,.0f} |"
            for one in found
        ),
    ]


def scaling_picture(found: list[Scaled]) -> bytes:
    """Processor seconds and memory over bars, both axes by powers of ten, as an SVG file."""
    figure = Figure((9.0, 3.6), layout="constrained")
    seconds, memory = figure.subplots(1, 2)
    bars = [one.bars for one in found]
    for name, (label, color) in LINES.items():
        seconds.loglog(bars, [getattr(one, name) for one in found], "o-", color=color, label=label)
    memory.loglog(bars, [one.peak_mb - one.before_mb for one in found], "o-", color="#d1495b", label="peak")
    memory.loglog(
        bars, [one.arrays_mb for one in found], "o--", color="#111111", label="arrays that must be held"
    )
    _frame(seconds, bars, "processor seconds")
    _frame(memory, bars, "MB above the code")
    return picture_file(figure, ".svg")


def _frame(axes: Axes, bars: list[int], title: str) -> None:
    axes.set_title(title, loc="left")
    axes.set_xlabel("one-minute bars")
    axes.set_xticks(bars, [f"{n / 1e6:g}M" for n in bars], minor=False)
    axes.minorticks_off()
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
