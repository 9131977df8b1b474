"""Export of expansions to trading platforms: a Pine script for TradingView, a csv for NinjaTrader."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from moola_pipeline.bars.schema import BAR_INTERVAL, nanoseconds

MAX_PINE_BOXES = 500
"""TradingView's limit on boxes, and on labels, per script."""
PINE_VALUES_PER_LINE = 10
"""Values on one line of the script."""
NINJATRADER_COLUMNS = ("start", "end", "high", "low", "direction", "label", "probability", "p_retracement")
_NANOSECONDS_PER_MILLISECOND = 1_000_000


class PineScript(NamedTuple):
    """A script and the number of marks in it: the newest ones if there are more than the limit."""

    text: str
    n_drawn: int


def drawn_marks(expansions: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Expansions with the prices of a rectangle around their bars.

    Args:
        expansions: EXPANSION_COLUMNS; `decided_at` replaces an `ended_at` that is null.
        table: BAR_COLUMNS of the bars they were found in.

    Returns:
        The expansions, in order of time, with `high` and `low` of their bars, index points.
    """
    times = {name: expansions[name].fillna(expansions["decided_at"]) for name in ("started_at", "ended_at")}
    marks = expansions.assign(**times).sort_values("started_at", ignore_index=True)
    opened = nanoseconds(table)
    first = np.searchsorted(opened, nanoseconds(marks, "started_at"))
    last = np.searchsorted(opened, nanoseconds(marks, "ended_at"))
    bars = [slice(a, b + 1) for a, b in zip(first.tolist(), last.tolist(), strict=True)]
    high, low = table["high"].to_numpy(float), table["low"].to_numpy(float)
    return marks.assign(
        high=np.array([high[rows].max() for rows in bars], float),
        low=np.array([low[rows].min() for rows in bars], float),
    )


def pine_script(marks: pd.DataFrame, title: str, source: str) -> PineScript:
    """A Pine v6 indicator: a box around each expansion, with its type above or below it.

    Times are milliseconds in UTC, so the chart may use any zone and any interval. Prices are
    those of the input bars.

    Args:
        marks: From `drawn_marks`.
        title: Name of the indicator.
        source: Input file and model, for a comment at the head of the script.
    """
    drawn = marks.tail(MAX_PINE_BOXES)
    count = f"{len(drawn):,} of {len(marks):,}" if len(drawn) < len(marks) else f"{len(drawn):,}"
    limit = f", the newest: TradingView draws {MAX_PINE_BOXES} boxes" if len(drawn) < len(marks) else ""
    text = "\n".join(
        (
            "//@version=6",
            f"// {_one_line(source)}",
            f"// {count} expansions{limit}. Times are bar opens, milliseconds in UTC.",
            "// Prices are those of the input bars: boxes do not fit a back-adjusted chart.",
            f"indicator({_quoted(title)}, overlay = true, "
            f"max_boxes_count = {MAX_PINE_BOXES}, max_labels_count = {MAX_PINE_BOXES})",
            'minimum = input.float(0.0, "Minimum probability", minval = 0.0, maxval = 1.0, step = 0.05)',
            "",
            *_pine_arrays(drawn),
            "",
            "var color retracement_color = color.new(color.orange, 80)",
            "var color consolidation_color = color.new(color.blue, 80)",
            "if barstate.islastconfirmedhistory and array.size(opens) > 0",
            "    for i = 0 to array.size(opens) - 1",
            "        if array.get(probability, i) >= minimum",
            "            bool rises = array.get(up, i) == 1",
            "            bool is_retracement = array.get(retracement, i) == 1",
            "            color fill = is_retracement ? retracement_color : consolidation_color",
            "            box.new(array.get(opens, i), array.get(tops, i), array.get(closes, i), "
            "array.get(bottoms, i), xloc = xloc.bar_time, bgcolor = fill, "
            "border_color = color.new(fill, 30))",
            '            string caption = (is_retracement ? "retracement " : "consolidation ") + '
            'str.tostring(array.get(probability, i), "0.00")',
            "            float price = rises ? array.get(bottoms, i) : array.get(tops, i)",
            "            label.new(array.get(opens, i), price, caption, xloc = xloc.bar_time, "
            "style = rises ? label.style_label_up : label.style_label_down, "
            "color = color.new(fill, 30), textcolor = color.white, size = size.small)",
            "",
        )
    )
    return PineScript(text, len(drawn))


def ninjatrader_csv(marks: pd.DataFrame) -> str:
    """Rows for the indicator in deploy/ninjatrader: NINJATRADER_COLUMNS.

    Start and end are the closes of the first and the last bar, in UTC: NinjaTrader stamps a bar
    with its close.
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
        name: nanoseconds(drawn, name) // _NANOSECONDS_PER_MILLISECOND for name in ("started_at", "ended_at")
    }
    yield from _pine_array("int", "opens", map(str, times["started_at"]))
    yield from _pine_array("int", "closes", map(str, times["ended_at"]))
    yield from _pine_array("float", "tops", map(_decimal, drawn["high"]))
    yield from _pine_array("float", "bottoms", map(_decimal, drawn["low"]))
    yield from _pine_array(
        "int", "up", ("1" if direction == "up" else "0" for direction in drawn["direction"])
    )
    yield from _pine_array(
        "int", "retracement", ("1" if kind == "retracement" else "0" for kind in drawn["label"])
    )
    yield from _pine_array("float", "probability", (f"{p:.3f}" for p in drawn["probability"]))


def _pine_array(kind: str, name: str, values: Iterable[str]) -> Iterator[str]:
    """Declare an array of the script; array.from() cannot be empty."""
    texts = list(values)
    if not texts:
        yield f"var array<{kind}> {name} = array.new<{kind}>(0)"
        return
    lines = [
        ", ".join(texts[i : i + PINE_VALUES_PER_LINE]) for i in range(0, len(texts), PINE_VALUES_PER_LINE)
    ]
    yield f"var array<{kind}> {name} = array.from("
    # a continued line must not be indented by a multiple of four
    yield from (f"     {line}{',' if i < len(lines) - 1 else ')'}" for i, line in enumerate(lines))


def _decimal(price: float) -> str:
    """A price with a decimal point: without one, Pine reads an int."""
    return str(round(float(price), 6))


def _quoted(text: str) -> str:
    return '"' + _one_line(text).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _one_line(text: str) -> str:
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
