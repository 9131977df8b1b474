"""Charts of bars, labels, windows and new expansions beside their assets, and the data of these charts."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from moola_pipeline.bars.schema import PRICE_COLUMNS
from moola_pipeline.labels.schema import LABELS
from moola_pipeline.labels.split_checks import class_counts
from moola_pipeline.plotting import BLUE, GRID, INK, ORANGE, PAPER, house_style
from moola_pipeline.report.data import GalleryWindow, MonthMix
from moola_pipeline.windows.window_geometry import WINDOW_BARS

SIZE = (10.0, 2.8)
"""Inches."""
MAX_MONTHS_NAMED = 12
FILLS = (BLUE, ORANGE, GRID, PAPER)
"""Of stacked columns, from the bottom up; the outline parts the last from the paper."""


@house_style()
def bars_figure(
    months: Sequence[str], counts: np.ndarray, sessions: Sequence[str], closes: np.ndarray
) -> Figure:
    """Bars per month as columns; last close of each session as a line.

    Args:
        months: (n_months,) names, in time order.
        counts: (n_months,) number of bars.
        sessions: (n_sessions,) names, in time order.
        closes: (n_sessions,) index points.
    """
    figure = Figure(SIZE, layout="constrained")
    left, right = figure.subplots(1, 2)
    _draw_columns(left, months, {"bars": counts})
    left.set_title("bars per month")
    right.plot(np.arange(len(closes)), closes, color=BLUE, label="close")
    right.set_title("last close of each session, index points")
    _name_some(right, sessions)
    return figure


@house_style()
def windows_figure(months: Sequence[str], counts: Mapping[str, np.ndarray]) -> Figure:
    """Windows per month as stacked columns, one color for each purpose.

    Args:
        months: (n_months,) names, in time order.
        counts: By purpose, at most four: (n_months,) number of windows.
    """
    figure = Figure(SIZE, layout="constrained")
    axes = figure.subplots()
    _draw_columns(axes, months, counts)
    axes.set_title("windows per month")
    figure.legend(loc="outside right upper")
    return figure


def _draw_columns(axes: Axes, months: Sequence[str], counts: Mapping[str, np.ndarray]) -> None:
    floor = np.zeros(len(months))
    for (name, heights), color in zip(counts.items(), FILLS, strict=False):
        style = {"facecolor": color, "edgecolor": INK, "linewidth": 0.6}
        axes.bar(np.arange(len(months)), heights, 0.76, floor, label=name, **style)
        floor = floor + heights
    _name_some(axes, months)
    axes.grid(visible=False, axis="x")


def _name_some(axes: Axes, names: Sequence[str]) -> None:
    step = -(-len(names) // MAX_MONTHS_NAMED) or 1
    axes.set_xticks(np.arange(0, len(names), step), list(names)[::step], rotation=45, ha="right")


def class_mix(labels: pd.DataFrame) -> list[MonthMix]:
    """Labels by month and split, in time order."""
    counts = class_counts(labels).reset_index().sort_values("month", kind="stable")
    return [
        MonthMix.model_validate(
            {
                **{name: int(row[name]) for name in LABELS},
                "month": str(row["month"]),
                "split": row["split"],
            }
        )
        for row in counts.to_dict("records")
    ]


def newest_window(bars: pd.DataFrame, marks: pd.DataFrame) -> GalleryWindow | None:
    """The window of the newest expansion that was read in hindsight; None without expansions.

    Args:
        bars: BAR_COLUMNS.
        marks: EXPANSION_COLUMNS of these bars.
    """
    marks = marks.loc[marks["mode"] == "hindsight"]
    if marks.empty:
        return None
    opened_at = marks["window_start"].max()
    bar0 = int(bars["timestamp"].searchsorted(opened_at))
    rows = bars.iloc[bar0 : bar0 + WINDOW_BARS]
    within = marks.loc[(marks["started_at"] >= opened_at) & (marks["ended_at"] <= rows["timestamp"].iloc[-1])]
    first, last = (rows["timestamp"].searchsorted(within[name]) for name in ("started_at", "ended_at"))
    direction = np.where(within["direction"] == "up", 1, -1).tolist()
    labels, probability = within["label"].tolist(), within["probability"].tolist()
    return GalleryWindow(
        window_id=f"{opened_at:%Y-%m-%d %H:%M}",
        session=f"{rows['session'].iloc[0]:%Y-%m-%d}",
        started_at=f"{opened_at:%Y-%m-%d %H:%M} UTC",
        **{name: rows[name].to_numpy(float) for name in PRICE_COLUMNS},
        truth=[],
        predicted=list(zip(first.tolist(), last.tolist(), labels, direction, probability, strict=True)),
    )
