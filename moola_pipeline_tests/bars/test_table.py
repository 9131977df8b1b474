"""The canonical bar table: sessions, contracts, and where a segment ends."""

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moola_pipeline.bars.schema import BAR_COLUMNS, validate_bars
from moola_pipeline.bars.table import build_table
from moola_pipeline_tests.bars.examples import made_up_bars

NO_ROLLS = None


def bars_at(*moments: str) -> pd.DataFrame:
    bars = made_up_bars(len(moments))
    return bars.assign(timestamp=pd.DatetimeIndex(moments, tz="UTC").as_unit("ns"))


def rolls_at(*rolls: tuple[str, str, str]) -> pd.DataFrame:
    times, old, new = zip(*rolls, strict=True)
    return pd.DataFrame(
        {
            "time": pd.DatetimeIndex(times, tz="UTC").as_unit("ns"),
            "old": pd.Series(old, dtype="str"),
            "new": pd.Series(new, dtype="str"),
        }
    )


def test_table_of_five_bars_around_the_evening_open_equals_hand_count():
    raw = bars_at(
        "2024-03-08 21:48", "2024-03-08 21:58", "2024-03-08 21:59",  # Friday, until 17:00 New York
        "2024-03-10 22:00", "2024-03-10 22:11",  # Sunday 18:00 New York, daylight saving began that day
    )  # fmt: skip

    table = build_table(raw, NO_ROLLS)

    assert tuple(table.columns) == BAR_COLUMNS
    assert table["session"].dt.strftime("%m-%d").tolist() == ["03-08"] * 3 + ["03-11"] * 2
    assert table["segment"].tolist() == [0, 0, 0, 1, 2]
    assert table["contract"].isna().tolist() == [True] * 5
    validate_bars(table)


def test_a_gap_of_ten_minutes_stays_in_the_segment_and_eleven_do_not():
    table = build_table(bars_at("2024-03-08 14:00", "2024-03-08 14:10", "2024-03-08 14:21"), NO_ROLLS)

    assert table["segment"].tolist() == [0, 0, 1]


def test_a_roll_inside_a_session_starts_a_segment():
    rolls = rolls_at(("2024-03-08 14:32", "NQH4", "NQM4"))

    table = build_table(made_up_bars(5), rolls)

    assert table["contract"].tolist() == ["NQH4", "NQH4", "NQM4", "NQM4", "NQM4"]
    assert table["segment"].tolist() == [0, 0, 1, 1, 1]
    assert set(table["session"]) == {pd.Timestamp("2024-03-08")}


def test_contract_codes_of_bars_are_kept_and_rolls_fill_missing_codes():
    rolls = rolls_at(("2024-03-08 14:32", "NQH4", "NQM4"))
    raw = made_up_bars(5).assign(contract=pd.Series(["NQH4", "NQM4", None, None, "NQM4"], dtype="str"))

    assert build_table(raw, rolls)["contract"].tolist() == ["NQH4", "NQM4", "NQM4", "NQM4", "NQM4"]
    without = build_table(raw, NO_ROLLS)
    assert without["contract"].isna().tolist() == [False, False, True, True, False]
    assert without["segment"].tolist() == [0, 1, 2, 2, 3]


@settings(max_examples=40, deadline=None)
@given(
    minutes=st.lists(st.integers(0, 4 * 1440), min_size=1, max_size=60, unique=True),
    roll_minute=st.integers(0, 4 * 1440),
)
def test_segments_equal_those_of_a_naive_loop(minutes: list[int], roll_minute: int):
    start = pd.Timestamp("2024-11-01 12:00", tz="UTC")
    opened_at = start + pd.to_timedelta(sorted(minutes), unit="min")
    raw = made_up_bars(len(minutes)).assign(timestamp=pd.DatetimeIndex(opened_at).as_unit("ns"))
    roll_time = start + timedelta(minutes=roll_minute)
    rolls = rolls_at((roll_time.tz_localize(None).isoformat(), "NQZ4", "NQH5"))

    table = build_table(raw, rolls)

    segment, before = 0, None
    for moment, session, number in zip(opened_at, table["session"], table["segment"], strict=True):
        day = (moment.tz_convert("America/New_York").tz_localize(None) + pd.Timedelta(hours=6)).normalize()
        now = (day, moment >= roll_time)
        if before is not None and (now != before[1] or moment - before[0] > timedelta(minutes=10)):
            segment += 1
        assert (session, number) == (day, segment)
        before = (moment, now)
    validate_bars(table)


def test_a_later_day_never_changes_an_earlier_one():
    rolls = rolls_at(("2024-03-08 20:00", "NQH4", "NQM4"))
    raw = made_up_bars(3_000)

    whole = build_table(raw, rolls)
    for n_bars in (1, 700, 1_500, 2_999):
        pd.testing.assert_frame_equal(build_table(raw.iloc[:n_bars], rolls), whole.iloc[:n_bars])


def test_timestamps_that_do_not_increase_are_refused():
    with pytest.raises(ValueError, match=r"strictly increase, got 2024-03-08 14:30:00\+00:00"):
        build_table(made_up_bars(3).iloc[[1, 0, 2]], NO_ROLLS)


def test_no_bars_give_no_rows():
    table = build_table(made_up_bars(2).iloc[:0], NO_ROLLS)

    assert tuple(table.columns) == BAR_COLUMNS
    assert table["segment"].dtype == np.int32
