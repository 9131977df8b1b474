"""Cleaning of rows: which are kept, dropped, set aside or refused."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moola_pipeline.bars.cleaning import RowCounts, sift_bars, without_bars
from moola_pipeline.bars.instruments import INSTRUMENTS, NQ
from moola_pipeline.bars.row_rules import CellFault
from moola_pipeline.errors import BadInput
from moola_pipeline_tests.bars.examples import made_up_bars


def refusal(bars: pd.DataFrame) -> str:
    with pytest.raises(BadInput) as caught:
        sift_bars(bars, NQ, "bars.csv")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_late_rows_are_sorted_and_repeated_rows_dropped_and_both_counted():
    made_up = made_up_bars(6)
    rows = made_up.iloc[[0, 2, 1, 3, 3, 4, 5]]

    sifted = sift_bars(rows.reset_index(drop=True), NQ, "bars.csv")
    bars, counts = sifted.bars, sifted.counts

    pd.testing.assert_frame_equal(bars, made_up)
    assert counts == RowCounts(read=7, kept=6, duplicates=1, out_of_order=1)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 19), min_size=40, max_size=80), st.randoms())
def test_order_and_repeats_of_rows_do_not_change_the_bars(rows: list[int], random):
    made_up = made_up_bars(20)
    shuffled = [*range(20), *rows]
    random.shuffle(shuffled)

    sifted = sift_bars(made_up.iloc[shuffled].reset_index(drop=True), NQ, "bars.csv")
    bars, counts = sifted.bars, sifted.counts

    pd.testing.assert_frame_equal(bars, made_up)
    assert (counts.read, counts.kept, counts.duplicates) == (len(shuffled), 20, len(rows))


def test_the_repeated_row_with_a_volume_is_kept():
    made_up = made_up_bars(4)
    without = made_up.assign(volume=pd.array([pd.NA] * 4, dtype="Int64"))

    sifted = sift_bars(pd.concat([without, made_up], ignore_index=True), NQ, "bars.csv")
    bars, counts = sifted.bars, sifted.counts

    pd.testing.assert_frame_equal(bars, made_up)
    assert counts.duplicates == 4


def one_bar(column: str, value: object, row: int = 2) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(bars: pd.DataFrame) -> pd.DataFrame:
        bars.loc[row, column] = value
        return bars

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            one_bar("close", np.nan),
            "every bar must have four finite prices, but 1 of 6 do not, first in row 3 (2024-03-08 14:32",
        ),
        (one_bar("close", np.inf), "four finite prices"),
        (one_bar("low", 0.0), "prices above 0 points"),
        (one_bar("high", 1.0), "low <= open and close <= high, but 1 of 6"),
        (one_bar("low", 99_000.0), "low <= open and close <= high"),
        (one_bar("high", 18_100.1), "prices on the tick grid, but 1 of 6 do not, first in row 3"),
        (one_bar("volume", -1), "a volume of 0 or more"),
        (
            one_bar("timestamp", pd.NaT),
            "every bar must have a time, written as in most rows, but 1 of 6 do not, first in row 3.",
        ),
        (
            lambda bars: bars.assign(timestamp=bars["timestamp"] + pd.Timedelta(seconds=7)),
            "open on a whole minute",
        ),
    ],
)
def test_invalid_bars_are_refused_with_their_count_and_the_first_row(change: Callable, words: str):
    text = refusal(change(made_up_bars(6)))

    assert text.startswith("bars.csv")
    assert words in text


def test_two_different_bars_of_the_same_minute_are_refused_with_both_values():
    made_up = made_up_bars(6)
    second = made_up.iloc[[2]].assign(volume=12_345)

    text = refusal(pd.concat([made_up, second], ignore_index=True))

    values = {
        f"volume {one} and {other}"
        for one, other in [(made_up["volume"][2], 12_345), (12_345, made_up["volume"][2])]
    }
    assert "1 minute differs, first 2024-03-08 14:32:00+00:00" in text
    assert any(value in text for value in values)


def test_the_tick_grid_depends_on_the_instrument():
    cents = made_up_bars(6).assign(high=lambda bars: bars["high"] + 0.1)

    with pytest.raises(BadInput, match=r"bars.csv \(ES\).*tick grid.*name the right instrument"):
        sift_bars(cents, INSTRUMENTS["ES"], "bars.csv")


def test_the_input_frame_is_not_changed():
    rows = made_up_bars(6).iloc[::-1].reset_index(drop=True)
    before = rows.copy(deep=True)

    sift_bars(rows, NQ, "bars.csv")

    pd.testing.assert_frame_equal(rows, before)


def test_a_few_invalid_rows_are_set_aside_with_row_and_reason():
    bars = made_up_bars(400)
    bars.loc[10, "close"] = np.nan
    bars.loc[20, "high"] += 0.1
    bars.loc[30, "timestamp"] = pd.NaT
    odd = np.zeros(400, bool)
    odd[40] = True

    cells = pa.chunked_array([pa.array([f"{row}.5" for row in range(400)])])
    fault = CellFault("have a whole volume", odd, "Vol", cells)

    sifted = sift_bars(bars, NQ, "bars.csv", faults=[fault])

    assert sifted.rejected[["row", "reason", "found"]].to_numpy().tolist() == [
        [11, "a bar must have four finite prices", ""],
        [21, "a bar must have prices on the tick grid", ""],
        [31, "a bar must have a time, written as in most rows", ""],
        [41, "a bar must have a whole volume", "Vol is '40.5'"],
    ]
    assert sifted.counts == RowCounts(read=400, kept=396, duplicates=0, out_of_order=0, rejected=4)
    expected = made_up_bars(400).drop(index=[10, 20, 30, 40]).reset_index(drop=True)
    pd.testing.assert_frame_equal(sifted.bars, expected)


def test_an_invalid_row_counts_once_by_its_first_broken_rule():
    bars = made_up_bars(6)
    bars.loc[1, "low"] = -1.0  # not positive, and out of bounds
    bars.loc[2, "close"] = np.nan
    bars.loc[3, "high"] = np.nan
    assert refusal(bars) == (
        "bars.csv (NQ): every bar must have four finite prices, but 2 of 6 do not, first in row 3 "
        "(2024-03-08 14:32:00 UTC); 3 rows are invalid in total. Correct the file, or export it again."
    )


def test_bars_set_aside_later_count_toward_the_same_limit():
    bars = made_up_bars(300)
    bars.loc[7, "close"] = np.nan
    sifted = sift_bars(bars.iloc[::-1].reset_index(drop=True), NQ, "bars.csv")
    last_two = np.arange(299) >= 297
    fewer = without_bars(sifted, last_two, "be early", "bars.csv")
    assert fewer.counts == RowCounts(read=300, kept=297, duplicates=0, out_of_order=298, rejected=3)
    assert fewer.rejected[["row", "reason"]].to_numpy().tolist() == [
        [1, "a bar must be early"],
        [2, "a bar must be early"],
        [293, "a bar must have four finite prices"],
    ]
    assert fewer.rows.tolist() == [row for row in range(300, 2, -1) if row != 293]
    with pytest.raises(BadInput) as caught:
        without_bars(sifted, np.arange(299) >= 296, "be early", "bars.csv")
    assert str(caught.value) == (
        "bars.csv: at most 1% of the rows may be invalid, but 4 of 300 are, 3 of them because "
        "a bar must be early, first in row 1. Correct the file, or export it again."
    )


def test_a_file_with_more_than_one_percent_invalid_rows_is_refused():
    bars = made_up_bars(400)
    bars.loc[:3, "low"] = -1.0
    assert sift_bars(bars, NQ, "bars.csv").counts.rejected == 4
    bars.loc[4, "low"] = -1.0
    with pytest.raises(BadInput, match="prices above 0 points, but 5 of 400 do not"):
        sift_bars(bars, NQ, "bars.csv")


def test_minutes_with_different_bars_are_listed():
    bars = made_up_bars(10)
    other = bars.iloc[2:9].assign(volume=bars["volume"].iloc[2:9] + 1)
    text = refusal(pd.concat([bars, other], ignore_index=True))
    assert "7 minutes differ, first 2024-03-08 14:32:00+00:00: volume" in text
    assert "(then 2024-03-08 14:33, 2024-03-08 14:34, 2024-03-08 14:35, 2024-03-08 14:36, ...)" in text
