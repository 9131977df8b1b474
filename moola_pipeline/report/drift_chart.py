"""A picture of drift: how far each feature moved, and how many expansions each new session has."""

import io
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from moola_pipeline.metrics.drift import CENTRAL, MAJOR_SHIFT, MODERATE_SHIFT, Reference

SAME, MODERATE, MAJOR, USUAL, INK = "#3b7dd8", "#c26a00", "#c0392b", "#dbe7f6", "#333333"


def drift_chart(
    shifts: Mapping[str, float], reference: Reference, sessions: Sequence[str], rates: np.ndarray
) -> bytes:
    """An svg, the same bytes for the same figures.

    Args:
        shifts: Population stability by feature.
        reference: Its rates are drawn as a band.
        sessions: Names of the new sessions.
        rates: (n_sessions,) expansions for 100 covered bars.
    """
    figure = Figure((11, 0.26 * len(shifts) + 1.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    names = list(shifts)
    colors = [
        MAJOR if it >= MAJOR_SHIFT else MODERATE if it >= MODERATE_SHIFT else SAME for it in shifts.values()
    ]
    left.barh(names, list(shifts.values()), color=colors)
    left.invert_yaxis()
    for limit in (MODERATE_SHIFT, MAJOR_SHIFT):
        left.axvline(limit, color=INK, linewidth=0.8, linestyle="--")
    left.set_xlim(0, max(MAJOR_SHIFT * 1.3, *shifts.values()) if shifts else MAJOR_SHIFT)
    left.set_title(f"population stability ({MODERATE_SHIFT}: moderate, {MAJOR_SHIFT}: another)", fontsize=9)
    if reference.rates:
        tail = (1 - CENTRAL) / 2
        right.axhspan(*np.quantile(reference.rates, [tail, 1 - tail]), color=USUAL, label="95 % of training")
        right.axhline(float(np.mean(reference.rates)), color=SAME, linewidth=1)
    right.plot(np.arange(len(rates)), rates, "o", color=INK, markersize=4)
    step = max(1, len(rates) // 8)
    right.set_xticks(np.arange(0, len(rates), step), list(sessions)[::step], rotation=45, fontsize=7)
    right.set_title("expansions for 100 bars, by new session; band: 95 % of training", fontsize=9)
    for axes in (left, right):
        axes.tick_params(labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
    content = io.BytesIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "moola"}):
        figure.savefig(content, format="svg", metadata={"Date": None})
    return content.getvalue()
