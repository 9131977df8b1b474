"""Pictures of a report as inline SVG: scores beside their rivals, and losses over the epochs."""

from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

import numpy as np

from moola_pipeline.evaluation import svg
from moola_pipeline.evaluation.report_data import HEADLINE_METRICS, LossCurve, ReportData, Score
from moola_pipeline.evaluation.verdict import interval_text, number

SCORE_HEIGHT = 134
PEER_NAME_Y, PEER_Y, MODEL_Y, BASELINE_Y, BASELINE_NAME_Y, AXIS_Y = 14, 30, 50, 70, 92, 104
LOSS_TOP, LOSS_BOTTOM = 8, 184
LOSS_STYLES = ("train", "validation")


def score_pictures(data: ReportData) -> dict[str, str]:
    """One SVG per headline metric that was measured, by its heading."""
    measured = {title: metric for metric, title in HEADLINE_METRICS.items() if metric in data.metrics}
    return {title: _score_picture(data, metric, title) for title, metric in measured.items()}


def loss_picture(curves: Sequence[LossCurve], title: str) -> str | None:
    """Training loss solid, validation loss dashed, one pair per seed; None if nothing was recorded."""
    lines = [(style, np.asarray(getattr(curve, style), float)) for curve in curves for style in LOSS_STYLES]
    recorded = np.concatenate([np.empty(0), *(losses for _, losses in lines)])
    recorded = recorded[np.isfinite(recorded)]
    if not len(recorded):
        return None
    frame = _LossFrame.around(recorded, n_epochs=max(len(losses) for _, losses in lines))
    picture = svg.drawing(LOSS_BOTTOM + 36, f"{title}: loss over {frame.n_epochs} epochs")
    _loss_axes(picture, frame)
    plot = svg.stretched(picture, 1000, 0, LOSS_BOTTOM)
    for style, losses in lines:
        known = np.isfinite(losses)
        x, y = 1000 * frame.x(np.arange(len(losses))), frame.y(losses)
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x[known], y[known], strict=True))
        svg.add(plot, "polyline", points=points, class_=f"loss {style}")
    for style, losses in lines:
        if style == "validation" and np.isfinite(losses).any():
            best = int(np.nanargmin(losses))
            place = {"cx": svg.percent(float(frame.x(np.array(best)))), "cy": float(frame.y(losses[best]))}
            svg.add(picture, "circle", **place, r=3.5, class_="lowest")
    return svg.markup(picture)


@dataclass(frozen=True)
class _LossFrame:
    low: float
    high: float
    n_epochs: int

    @classmethod
    def around(cls, losses: np.ndarray, n_epochs: int) -> "_LossFrame":
        low, high = float(losses.min()), float(losses.max())
        margin = 0.05 * (high - low) or 0.5 * abs(high) or 1.0
        return cls(low - margin, high + margin, n_epochs)

    def x(self, epoch: np.ndarray) -> np.ndarray:
        """Share of the width of an epoch counted from 0."""
        return epoch / (self.n_epochs - 1) if self.n_epochs > 1 else np.full(np.shape(epoch), 0.5)

    def y(self, loss: np.ndarray) -> np.ndarray:
        return LOSS_TOP + (self.high - loss) / (self.high - self.low) * (LOSS_BOTTOM - LOSS_TOP)


def _score_picture(data: ReportData, metric: str, title: str) -> str:
    score = data.metrics[metric]
    picture = svg.drawing(SCORE_HEIGHT, f"{title}: {interval_text(score)} beside baselines and peers")
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        x = svg.percent(tick)
        svg.add(picture, "line", x1=x, x2=x, y1=0, y2=AXIS_Y, class_="grid")
        svg.add(picture, "text", f"{tick:g}", x=x, y=AXIS_Y + 15, class_="tick middle")
    svg.add(picture, "line", x1="0%", x2="100%", y1=AXIS_Y, y2=AXIS_Y, class_="axis")
    _rivals(picture, [scores.get(metric) for scores in data.peers.values()], PEER_Y, "M0 -5L5 4H-5Z", "peer")
    _rivals(
        picture, [scores.get(metric) for scores in data.baselines.values()], BASELINE_Y, "M0 -6V6", "baseline"
    )
    _rivals(picture, [data.ceiling.get(metric)], MODEL_Y, "M0 -7L7 0L0 7L-7 0Z", "ceiling")
    _named(picture, data.best(data.peers, metric), PEER_NAME_Y)
    _named(picture, data.best(data.baselines, metric), BASELINE_NAME_Y)
    if score.estimate is not None:
        if score.low is not None and score.high is not None:
            ends = {"x1": svg.percent(score.low), "x2": svg.percent(score.high)}
            svg.add(picture, "line", **ends, y1=MODEL_Y, y2=MODEL_Y, class_="interval")
        svg.add(picture, "circle", cx=svg.percent(score.estimate), cy=MODEL_Y, r=6, class_="model")
    return svg.markup(picture)


def _rivals(picture: Element, scores: Sequence[Score | None], y: float, path: str, style: str) -> None:
    for score in scores:
        if score is not None and score.estimate is not None:
            place = svg.add(picture, "svg", x=svg.percent(score.estimate), y=y, overflow="visible")
            svg.add(place, "path", d=path, class_=style)


def _named(picture: Element, best: tuple[str, Score] | None, y: float) -> None:
    if best is None or best[1].estimate is None:
        return
    name, share = best[0], best[1].estimate
    anchor, dx = ("", -6) if share < 0.25 else (" end", 6) if share > 0.75 else (" middle", 0)
    text = f"{name} {number(share)}"
    svg.add(picture, "text", text, x=svg.percent(share), dx=dx, y=y, class_=f"name{anchor}")


def _loss_axes(picture: Element, frame: _LossFrame) -> None:
    for tick in svg.round_ticks(frame.low, frame.high):
        y = float(frame.y(tick))
        svg.add(picture, "line", x1="0%", x2="100%", y1=y, y2=y, class_="grid")
        svg.add(picture, "text", f"{tick:.4g}", x=0, dx=-6, y=y + 4, class_="tick end")
    shown = np.unique(np.rint(np.linspace(0, frame.n_epochs - 1, min(frame.n_epochs, 5))).astype(int))
    for epoch, share in zip(shown, frame.x(shown), strict=True):
        place = svg.percent(float(share))
        svg.add(picture, "text", f"{epoch + 1}", x=place, y=LOSS_BOTTOM + 16, class_="tick middle")
    svg.add(picture, "line", x1="0%", x2="100%", y1=LOSS_BOTTOM, y2=LOSS_BOTTOM, class_="axis")
    svg.add(picture, "text", "epoch", x="50%", y=LOSS_BOTTOM + 32, class_="tick middle")
