"""Charts of a report: scores, losses, learning curve, delay, average path, calibration, labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy.stats import binom

from moola_pipeline.labels.splits import SPLITS, UNUSED
from moola_pipeline.plotting import BLUE, GRID, INK, ORANGE, PAPER, SOFT, house_style
from moola_pipeline.report.data import (
    HEADLINE_METRICS,
    Calibration,
    LearningPoint,
    LossCurve,
    MeanPath,
    MonthMix,
    ReportData,
    Score,
    Scores,
    Target,
)
from moola_pipeline.report.metric_catalog import PRIMARY, SHORT, best
from moola_pipeline.report.style import (
    LINE_HEIGHT,
    ROUND,
    WIDTH,
    chart,
    figure_of,
    free_rows,
    panel,
    pixel_rows,
    show_key,
    title_line,
)
from moola_pipeline.report.verdict import interval_text, number

ROW, HEADING, GAP = 18, 19, 9
"""Pixels of the score picture: row, heading of a score, gap between two scores."""
INTERVALS: dict[str, dict[str, Any]] = {
    "model": {"color": BLUE, "linewidth": 5, "solid_capstyle": "round"},
    "baseline": {"color": ORANGE, "linewidth": 2},
    "trivial_baseline": {"color": SOFT, "linewidth": 2},
    "ablation": {"color": BLUE, "linewidth": 2},
    "second_pass": {"color": INK, "linewidth": 2, "linestyle": (0, (1, 1))},
}
MARKS: dict[str, dict[str, Any]] = {
    "model": {"marker": "o", "markersize": 10, "mfc": PAPER, "mec": BLUE, "mew": 3},
    "baseline": {"marker": "^", "markersize": 9, "mfc": ORANGE, "mec": PAPER, "mew": 0.8},
    "trivial_baseline": {"marker": "|", "markersize": 11, "mfc": INK, "mec": INK, "mew": 3},
    "ablation": {"marker": "o", "markersize": 8, "mfc": BLUE, "mec": PAPER, "mew": 0.8},
    "second_pass": {"marker": "D", "markersize": 8, "mfc": PAPER, "mec": INK, "mew": 1.5},
}
FIRST_LINE: dict[str, Any] = {"color": BLUE, "linestyle": "-", "marker": "o", "markersize": 6}
SECOND_LINE: dict[str, Any] = {
    "color": ORANGE, "linestyle": (0, (3.3, 2.2)), "marker": "s", "markersize": 6, "mfc": PAPER,
}  # fmt: skip
"""Dashed and square, so that it differs from the first line without color."""
LEVEL: dict[str, Any] = {"color": INK, "linewidth": 1, "linestyle": (0, (3, 3))}
STACK: dict[str, dict[str, Any]] = {
    "retracement": {"facecolor": BLUE},
    "consolidation": {"facecolor": GRID},
    "unknown": {"facecolor": PAPER},
    "none": {"facecolor": PAPER, "linestyle": (0, (2, 2))},
}
"""From the bottom up; the template has the key."""
QUARTERS = {0.0: "0", 0.25: "0.25", 0.5: "0.5", 0.75: "0.75", 1.0: "1"}
"""Ticks of a share and their texts."""
MAX_MONTHS_NAMED = 14
"""With more columns, only the years are written."""
MONTHS_RIGHT, YEAR_WIDTH = 18, 32
"""Pixels right of the columns, which the last year may use, and width of a year's text."""


@dataclass(frozen=True)
class _Row:
    name: str
    style: str
    best: Score
    others: Sequence[Score]


@house_style()
def score_figure(data: ReportData) -> Figure | None:
    """One picture of all measured headline scores; None if none was measured.

    Each score has a row for the model, the best baseline, the best trivial baseline, the best ablation
    and the annotator's second pass, with intervals; light marks are the other methods of the row.
    """
    measured = [name for name in HEADLINE_METRICS if _defined(data.metrics.get(name))]
    if not measured:
        return None
    blocks = {name: _rows(data, name) for name in measured}
    height = sum(HEADING + ROW * len(rows) + GAP for rows in blocks.values())
    numbers = "; ".join(f"{HEADLINE_METRICS[name]} {interval_text(data.metrics[name])}" for name in measured)
    axes = panel(
        f"Scores from 0 to 1 with 95 % intervals: {numbers}",
        height + 24,
        left=128,
        right=40,
        top=4,
        bottom=20,
    )
    axes.set(xlim=(0, 1), ylim=(height, 0))
    axes.set_xticks(list(QUARTERS), QUARTERS.values())
    axes.grid(visible=False, axis="y")
    axes.spines["bottom"].set_visible(False)
    headings, named, y = [], [], 0.0
    for name, rows in blocks.items():
        headings.append((y + HEADING / 2, SHORT[name][0]))
        y += HEADING
        if name == PRIMARY:
            _draw_target(axes, data.target, y - 3, y + ROW * len(rows) + 3)
        for row in rows:
            _draw_row(axes, row, y + ROW / 2)
            named.append((y + ROW / 2, row))
            y += ROW
        y += GAP
    axes.set_yticks(
        [at for at, _ in headings] + [at for at, _ in named],
        [text for _, text in headings] + [row.name for _, row in named],
        color=INK,
    )
    bold = [True] * len(headings) + [row.style == "model" for _, row in named]
    for text, is_bold in zip(axes.get_yticklabels(), bold, strict=True):
        text.set_fontweight("bold" if is_bold else "normal")
    return figure_of(axes)


def _defined(score: Score | None) -> bool:
    return score is not None and score.estimate is not None


def _rows(data: ReportData, name: str) -> list[_Row]:
    groups: list[tuple[str, str, dict[str, Scores]]] = [
        ("Moola", "model", {"model": data.metrics}),
        ("best baseline", "baseline", data.baselines),
        ("best trivial baseline", "trivial_baseline", data.trivial_baselines),
        ("best ablation", "ablation", data.ablations),
        ("annotator, 2nd pass", "second_pass", {"second_pass": data.second_pass}),
    ]
    rows = []
    for title, style, among in groups:
        winner = data.baseline_beside(name) if style == "baseline" else best(among, name)
        if winner is not None:
            others = [
                scores[name] for method, scores in among.items() if method != winner[0] and name in scores
            ]
            rows.append(_Row(title, style, winner[1], others))
    return rows


def _draw_target(axes: Axes, target: Target, top: float, bottom: float) -> None:
    line = {"color": INK, "linewidth": 1.2, "linestyle": (0, (4, 3)), "label": "target"}
    axes.plot([target.estimate] * 2, [top, bottom], **line)
    place = {"xytext": (0, 2), "textcoords": "offset points", "ha": "center"}
    axes.annotate(f"target {target.estimate:.2f}", (target.estimate, top), **place)


def _draw_row(axes: Axes, row: _Row, y: float) -> None:
    others = [score.estimate for score in row.others if score.estimate is not None]
    light = {**MARKS[row.style], "mew": min(MARKS[row.style]["mew"], 1.2)}
    axes.plot(others, [y] * len(others), linestyle="none", alpha=0.38, label=f"other {row.style}", **light)
    if row.best.low is not None and row.best.high is not None:
        ends = [row.best.low, row.best.high]
        axes.plot(ends, [y, y], label=f"interval {row.style}", **INTERVALS[row.style])
    axes.plot([row.best.estimate or 0.0], [y], linestyle="none", label=row.style, **MARKS[row.style])
    weight = "bold" if row.style == "model" else "normal"
    place = {"xytext": (9, 0), "textcoords": "offset points", "va": "center_baseline", "fontweight": weight}
    axes.annotate(number(row.best.estimate), (1, y), **place)


@house_style()
def loss_figure(curves: Sequence[LossCurve], title: str) -> Figure | None:
    """Training loss solid, validation loss dashed, one pair per seed; None if nothing was recorded."""
    lines = [
        (style, np.asarray(losses, float))
        for curve in curves
        for style, losses in ((FIRST_LINE, curve.train), (SECOND_LINE, curve.validation))
    ]
    if not any(np.isfinite(losses).any() for _, losses in lines):
        return None
    n_epochs = max(len(losses) for _, losses in lines)
    axes = chart(f"{title}: loss over {n_epochs} epochs", "epoch", "loss")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
    axes.margins(x=0.03)
    for style, losses in lines:
        finite = np.flatnonzero(np.isfinite(losses))
        axes.plot(finite + 1, losses[finite], **{**style, "marker": ""})
        if style is SECOND_LINE and len(finite):
            lowest = finite[np.argmin(losses[finite])]
            circle = {"marker": "o", "markersize": 8, "mfc": PAPER, "mec": ORANGE, "mew": 2}
            axes.plot([lowest + 1], [losses[lowest]], label="lowest", zorder=3, **circle)
    return figure_of(axes)


@house_style()
def learning_figure(points: Sequence[LearningPoint]) -> Figure | None:
    """Type F1 by number of labels: pretrained solid and round, from scratch dashed and square."""
    pretrained = [(float(point.n_labels), point.pretrained) for point in points]
    scratch = [(float(point.n_labels), point.scratch) for point in points if point.scratch]
    if not any(_defined(score) for _, score in pretrained + scratch):
        return None
    axes = chart("Type F1 by number of labels", "labeled expansions in training", "type F1", key=True)
    aside = 0.008 * (max(n for n, _ in pretrained) - min(n for n, _ in pretrained))
    _draw_scores(axes, [(n - aside, score) for n, score in pretrained], FIRST_LINE, "pretrained")
    _draw_scores(axes, [(n + aside, score) for n, score in scratch], SECOND_LINE, "from scratch")
    axes.set_xticks([n for n, _ in pretrained], [f"{n:g}" for n, _ in pretrained])
    axes.margins(x=0.06)
    show_key(axes)
    return figure_of(axes)


@house_style()
def delay_figure(delays: dict[int, Score], hindsight: Score | None) -> Figure | None:
    """Live event F1 by delay after the start, beside that of the whole window."""
    known = [(float(bars), score) for bars, score in sorted(delays.items()) if _defined(score)]
    if not known:
        return None
    axes = chart("Event F1 by delay", "delay after the start, bars", "event F1", key=True)
    _draw_scores(axes, known, FIRST_LINE, "live")
    if hindsight is not None and hindsight.estimate is not None:
        axes.axhline(hindsight.estimate, label="whole window (hindsight)", **LEVEL)
    axes.set_xticks([bars for bars, _ in known], [f"{bars:g}" for bars, _ in known])
    axes.margins(x=0.04, y=0.08)
    show_key(axes)
    return figure_of(axes)


def _draw_scores(axes: Axes, pairs: Sequence[tuple[float, Score]], style: dict[str, Any], name: str) -> None:
    known = [(x, score.estimate) for x, score in pairs if score.estimate is not None]
    if not known:
        return
    bounded = [(x, s.low, s.high) for x, s in pairs if s.low is not None and s.high is not None]
    axes.plot(*zip(*known, strict=True), label=name, zorder=3, **style)
    for x, low, high in bounded:
        axes.vlines(x, low, high, color=style["color"], linewidth=1.5, label="_interval")


@house_style()
def path_figures(paths: Sequence[MeanPath]) -> dict[str, Figure]:
    """Mean path around the start by type: labeled solid, predicted dashed, on one scale."""
    kinds = dict.fromkeys(path.type for path in paths)
    drawn = {kind: _path_axes(kind, [path for path in paths if path.type == kind]) for kind in kinds}
    limits = [limit for axes in drawn.values() for limit in axes.get_ylim()]
    for axes in drawn.values():
        axes.set_ylim(min(limits), max(limits))
    return {kind: figure_of(axes) for kind, axes in drawn.items()}


def _path_axes(kind: str, paths: Sequence[MeanPath]) -> Axes:
    counted = " and ".join(f"{path.n} {path.source}" for path in paths)
    description = f"Mean close around the start of expansions after {kind}, {counted}"
    axes = chart(description, "bars since the start", "move since the close before the start, ATR", key=True)
    axes.axvline(0, **LEVEL)
    for path in paths:
        style = FIRST_LINE if path.source == "labeled" else SECOND_LINE
        band = {"facecolor": style["color"], "alpha": 0.17, "linewidth": 0}
        if path.source == "predicted":
            band = {"facecolor": "none", "edgecolor": ORANGE, "linewidth": 0.8, "linestyle": (0, (1.5, 2.5))}
        axes.fill_between(path.bars, path.low, path.high, label=f"_{path.source}", **band)
        axes.plot(path.bars, path.mean, label=f"{path.source}, n = {path.n}", **{**style, "marker": ""})
    axes.margins(x=0)
    show_key(axes)
    return axes


@house_style()
def reliability_figure(calibration: Calibration) -> Figure | None:
    """Share of retracements by P(retracement), with the range of a perfectly calibrated model."""
    if not calibration.bins:
        return None
    half = 0.06  # of the axis, which holds about 320 pixels: half the width of "n 123"
    centers = [min(max(it.probability, half), 1 - half) for it in calibration.bins]
    rows = free_rows([(center - half, center + half) for center in centers])
    axes = chart(
        "Reliability of P(retracement)",
        "predicted P(retracement)",
        "share of retracements",
        above=LINE_HEIGHT * (1 + max(rows)),
    )
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.set_xticks(list(QUARTERS), QUARTERS.values())
    axes.set_yticks(list(QUARTERS), QUARTERS.values())
    axes.plot([0, 1], [0, 1], color=SOFT, linestyle=(0, (1.2, 1.8)), label="diagonal")
    for group, center, row in zip(calibration.bins, centers, rows, strict=True):
        low, high = binom.ppf([0.025, 0.975], group.n, group.probability) / group.n
        axes.vlines(group.probability, low, high, color=SOFT, alpha=0.35, linewidth=12, label="_perfect")
        place = {"xytext": (0, 5 + LINE_HEIGHT * row), "textcoords": "offset points", "ha": "center"}
        axes.annotate(f"n {group.n}", (center, 1), **place)
    shares = [(it.probability, it.share) for it in calibration.bins]
    axes.plot(*np.transpose(shares), "o", color=BLUE, markersize=8, label="observed", zorder=3)
    return figure_of(axes)


@house_style()
def mix_figure(months: Sequence[MonthMix]) -> Figure | None:
    """Columns of expansions by type and of windows without any, per month and split; None without labels."""
    order = (*SPLITS, UNUSED)
    months = sorted(months, key=lambda month: (month.month, order.index(month.split)))
    counts = np.array([[getattr(month, kind) for kind in STACK] for month in months]).reshape(-1, len(STACK))
    if not counts.any():
        return None
    splits = [(name, len(list(group))) for name, group in groupby(months, key=lambda month: month.split)]
    below = 42 + LINE_HEIGHT * len(splits)
    description = f"Labels per month, {len(months)} months, at most {counts.sum(axis=1).max()} in one"
    axes = panel(description, 176 + below, left=36, right=MONTHS_RIGHT, top=22, bottom=below)
    axes.set(xlim=(0, len(months)), ylim=(0, 1.05 * counts.sum(axis=1).max()))
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=ROUND, integer=True))
    axes.set_xticks([])
    title_line(axes, "labels per month")
    floor = np.zeros(len(months))
    for kind, heights in zip(STACK, counts.T, strict=True):
        style = {"edgecolor": INK, "linewidth": 0.8, **STACK[kind]}
        columns = np.flatnonzero(heights)
        axes.bar(columns + 0.5, heights[columns], 0.76, floor[columns], label=kind, **style)
        floor += heights
    _name_months(pixel_rows(axes), months, splits)
    return figure_of(axes)


def _name_months(rows: Axes, months: Sequence[MonthMix], splits: Sequence[tuple[str, int]]) -> None:
    bottom, month_width = 176, (WIDTH - 36 - MONTHS_RIGHT) / len(months)
    if len(months) <= MAX_MONTHS_NAMED:
        for place, month in enumerate(months):
            rows.text(place + 0.5, bottom + 13, month.month[5:], color=SOFT, ha="center")
    first = 0
    for year, group in groupby(months, key=lambda month: month.month[:4]):
        following = first + len(list(group))
        if (following - first) * month_width >= YEAR_WIDTH or following == len(months):
            rows.text(first + 0.5, bottom + 28, year, color=SOFT, ha="center")
        first = following
    done = 0
    for row, (name, n) in enumerate(splits):
        y = bottom + 42 + LINE_HEIGHT * row
        rows.plot([done, done + n], [y, y], color=INK, linewidth=4, solid_capstyle="butt", label=name)
        ends_left = done > len(months) / 2
        side = {"xytext": (-6 if ends_left else 6, 0), "textcoords": "offset points", "va": "center"}
        rows.annotate(name, (done if ends_left else done + n, y), ha="right" if ends_left else "left", **side)
        done += n
