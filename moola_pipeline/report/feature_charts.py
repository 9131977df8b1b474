"""Pictures of the features beside their asset: what each one spreads over, and how far it has drifted."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from moola_pipeline.metrics.drift import CENTRAL, MAJOR_SHIFT, MODERATE_SHIFT, Reference
from moola_pipeline.plotting import BLUE, GRID, INK, ORANGE, PAPER, RED, house_style

ROW_INCHES = 0.25
HATCHES = {BLUE: "", ORANGE: "//", RED: "xx"}
"""So that a bar can be told from the others without its color."""


@house_style()
def gate_figure(names: Sequence[str], shares: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Shares of each feature as bars with a mark at the least that passes.

    Args:
        names: Of the features.
        shares: By what is shown: (n,) shares in 0..1, and the least of each.
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
    """How far each feature has moved, and how many expansions each new session has.

    Args:
        shifts: Population stability by feature.
        reference: Its rates are drawn as a band.
        sessions: Names of the new sessions.
        rates: (n_sessions,) expansions for 100 covered bars.
    """
    figure = Figure((11, ROW_INCHES * len(shifts) + 1.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    moved = np.array(list(shifts.values()))
    colors = np.select([moved >= MAJOR_SHIFT, moved >= MODERATE_SHIFT], [RED, ORANGE], BLUE)
    _draw_bars(left, list(shifts), moved, colors)
    for limit in (MODERATE_SHIFT, MAJOR_SHIFT):
        left.axvline(limit, color=INK, linewidth=0.8, linestyle="--")
    left.set_xlim(0, max([MAJOR_SHIFT * 1.3, *shifts.values()]))
    left.set_title(f"population stability ({MODERATE_SHIFT}: moderate, {MAJOR_SHIFT}: another)")
    if reference.rates:
        tail = (1 - CENTRAL) / 2
        right.axhspan(*np.quantile(reference.rates, [tail, 1 - tail]), color=GRID, alpha=0.6)
        right.axhline(float(np.mean(reference.rates)), color=BLUE, linewidth=1)
    right.plot(np.arange(len(rates)), rates, "o", color=INK, markersize=4)
    step = max(1, len(rates) // 8)
    right.set_xticks(np.arange(0, len(rates), step), list(sessions)[::step], rotation=45)
    right.set_title("expansions for 100 bars, by new session\nband: 95 % of training")
    return figure


def _draw_bars(axes: Axes, names: Sequence[str], lengths: np.ndarray, colors: np.ndarray) -> None:
    hatches = [HATCHES[color] for color in colors.tolist()]
    style = {"hatch": hatches, "edgecolor": PAPER, "linewidth": 0, "label": "share"}
    axes.barh(names, lengths, 0.66, color=colors.tolist(), **style)
    axes.set_ylim(max(len(names), 1) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
