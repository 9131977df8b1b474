"""Line charts of a report: losses, learning curve, delay curve, average path, reliability."""

from collections.abc import Iterable, Sequence
from xml.etree.ElementTree import Element

import numpy as np
from scipy.stats import binom

from moola_pipeline.report import svg
from moola_pipeline.report.axes import (
    BOTTOM,
    TOP,
    Axes,
    draw_band,
    draw_dot,
    draw_level,
    draw_line,
    draw_whisker,
    framed,
)
from moola_pipeline.report.data import Calibration, LearningPoint, LossCurve, MeanPath, Score

LOSS_STYLES = {"train": "solid", "validation": "dashed"}
PATH_STYLES = {"labeled": "solid", "predicted": "dashed"}
MOST_EPOCH_TICKS = 5


def loss_picture(curves: Sequence[LossCurve], title: str) -> str | None:
    """Training loss solid, validation loss dashed, one pair per seed; None if nothing was recorded."""
    lines = [(part, np.asarray(getattr(curve, part), float)) for curve in curves for part in LOSS_STYLES]
    recorded = np.concatenate([np.empty(0), *(losses for _, losses in lines)])
    if not np.isfinite(recorded).any():
        return None
    n_epochs = max(len(losses) for _, losses in lines)
    axes = Axes.around(np.arange(1, n_epochs + 1), recorded)
    shown = np.unique(np.rint(np.linspace(1, n_epochs, min(n_epochs, MOST_EPOCH_TICKS))).astype(int))
    ticks = [(float(epoch), str(epoch)) for epoch in shown]
    picture = framed(axes, f"{title}: loss over {n_epochs} epochs", "epoch", "loss", ticks)
    for part, losses in lines:
        draw_line(picture, axes, np.arange(1, len(losses) + 1), losses, LOSS_STYLES[part])
    for part, losses in lines:
        if part == "validation" and np.isfinite(losses).any():
            best = int(np.nanargmin(np.where(np.isfinite(losses), losses, np.nan)))
            draw_dot(picture, axes, best + 1, float(losses[best]), "lowest")
    return svg.markup(picture)


def learning_picture(points: Sequence[LearningPoint]) -> str | None:
    """Type F1 by labels trained on: pretrained solid and round, from scratch dashed and square."""
    series = {
        "solid": ("pretrained", [(point.n_labels, point.pretrained) for point in points]),
        "dashed": ("from scratch", [(point.n_labels, point.scratch) for point in points if point.scratch]),
    }
    known = [score for _, pairs in series.values() for _, score in pairs if score.estimate is not None]
    if not known:
        return None
    counts = [float(point.n_labels) for point in points]
    axes = Axes.around(counts, _bounds(known), x_margin=0.06)
    ticks = [(count, f"{count:g}") for count in counts]
    picture = framed(axes, "Type F1 by labels trained on", "expansions to learn from", "type F1", ticks)
    aside = 0.008 * (axes.x_high - axes.x_low)
    for row, (style, (name, pairs)) in enumerate(series.items()):
        shift = aside if style == "dashed" else -aside
        if pairs:
            _dotted_line(picture, axes, [(n + shift, score) for n, score in pairs], style)
            _keyed(picture, 34 + 16 * row, style, name)
    return svg.markup(picture)


def delay_picture(delays: dict[int, Score], hindsight: Score | None) -> str | None:
    """Event F1 by bars waited after the start, beside that of the whole window."""
    known = {bars: score for bars, score in sorted(delays.items()) if score.estimate is not None}
    if not known:
        return None
    level = hindsight.estimate if hindsight else None
    bounds = _bounds(known.values()) + ([level] if level is not None else [])
    axes = Axes.around(list(known), bounds, x_margin=0.04)
    ticks = [(float(bars), str(bars)) for bars in known]
    picture = framed(axes, "Event F1 by bars waited", "bars waited after the first one", "event F1", ticks)
    if level is not None:
        draw_level(picture, axes, level, "the whole window read (hindsight)")
    _dotted_line(picture, axes, [(float(bars), score) for bars, score in known.items()], "solid")
    return svg.markup(picture)


def path_pictures(paths: Sequence[MeanPath]) -> dict[str, str]:
    """By type: the mean path around the start, as labeled (solid) and as predicted (dashed)."""
    if not paths:
        return {}
    everything = [value for path in paths for values in (path.mean, path.low, path.high) for value in values]
    bars = [float(bar) for path in paths for bar in path.bars]
    axes = Axes.around(bars, everything)
    kinds = dict.fromkeys(path.type for path in paths)
    return {kind: _path_picture(kind, [path for path in paths if path.type == kind], axes) for kind in kinds}


def _path_picture(kind: str, paths: Sequence[MeanPath], axes: Axes) -> str:
    counted = " and ".join(f"{path.n} {path.source}" for path in paths)
    said = f"Mean close around the start of a {kind} expansion, {counted}"
    picture = framed(axes, said, "bars from the start", "ATR from the close before the start")
    zero = axes.place(0.0)
    svg.add(picture, "line", x1=zero, x2=zero, y1=TOP, y2=BOTTOM, class_="level")
    for path in paths:
        draw_band(picture, axes, path.bars, path.low, path.high, PATH_STYLES[path.source])
    for path in paths:
        draw_line(picture, axes, path.bars, path.mean, PATH_STYLES[path.source])
    for place, path in enumerate(paths):
        _keyed(picture, 34 + 16 * place, PATH_STYLES[path.source], f"{path.source}, n = {path.n}")
    return svg.markup(picture)


def _keyed(picture: Element, y: float, style: str, text: str) -> None:
    svg.add(picture, "line", x1=8, x2=34, y1=y - 4, y2=y - 4, class_=f"line {style}")
    svg.add(picture, "text", text, x=40, y=y, class_="name")


def reliability_picture(calibration: Calibration) -> str | None:
    """Share labeled retracement by stated probability, with what chance gives a perfect model."""
    if not calibration.bins:
        return None
    axes = Axes(0.0, 1.0, 0.0, 1.0)
    picture = framed(
        axes, "Reliability of P(retracement)", "stated probability of a retracement", "share that was one"
    )
    draw_line(picture, axes, [0, 1], [0, 1], "dotted")
    for one in calibration.bins:
        low, high = binom.ppf([0.025, 0.975], one.n, one.probability) / one.n
        draw_whisker(picture, axes, one.probability, float(low), float(high), "perfect")
    for one in calibration.bins:
        draw_dot(picture, axes, one.probability, one.share, "solid")
        side = "start" if one.probability < 0.85 else "end"
        svg.add(
            picture, "text", f"n {one.n}", x=axes.place(one.probability), dx=9 if side == "start" else -9,
            y=axes.y(one.share) + 4, class_=f"name {side}",
        )  # fmt: skip
    return svg.markup(picture)


def _dotted_line(picture: Element, axes: Axes, pairs: Sequence[tuple[float, Score]], style: str) -> None:
    known = [(x, score) for x, score in pairs if score.estimate is not None]
    draw_line(picture, axes, [x for x, _ in known], [score.estimate or 0.0 for _, score in known], style)
    for x, score in known:
        if score.low is not None and score.high is not None:
            draw_whisker(picture, axes, x, score.low, score.high, style)
        draw_dot(picture, axes, x, score.estimate or 0.0, style)


def _bounds(scores: Iterable[Score]) -> list[float]:
    bounds = [bound for score in scores for bound in (score.low, score.high, score.estimate)]
    return [bound for bound in bounds if bound is not None]
