"""Marks as drawing objects of a trader's platform: a Pine script for TradingView, a csv for NinjaTrader."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from moola_pipeline.bars.schema import BAR_INTERVAL, nanoseconds

PINE_MOST = 500
"""TradingView keeps so many boxes, and as many labels, of one script."""
PINE_WRAPPED = 10
"""Values on a line of the script."""
NINJATRADER_COLUMNS = ("start", "end", "high", "low", "direction", "label", "probability", "p_retracement")
_NANOSECONDS_A_MILLISECOND = 1_000_000


class PineScript(NamedTuple):
    """A script, and how many of the marks it draws: the newest, where there are more than it may."""

    text: str
    n_drawn: int


def drawn_marks(expansions: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Expansions with what a rectangle around their bars needs.

    Args:
        expansions: EXPANSION_COLUMNS of `serving.predict_expansions`; where the end was not seen, the bar of
            the decision stands in for it.
        table: BAR_COLUMNS of the bars they were found in.

    Returns:
        The expansions, in order of time, with `high` and `low` of their bars, index points.
    """
    known = {name: expansions[name].fillna(expansions["decided_at"]) for name in ("started_at", "ended_at")}
    seen = expansions.assign(**known).sort_values("started_at", ignore_index=True)
    opened = nanoseconds(table)
    first = np.searchsorted(opened, nanoseconds(seen, "started_at"))
    last = np.searchsorted(opened, nanoseconds(seen, "ended_at"))
    bars = [slice(a, b + 1) for a, b in zip(first.tolist(), last.tolist(), strict=True)]
    high, low = table["high"].to_numpy(float), table["low"].to_numpy(float)
    return seen.assign(
        high=np.array([high[rows].max() for rows in bars], float),
        low=np.array([low[rows].min() for rows in bars], float),
    )


def pine_script(marks: pd.DataFrame, title: str, source: str) -> PineScript:
    """A Pine v6 indicator that draws a box around each expansion, and above or below it its type.

    Boxes lie between times (milliseconds in UTC), so that the chart may show any zone and any
    interval; their prices are those of the bars that were read.

    Args:
        marks: From `drawn_marks`.
        title: Name of the indicator.
        source: What was marked by what, for the head of the script.
    """
    drawn = marks.tail(PINE_MOST)
    shown = f"{len(drawn):,} of {len(marks):,}" if len(drawn) < len(marks) else f"{len(drawn):,}"
    why = f", the newest: TradingView keeps {PINE_MOST} boxes" if len(drawn) < len(marks) else ""
    text = "\n".join(
        (
            "//@version=6",
            f"// {_one_line(source)}",
            f"// {shown} expansions{why}. Times are bar opens, milliseconds in UTC.",
            "// Prices are those of the bars that were read: on a back-adjusted chart boxes stand elsewhere.",
            f"indicator({_quoted(title)}, overlay = true, "
            f"max_boxes_count = {PINE_MOST}, max_labels_count = {PINE_MOST})",
            'shown = input.float(0.0, "Least probability", minval = 0.0, maxval = 1.0, step = 0.05)',
            "",
            *_pine_arrays(drawn),
            "",
            "var color retraced = color.new(color.orange, 80)",
            "var color paused = color.new(color.blue, 80)",
            "if barstate.islastconfirmedhistory and array.size(opens) > 0",
            "    for i = 0 to array.size(opens) - 1",
            "        if array.get(sure, i) >= shown",
            "            bool rises = array.get(up, i) == 1",
            "            bool after = array.get(retracement, i) == 1",
            "            color fill = after ? retraced : paused",
            "            box.new(array.get(opens, i), array.get(tops, i), array.get(closes, i), "
            "array.get(bottoms, i), xloc = xloc.bar_time, bgcolor = fill, "
            "border_color = color.new(fill, 30))",
            '            string said = (after ? "retracement " : "consolidation ") + '
            'str.tostring(array.get(sure, i), "0.00")',
            "            float price = rises ? array.get(bottoms, i) : array.get(tops, i)",
            "            label.new(array.get(opens, i), price, said, xloc = xloc.bar_time, "
            "style = rises ? label.style_label_up : label.style_label_down, "
            "color = color.new(fill, 30), textcolor = color.white, size = size.small)",
            "",
        )
    )
    return PineScript(text, len(drawn))


def ninjatrader_csv(marks: pd.DataFrame) -> str:
    """Rows for the indicator in deploy/ninjatrader: NINJATRADER_COLUMNS.

    Start and end are the closes of the first and the last bar, in UTC: NinjaTrader names a bar by
    its close.
    """
    closes = {
        name: (marks[column] + BAR_INTERVAL).dt.strftime("%Y-%m-%d %H:%M:%S")
        for name, column in (("start", "started_at"), ("end", "ended_at"))
    }
    rounded = {name: marks[name].round(4) for name in ("probability", "p_retracement")}
    rows = marks.assign(**closes, **rounded).loc[:, list(NINJATRADER_COLUMNS)]
    return rows.to_csv(index=False, lineterminator="\n")


def _pine_arrays(drawn: pd.DataFrame) -> Iterator[str]:
    times = {
        name: nanoseconds(drawn, name) // _NANOSECONDS_A_MILLISECOND for name in ("started_at", "ended_at")
    }
    yield from _pine_array("int", "opens", map(str, times["started_at"]))
    yield from _pine_array("int", "closes", map(str, times["ended_at"]))
    yield from _pine_array("float", "tops", map(_decimal, drawn["high"]))
    yield from _pine_array("float", "bottoms", map(_decimal, drawn["low"]))
    yield from _pine_array("int", "up", ("1" if way == "up" else "0" for way in drawn["direction"]))
    yield from _pine_array(
        "int", "retracement", ("1" if kind == "retracement" else "0" for kind in drawn["label"])
    )
    yield from _pine_array("float", "sure", (f"{share:.3f}" for share in drawn["probability"]))


def _pine_array(kind: str, name: str, values: Iterable[str]) -> Iterator[str]:
    """An array of the script; an empty one has to be made in another way."""
    held = list(values)
    if not held:
        yield f"var array<{kind}> {name} = array.new<{kind}>(0)"
        return
    lines = [", ".join(held[i : i + PINE_WRAPPED]) for i in range(0, len(held), PINE_WRAPPED)]
    yield f"var array<{kind}> {name} = array.from("
    # a continued line must not be indented by a multiple of four
    yield from (f"     {line}{',' if i < len(lines) - 1 else ')'}" for i, line in enumerate(lines))


def _decimal(price: float) -> str:
    """A number that Pine takes for a float: without a point it would be an int, of another array."""
    return str(round(float(price), 6))


def _quoted(text: str) -> str:
    return '"' + _one_line(text).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _one_line(text: str) -> str:
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
