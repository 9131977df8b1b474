"""The picture of the front page: each score with its interval, between its baselines and the ceiling."""

from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from moola_pipeline.report import svg
from moola_pipeline.report.data import HEADLINE_METRICS, ReportData, Score, Scores
from moola_pipeline.report.metric_catalog import PRIMARY, SHORT
from moola_pipeline.report.verdict import TARGET_BAND, interval_text, number

ROW, TITLE, GAP, AXIS = 19, 19, 9, 22
"""Heights in pixels: of a row, of a score's heading, between scores, of the axis."""
MARKS = {
    "peer": "M0 -5L5 4H-5Z",
    "baseline": "M0 -6V6",
    "ceiling": "M0 -6L6 0L0 6L-6 0Z",
}


@dataclass(frozen=True)
class _Row:
    name: str
    style: str
    best: Score
    others: Sequence[Score]


def score_picture(data: ReportData) -> str | None:
    """One picture for all headline scores that were measured; None if none was.

    Each has a row for the model, the best simpler method, the best baseline and
    the annotator's second look, with intervals; light marks are the other methods and answers.
    """
    measured = [name for name in HEADLINE_METRICS if _defined(data.metrics.get(name))]
    if not measured:
        return None
    blocks = [(name, _rows(data, name)) for name in measured]
    height = sum(TITLE + ROW * len(rows) + GAP for _, rows in blocks) + AXIS
    said = "; ".join(f"{HEADLINE_METRICS[name]} {interval_text(data.metrics[name])}" for name in measured)
    picture = svg.drawing(height, f"Scores from 0 to 1 with 95 % intervals: {said}")
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        x = svg.percent(tick)
        svg.add(picture, "line", x1=x, x2=x, y1=4, y2=height - AXIS, class_="grid")
        svg.add(picture, "text", f"{tick:g}", x=x, y=height - AXIS + 15, class_="tick middle")
    y = 0.0
    for name, rows in blocks:
        y = _block(picture, data, name, rows, y)
    return svg.markup(picture)


def interval_picture(score: Score, level: float | None) -> str:
    """A score and its interval in the width of a table cell, before a level to compare with."""
    picture = svg.drawing(14, interval_text(score))
    svg.add(picture, "line", x1="0%", x2="100%", y1=7, y2=7, class_="grid")
    if level is not None:
        x = svg.percent(level)
        svg.add(picture, "line", x1=x, x2=x, y1=0, y2=14, class_="level")
    _interval(picture, score, 7, "model")
    if score.estimate is not None:
        svg.add(picture, "circle", cx=svg.percent(score.estimate), cy=7, r=4, class_="mark model")
    return svg.markup(picture)


def _rows(data: ReportData, name: str) -> list[_Row]:
    groups: list[tuple[str, str, dict[str, Scores]]] = [
        ("Moola", "model", {"model": data.metrics}),
        ("best simpler method", "peer", data.peers),
        ("best baseline", "baseline", data.baselines),
        ("annotator, 2nd look", "ceiling", {"ceiling": data.ceiling}),
    ]
    rows = []
    for title, style, among in groups:
        best = data.best(among, name)
        if best is not None:
            others = [scores[name] for rival, scores in among.items() if rival != best[0] and name in scores]
            rows.append(_Row(title, style, best[1], others))
    return rows


def _block(picture: Element, data: ReportData, name: str, rows: Sequence[_Row], y: float) -> float:
    """Draw one score's rows from y on; returns where the next may begin."""
    svg.add(picture, "text", SHORT[name][0], x=0, dx=-4, y=y + 14, class_="heading end")
    top, bottom = y + TITLE, y + TITLE + ROW * len(rows)
    if name == PRIMARY:
        low, high = TARGET_BAND
        box = {"x": svg.percent(low), "width": svg.percent(high - low), "y": top - 3, "height": bottom - top}
        svg.add(picture, "rect", **box, class_="target")
        middle = svg.percent((low + high) / 2)
        svg.add(picture, "text", "your target", x=middle, y=top - 6, class_="name middle")
    for row_number, row in enumerate(rows):
        _row(picture, row, top + ROW * (row_number + 0.5))
    return bottom + GAP


def _row(picture: Element, row: _Row, y: float) -> None:
    svg.add(picture, "text", row.name, x=0, dx=-8, y=y + 4, class_=f"label {row.style} end")
    for other in row.others:
        _mark(picture, other, y, row.style, "other")
    _interval(picture, row.best, y, row.style)
    if row.style == "model":
        if row.best.estimate is not None:
            svg.add(picture, "circle", cx=svg.percent(row.best.estimate), cy=y, r=5.5, class_="mark model")
    else:
        _mark(picture, row.best, y, row.style, "mark")
    text = number(row.best.estimate)
    svg.add(picture, "text", text, x="100%", dx=8, y=y + 4, class_=f"label {row.style}")


def _interval(picture: Element, score: Score, y: float, style: str) -> None:
    if score.low is not None and score.high is not None:
        ends = {"x1": svg.percent(score.low), "x2": svg.percent(score.high)}
        svg.add(picture, "line", **ends, y1=y, y2=y, class_=f"interval {style}")


def _mark(picture: Element, score: Score, y: float, style: str, kind: str) -> None:
    if score.estimate is not None:
        place = svg.add(picture, "svg", x=svg.percent(score.estimate), y=y, overflow="visible")
        svg.add(place, "path", d=MARKS[style], class_=f"{kind} {style}")


def _defined(score: Score | None) -> bool:
    return score is not None and score.estimate is not None
