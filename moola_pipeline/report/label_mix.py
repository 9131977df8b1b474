"""The labels of each month as stacked columns, told apart without color."""

from collections.abc import Sequence
from itertools import groupby
from xml.etree.ElementTree import Element

from moola_pipeline.labels.splits import SPLITS, UNUSED
from moola_pipeline.report import svg
from moola_pipeline.report.data import MonthMix

TOP, BOTTOM, SPLIT_ROW = 20, 170, 15
ORDER = (*SPLITS, UNUSED)
"""Of what shares a month."""
KINDS = ("retracement", "consolidation", "none")
"""From the bottom up."""
MOST_NAMED = 14
"""With more columns than these only the years are written."""


def mix_picture(months: Sequence[MonthMix]) -> str | None:
    """Columns of expansions by type and windows without any, split by split; None without labels."""
    months = sorted(months, key=lambda month: (month.month, ORDER.index(month.split)))
    tallest = max((_total(month) for month in months), default=0)
    if not tallest:
        return None
    splits = [(name, list(group)) for name, group in groupby(months, key=lambda month: month.split)]
    said = f"Labels of {len(months)} months, at most {tallest} in one"
    picture = svg.drawing(BOTTOM + 42 + SPLIT_ROW * len(splits), said)
    scale = (BOTTOM - TOP) / (1.05 * tallest)
    svg.add(picture, "text", "labels of a month", x=0, dx=-30, y=10, class_="tick")
    for tick in (tick for tick in svg.round_ticks(0, 1.05 * tallest, at_most=5) if tick == int(tick)):
        y = BOTTOM - float(tick) * scale
        svg.add(picture, "line", x1="0%", x2="100%", y1=y, y2=y, class_="grid")
        svg.add(picture, "text", f"{tick:g}", x=0, dx=-6, y=y + 4, class_="tick end")
    for place, month in enumerate(months):
        _column(picture, month, place / len(months), 1 / len(months), scale)
    _names(picture, months)
    _split_bars(picture, [(name, len(group)) for name, group in splits], len(months))
    return svg.markup(picture)


def _total(month: MonthMix) -> int:
    return sum(getattr(month, kind) for kind in KINDS)


def _column(picture: Element, month: MonthMix, left: float, width: float, scale: float) -> None:
    y = float(BOTTOM)
    for kind in KINDS:
        height = getattr(month, kind) * scale
        y -= height
        box = {"x": svg.percent(left + 0.12 * width), "width": svg.percent(0.76 * width)}
        if height:
            svg.add(picture, "rect", **box, y=y, height=height, class_=f"stack {kind}")


def _names(picture: Element, months: Sequence[MonthMix]) -> None:
    named = ""
    for place, month in enumerate(months):
        year, _, number = month.month.partition("-")
        x = svg.percent((place + 0.5) / len(months))
        if len(months) <= MOST_NAMED:
            svg.add(picture, "text", number, x=x, y=BOTTOM + 15, class_="tick middle")
        if year != named:
            svg.add(picture, "text", year, x=x, y=BOTTOM + 29, class_="tick middle")
            named = year


def _split_bars(picture: Element, splits: Sequence[tuple[str, int]], n_months: int) -> None:
    done = 0
    for row, (name, n) in enumerate(splits):
        left, right = done / n_months, (done + n) / n_months
        y = BOTTOM + 44 + SPLIT_ROW * row
        svg.add(picture, "line", x1=svg.percent(left), x2=svg.percent(right), y1=y, y2=y, class_="core")
        ends_left = left > 0.5
        anchor = svg.percent(left if ends_left else right)
        style = "name end" if ends_left else "name"
        svg.add(picture, "text", name, x=anchor, dx=-6 if ends_left else 6, y=y + 4, class_=style)
        done += n
