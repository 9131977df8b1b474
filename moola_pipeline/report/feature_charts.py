"""Charts of the features beside their asset: gates that each must pass, and drift."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from moola_pipeline.metrics.drift import CENTRAL, MAJOR_SHIFT, MODERATE_SHIFT, Reference
from moola_pipeline.plotting import BLUE, GRID, INK, ORANGE, PAPER, RED, house_style

ROW_INCHES = 0.25
HATCHES = {BLUE: "", ORANGE: "//", RED: "xx"}
"""Hatches distinguish the bars without color."""


@house_style()
def gate_figure(names: Sequence[str], shares: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Bars of the shares of each feature, with a mark at the least share that passes.

    Args:
        names: (n,) features.
        shares: By title: (n,) shares in 0..1, and the least share that passes.
    """
    figure = Figure((10, ROW_INCHES * len(names) + 0.6), layout="constrained")
    rows = np.arange(len(names))
    [row] = figure.subplots(1, len(shares), sharey=True, squeeze=False)
    for axes, (title, (share, least)) in zip(row, shares.items(), strict=True):
        _draw_bars(axes, names, share, np.where(share >= least, BLUE, RED))
        axes.vlines(least, rows - 0.45, rows + 0.45, color=INK, linewidth=2, label="least")
        axes.set(title=title, xlim=(0, 1))
    return figure


@house_style()
def drift_figure(
    shifts: Mapping[str, float], reference: Reference, sessions: Sequence[str], rates: np.ndarray
) -> Figure:
    """Shift of each feature, and expansion rate of each new session.

    Args:
        shifts: Population stability index by feature.
        reference: Its rates are drawn as a band.
        sessions: Names of the new sessions.
        rates: (n_sessions,) expansions per 100 covered bars.
    """
    figure = Figure((11, ROW_INCHES * len(shifts) + 1.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    sizes = np.array(list(shifts.values()))
    colors = np.select([sizes >= MAJOR_SHIFT, sizes >= MODERATE_SHIFT], [RED, ORANGE], BLUE)
    _draw_bars(left, list(shifts), sizes, colors)
    for limit in (MODERATE_SHIFT, MAJOR_SHIFT):
        left.axvline(limit, color=INK, linewidth=0.8, linestyle="--")
    left.set_xlim(0, max([MAJOR_SHIFT * 1.3, *shifts.values()]))
    left.set_title(f"population stability index ({MODERATE_SHIFT}: moderate shift, {MAJOR_SHIFT}: major)")
    if reference.rates:
        tail = (1 - CENTRAL) / 2
        right.axhspan(*np.quantile(reference.rates, [tail, 1 - tail]), color=GRID, alpha=0.6)
        right.axhline(float(np.mean(reference.rates)), color=BLUE, linewidth=1)
    right.plot(np.arange(len(rates)), rates, "o", color=INK, markersize=4)
    step = max(1, len(rates) // 8)
    right.set_xticks(np.arange(0, len(rates), step), list(sessions)[::step], rotation=45)
    right.set_title("expansions per 100 bars, by new session\nband: 95 % of training sessions")
    return figure


def _draw_bars(axes: Axes, names: Sequence[str], lengths: np.ndarray, colors: np.ndarray) -> None:
    hatches = [HATCHES[color] for color in colors.tolist()]
    style = {"hatch": hatches, "edgecolor": PAPER, "linewidth": 0, "label": "share"}
    axes.barh(names, lengths, 0.66, color=colors.tolist(), **style)
    axes.set_ylim(max(len(names), 1) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
