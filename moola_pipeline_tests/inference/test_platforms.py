"""Export to Pine and NinjaTrader: times, prices, limits and empty files."""

import io
import re

import numpy as np
import pandas as pd
import pytest

from moola_pipeline.inference.hindsight import EXPANSION_COLUMNS
from moola_pipeline.inference.platforms import (
    MAX_PINE_BOXES,
    NINJATRADER_COLUMNS,
    drawn_marks,
    ninjatrader_csv,
    pine_script,
)

OPENED = pd.Timestamp("2025-06-30T14:00Z")
MINUTE = pd.Timedelta(minutes=1)


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """The range widens with each bar, so the last bar of a span holds its high and its low."""
    t = np.arange(6000)
    times = pd.date_range(OPENED, periods=6000, freq="min").as_unit("ns")
    return pd.DataFrame({"timestamp": times, "high": 7000.25 + t, "low": 7000.0 - t})


def expansions(*spans: tuple[int, int | None], label: str = "retracement") -> pd.DataFrame:
    ended = [OPENED + MINUTE * last if last is not None else pd.NaT for _, last in spans]
    frame = pd.DataFrame(
        {
            "window_start": OPENED,
            "started_at": [OPENED + MINUTE * first for first, _ in spans],
            "ended_at": pd.Series(ended, dtype="datetime64[ns, UTC]"),
            "decided_at": OPENED + MINUTE * 104,
            "direction": "up",
            "probability": 0.75,
            "label": label,
            "p_retracement": 0.61234567,
            "mode": "hindsight",
            "model_version": "3",
        },
        columns=list(EXPANSION_COLUMNS),
    )
    times = ["window_start", "started_at", "ended_at", "decided_at"]
    return frame.astype(dict.fromkeys(times, "datetime64[ns, UTC]"))


def numbers(script: str, name: str) -> list[float]:
    match = re.search(rf"array<\w+> {name} = array.from\((.*?)\)", script, re.DOTALL)
    assert match is not None
    return [float(text) for text in match[1].split(",")]


def test_a_script_of_two_marks_worked_by_hand(table: pd.DataFrame):
    marks = drawn_marks(expansions((70, 76), (10, 12)), table)
    script = pine_script(marks, "Moola marks", "a.csv, models:/moola-nq@champion (version 3)")
    assert script.n_drawn == 2
    assert script.text.startswith(
        "//@version=6\n// a.csv, models:/moola-nq@champion (version 3)\n// 2 expansions. Times are bar opens"
    )
    first = OPENED.value // 10**6
    assert numbers(script.text, "opens") == [first + 10 * 60_000, first + 70 * 60_000]
    assert numbers(script.text, "closes") == [first + 12 * 60_000, first + 76 * 60_000]
    assert numbers(script.text, "tops") == [7012.25, 7076.25]
    assert numbers(script.text, "bottoms") == [6988, 6924]
    assert "     6988.0, 6924.0)" in script.text  # as ints they would be an array of another type
    assert numbers(script.text, "up") == numbers(script.text, "retracement") == [1, 1]
    assert numbers(script.text, "probability") == [0.75, 0.75]


def test_a_script_holds_the_newest_marks_up_to_the_limit_of_tradingview(table: pd.DataFrame):
    spans = [(9 * i, 9 * i + 4) for i in range(MAX_PINE_BOXES + 20)]
    script = pine_script(drawn_marks(expansions(*spans), table), "many", "many")
    assert script.n_drawn == MAX_PINE_BOXES
    assert f"// 500 of 520 expansions, the newest: TradingView draws {MAX_PINE_BOXES} boxes." in script.text
    assert numbers(script.text, "opens")[0] == (OPENED + MINUTE * 9 * 20).value // 10**6
    assert len(script.text) < 60_000


def test_continued_lines_are_not_indented_by_multiples_of_four(table: pd.DataFrame):
    script = pine_script(drawn_marks(expansions(*[(i, i + 1) for i in range(25)]), table), "m", "m")
    inside = script.text[script.text.index("array.from(") :].split(")")[0].splitlines()[1:]
    assert len(inside) == 3
    assert all((len(line) - len(line.lstrip())) % 4 for line in inside)
    assert inside[0].count(",") == 10 and not inside[-1].endswith(",")


def test_titles_and_sources_are_escaped(table: pd.DataFrame):
    nasty = 'a"b\\c\nplot(close)'
    script = pine_script(drawn_marks(expansions((1, 2)), table), nasty, nasty)
    assert 'indicator("a\\"b\\\\c plot(close)", overlay' in script.text
    assert not any(line.startswith("plot") for line in script.text.splitlines())


def test_a_script_without_marks_declares_empty_arrays(table: pd.DataFrame):
    script = pine_script(drawn_marks(expansions(), table), "none", "none")
    assert "var array<int> opens = array.new<int>(0)" in script.text
    assert "array.from()" not in script.text


def test_ninjatrader_rows_are_closes_in_utc_and_read_back(table: pd.DataFrame):
    text = ninjatrader_csv(drawn_marks(expansions((70, 76), label="consolidation"), table))
    assert text.splitlines() == [
        ",".join(NINJATRADER_COLUMNS),
        "2025-06-30 15:11:00,2025-06-30 15:17:00,7076.25,6924.0,up,consolidation,0.75,0.6123",
    ]
    assert len(pd.read_csv(io.StringIO(ninjatrader_csv(drawn_marks(expansions(), table))))) == 0


def test_an_expansion_without_an_end_is_drawn_to_the_bar_of_the_decision(table: pd.DataFrame):
    mark = drawn_marks(expansions((70, None)), table).iloc[0]
    assert mark["ended_at"] == OPENED + MINUTE * 104
    assert mark["high"] == 7104.25
