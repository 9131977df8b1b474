"""Trading days and opening hours: hand counts, a naive loop, and real bars."""

import time
from datetime import date, datetime
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moola_pipeline.bars.sessions import (
    NEW_YORK,
    afternoon_halts,
    closes_early,
    session_minutes,
    session_of,
    session_schedule,
)


def day_of(moment: str) -> str:
    return session_of(pd.DatetimeIndex([moment], tz="UTC")).dt.strftime("%Y-%m-%d").iloc[0]


def hours_of(day: str) -> tuple[str, str]:
    row = session_schedule(date.fromisoformat(day), date.fromisoformat(day)).iloc[0]
    return f"{row.opened_at:%Y-%m-%d %H:%M}", f"{row.closed_at:%Y-%m-%d %H:%M}"


@pytest.mark.parametrize(
    ("moment", "session"),
    [
        ("2025-03-07 21:59", "2025-03-07"),  # Friday, 16:59 New York, winter
        ("2025-03-07 22:59", "2025-03-07"),
        ("2025-03-09 21:59", "2025-03-09"),  # Sunday the clocks go forward: 17:59 New York
        ("2025-03-09 22:00", "2025-03-10"),
        ("2025-03-07 23:00", "2025-03-08"),
        ("2024-11-01 21:59", "2024-11-01"),  # Friday, 17:59 New York, summer
        ("2024-11-01 22:00", "2024-11-02"),
        ("2024-11-03 22:59", "2024-11-03"),  # Sunday the clocks go back: 17:59 New York
        ("2024-11-03 23:00", "2024-11-04"),
    ],
)
def test_a_session_begins_at_six_in_the_evening_on_both_sides_of_a_clock_change(moment, session):
    assert day_of(moment) == session


def test_sessions_keep_the_index_and_order_of_the_timestamps():
    stamps = pd.Series(pd.to_datetime(["2025-06-03 23:00", "2025-06-02 15:00"], utc=True), index=[7, 3])
    sessions = session_of(stamps)
    assert sessions.index.tolist() == [7, 3]
    assert sessions.dtype == "datetime64[ns]"
    assert sessions.dt.strftime("%m-%d").tolist() == ["06-04", "06-02"]


@given(st.lists(st.datetimes(datetime(2008, 1, 1), datetime(2030, 1, 1)), min_size=1))
def test_session_of_equals_a_naive_loop(moments):
    stamps = pd.DatetimeIndex(moments, tz="UTC")
    local = [stamp.astimezone(ZoneInfo(NEW_YORK)).replace(tzinfo=None) for stamp in stamps.to_pydatetime()]
    expected = [(wall + pd.Timedelta(hours=6)).date() for wall in local]
    assert session_of(stamps).dt.date.tolist() == expected


def test_five_years_of_minutes_take_less_than_half_a_second():
    stamps = pd.date_range("2020-09-01", periods=1_700_000, freq="min", tz="UTC")
    started = time.process_time()
    session_of(stamps)
    assert time.process_time() - started < 0.5


def test_timestamps_without_a_time_zone_are_refused():
    with pytest.raises(ValueError, match=r"must carry a time zone \(UTC\), got none"):
        session_of(pd.DatetimeIndex(["2025-06-02 15:00"]))


def test_a_full_session_opens_at_six_and_closes_at_five_in_new_york():
    assert hours_of("2025-03-07") == ("2025-03-06 23:00", "2025-03-07 22:00")
    assert hours_of("2025-03-10") == ("2025-03-09 22:00", "2025-03-10 21:00")
    assert hours_of("2024-11-01") == ("2024-10-31 22:00", "2024-11-01 21:00")
    assert hours_of("2024-11-04") == ("2024-11-03 23:00", "2024-11-04 22:00")


def test_errors_of_the_calendar_are_corrected():
    days = session_schedule(date(2024, 3, 28), date(2024, 4, 1))["session"].dt.day.tolist()
    assert days == [28, 1]
    assert session_schedule(date(2025, 4, 18), date(2025, 4, 18)).empty
    assert hours_of("2025-01-09") == ("2025-01-08 23:00", "2025-01-09 14:30")
    assert hours_of("2025-07-03") == ("2025-07-02 22:00", "2025-07-03 17:15")


def test_the_afternoon_halt_lasts_until_the_last_friday_of_june_2021():
    assert len(session_minutes(date(2021, 6, 25), date(2021, 6, 25))) == 1365
    assert len(session_minutes(date(2021, 6, 28), date(2021, 6, 28))) == 1380
    friday = session_minutes(date(2021, 6, 25), date(2021, 6, 25)).tz_convert(NEW_YORK)
    quarter_past_four = friday.indexer_at_time("16:14")[0] + 1
    assert friday[quarter_past_four : quarter_past_four + 1].strftime("%H:%M").tolist() == ["16:30"]


def test_session_minutes_agree_with_the_schedule_and_with_session_of():
    first, last = date(2024, 10, 28), date(2024, 12, 2)
    minutes = session_minutes(first, last)
    counted = session_of(minutes).value_counts(sort=False).sort_index()
    schedule = session_schedule(first, last).set_index("session")
    lengths = (schedule["closed_at"] - schedule["opened_at"]) // pd.Timedelta(minutes=1)
    assert counted.index.equals(schedule.index)
    assert counted.to_numpy().tolist() == lengths.to_numpy().tolist()
    assert minutes.is_monotonic_increasing and minutes.is_unique


def test_dates_in_the_wrong_order_are_refused():
    with pytest.raises(ValueError, match=r"must not lie before the first \(2025-06-02\), got 2025-06-01"):
        session_schedule(date(2025, 6, 2), date(2025, 6, 1))


def test_five_years_of_real_bars_open_in_session_minutes_only(private_data):
    path = private_data / "real" / "nq_1m_2020-09_2025-06.parquet"
    real = pd.DatetimeIndex(pd.read_parquet(path, columns=["ts_utc"])["ts_utc"]).as_unit("ns")
    minutes = session_minutes(date(2020, 9, 1), date(2025, 7, 1))
    assert real.isin(minutes).all()
    expected = minutes[minutes <= real[-1]]
    assert expected.isin(real).mean() > 0.999


def test_halts_end_in_june_2021_and_early_closes_have_none():
    """Friday 2020-11-27 closed at 13:15; the last halt was on Friday 2021-06-25."""
    thanksgiving = session_schedule(date(2020, 11, 27), date(2020, 11, 30))
    halts = afternoon_halts(thanksgiving)
    assert closes_early(thanksgiving).tolist() == [True, False]
    assert halts["halted_at"].isna().tolist() == halts["resumed_at"].isna().tolist() == [True, False]
    assert f"{halts['halted_at'].iloc[1]:%H:%M}" == "21:15"  # winter

    around_the_last = session_schedule(date(2021, 6, 25), date(2021, 6, 28))
    halts = afternoon_halts(around_the_last)
    assert halts["halted_at"].isna().tolist() == [False, True]
    assert f"{halts['resumed_at'].iloc[0]:%H:%M}" == "20:30"  # summer
    assert not closes_early(around_the_last).any()


def test_changing_a_schedule_does_not_change_the_cache():
    days = date(2024, 3, 4), date(2024, 3, 8)
    first = session_schedule(*days)
    first["closed_at"] = first["opened_at"]
    again = session_schedule(*days)
    assert (again["closed_at"].to_numpy() > again["opened_at"].to_numpy()).all()
