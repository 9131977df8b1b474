"""Times written as text: layouts, invalid cells, ambiguous dates."""

from datetime import datetime

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moola_pipeline.bars.time_parsing import text_times
from moola_pipeline.errors import BadInput


def column(*cells: str | None) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(cells, pa.string())])


def read(*cells: str | None) -> list[str | None]:
    times, _ = text_times(column(*cells), "time", "nq.csv")
    assert times is not None
    return [None if time is None else pd.Timestamp(time).isoformat() for time in times.to_pylist()]


@pytest.mark.parametrize(
    "cell",
    [
        *("2024-03-18 14:30", "2024-03-18T14:30:00", "2024-03-18 14:30:00.000000000", "2024/03/18 14:30"),
        *("20240318 143000", "20240318T1430", "20240318143000", "202403181430", "2024.03.18, 14:30"),
        *("2024-03-18 02:30:00 PM", "03/18/2024 2:30 pm", "3/18/2024 14:30", "18/03/2024 14:30:00"),
        *("18.03.2024 14:30", "18-03-2024 14:30", "18-Mar-2024 14:30", " 2024-03-18 14:30 "),
    ],
)
def test_all_date_and_clock_layouts_give_the_same_time(cell: str):
    assert read(cell) == ["2024-03-18T14:30:00"]


@pytest.mark.parametrize(
    "cell", ["2024-03-18 14:30:00Z", "2024-03-18T10:30-04:00", "2024-03-18 14:30:00 UTC"]
)
def test_a_zone_in_the_text_is_applied(cell: str):
    assert read(cell, cell, "never") == ["2024-03-18T14:30:00+00:00"] * 2 + [None]


@pytest.mark.parametrize(
    "odd", ["bad", "2024-13-45 25:61:61", "24:00", "9999999", "2024-03-18T14:30:00Z", None]
)
def test_a_cell_in_another_layout_is_not_a_time(odd: str | None):
    assert read("2024-03-18 14:30", odd, "2024-03-18 14:32") == [
        "2024-03-18T14:30:00",
        None,
        "2024-03-18T14:32:00",
    ]


@pytest.mark.parametrize(
    ("clocks", "seconds"),
    [
        (["0", "1", "930", "1430"], [0, 60, 34_200, 52_200]),
        (["0", "100", "93000", "143001"], [0, 60, 34_200, 52_201]),
    ],
)
def test_clocks_without_leading_zeros_are_read_by_the_longest_of_them(clocks: list[str], seconds: list[int]):
    day = pd.Timestamp("2024-03-18")
    expected = [(day + pd.Timedelta(seconds=second)).isoformat() for second in seconds]
    assert read(*(f"20240318 {clock}" for clock in clocks)) == expected


def test_a_column_of_other_text_has_no_times():
    assert text_times(column("a", "b", "2024-03-18 14:30"), "time", "nq.csv") == (None, None)
    assert text_times(column("45359.6041"), "time", "nq.csv") == (None, None)


def test_one_day_after_the_twelfth_decides_the_order_of_day_and_month():
    assert read("03/04/2024 10:00", "13/04/2024 10:00") == ["2024-04-03T10:00:00", "2024-04-13T10:00:00"]
    assert read("03/04/2024 10:00", "03/14/2024 10:00") == ["2024-03-04T10:00:00", "2024-03-14T10:00:00"]
    assert read("05/05/2024 10:00") == ["2024-05-05T10:00:00"]  # equal in both orders


def test_ambiguous_dates_are_refused():
    with pytest.raises(BadInput) as caught:
        read("03/04/2024 10:00", "bad")
    assert str(caught.value) == (
        "nq.csv: dates in time must be unambiguous, but 03/04/2024 may be month/day/year or day/month/year. "
        "Write them as 2024-01-31, or include days after the 12th."
    )


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.datetimes(datetime(1999, 6, 21), datetime(2040, 1, 1)), min_size=1, max_size=8),
    st.sampled_from(["%Y-%m-%d %H:%M:%S", "%Y%m%d %H%M%S", "%d.%m.%Y %H:%M:%S", "%Y/%m/%d %I:%M:%S %p"]),
)
def test_times_in_an_unambiguous_layout_survive_a_round_trip(times, layout: str):
    seconds = [time.replace(microsecond=0) for time in times]
    assert read(*(time.strftime(layout) for time in seconds)) == [time.isoformat() for time in seconds]


def test_a_year_of_two_digits_may_come_first_if_the_days_are_then_near_each_other():
    assert read("25/03/13 09:30", "25/03/14 09:30")[1] == "2025-03-14T09:30:00"
    assert read("25-12-31 09:30", "26-01-02 09:30")[1] == "2026-01-02T09:30:00"
    assert read("25/03/04 09:30", "25/03/05 09:30")[1] == "2025-03-05T09:30:00"
    assert read("13/03/25 09:30", "14/03/25 09:30")[1] == "2025-03-14T09:30:00"
    assert read("03/13/25 09:30", "03/14/25 09:30")[1] == "2025-03-14T09:30:00"
    assert read("25/03/13 09:30") == ["2013-03-25T09:30:00"]  # a single day: as most write it


def half_days(n_days: int, form: str) -> list[str]:
    opened = pd.date_range("2025-01-13 09:30", "2025-01-13 15:59", freq="min")
    days = (opened + pd.Timedelta(days=day) for day in range(n_days))
    return [time.strftime(form) for day in days for time in day]


@pytest.mark.parametrize("form", ["%m/%d/%Y %I:%M", "%Y-%m-%d %I:%M:%S", "%d.%m.%Y %I:%M"])
@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("n_days", [1, 5])
def test_a_clock_of_twelve_hours_without_am_and_pm_is_refused(form: str, newest_first: bool, n_days: int):
    cells = half_days(n_days, form)
    with pytest.raises(BadInput, match="on a 24-hour clock, or say AM or PM, but after 12:59 comes 1:00"):
        text_times(column(*(cells[::-1] if newest_first else cells)), "time", "nq.csv")


@pytest.mark.parametrize("form", ["%m/%d/%Y %I:%M %p", "%m/%d/%Y %H:%M", "%Y-%m-%d %H:%M:%S"])
def test_other_clocks_are_read(form: str):
    assert read(*half_days(3, form))[-1] == "2025-01-15T15:59:00"


def test_mornings_alone_are_no_clock_of_twelve_hours():
    cells = [cell for cell in half_days(3, "%m/%d/%Y %H:%M") if cell < f"{cell[:10]} 13"]
    assert read(*cells)[-1] == "2025-01-15T12:59:00"
