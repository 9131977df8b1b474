"""Whether bars are what they were read as, session by session."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from moola_pipeline.bars.instruments import INSTRUMENTS, NQ
from moola_pipeline.bars.plausibility import (
    level_jump,
    refuse_coarse,
    refuse_future,
    refuse_other_scale,
    refuse_wrong_dates,
)
from moola_pipeline.bars.session_clock import TimeConvention, daily_breaks, session_clock
from moola_pipeline.bars.vendor import read_vendor_file
from moola_pipeline.bars.vendor_options import VendorOptions
from moola_pipeline.errors import BadInput
from moola_pipeline_tests.bars.examples import made_up_bars, session_bars, wall_clock, write_csv

WEEK = session_bars("2024-03-07", "2024-03-13")
"""Five sessions over a weekend and the start of daylight saving."""


def between(first: str, stop: str) -> pd.DataFrame:
    """The bars of WEEK from one clock time of New York to another."""
    clock = WEEK["timestamp"].dt.tz_convert("America/New_York").dt.strftime("%H:%M")
    return WEEK.loc[(clock >= first) & (clock < stop)].reset_index(drop=True)


TRADING_HOURS = between("09:00", "16:00")


def read(path: Path, bars: pd.DataFrame, zone: str, stamp: str | None = None) -> pd.DataFrame:
    return read_vendor_file(write_csv(path / "nq.csv", bars), VendorOptions(timezone=zone, stamp=stamp)).frame


def refusal(path: Path, bars: pd.DataFrame, zone: str, stamp: str | None = None) -> str:
    with pytest.raises(BadInput) as caught:
        read(path, bars, zone, stamp)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_shut_hours_of_the_new_york_week():
    moments = pd.to_datetime(
        ["2024-03-07 21:59", "2024-03-07 22:00", "2024-03-07 23:00", "2024-03-08 22:30", "2024-03-09 15:00",
         "2024-03-10 21:59", "2024-03-10 22:00", "2024-07-01 20:59", "2024-07-01 21:00"], utc=True
    )  # fmt: skip
    clock = session_clock(pd.DataFrame({"timestamp": moments, "high": 1.0, "low": 1.0}))
    assert clock.shut.tolist() == [False, True, False, True, True, True, False, False, True]


def test_only_exact_daily_breaks_are_counted():
    assert daily_breaks(session_clock(WEEK)) == 4
    assert (
        daily_breaks(session_clock(WEEK.assign(timestamp=WEEK["timestamp"] + pd.Timedelta(minutes=1)))) == 0
    )
    assert daily_breaks(session_clock(made_up_bars(60))) == 0


@pytest.mark.parametrize("stated", ["UTC", "America/Chicago", "Europe/Berlin", "Asia/Tokyo"])
@pytest.mark.parametrize("true", ["America/New_York", "UTC", "America/Chicago"])
def test_a_wrong_zone_is_refused_with_the_likely_zone(tmp_path: Path, true: str, stated: str):
    local = wall_clock(WEEK, true)
    if stated == true:
        pd.testing.assert_frame_equal(read(tmp_path, local, true), WEEK)
        return
    text = refusal(tmp_path, local, stated)
    assert f"read as {stated}, first" in text
    assert text.endswith(f"The times look like {true}: give --timezone {true}.")


def test_a_wrong_zone_in_the_file_cannot_be_corrected_by_an_option(tmp_path: Path):
    wrong = WEEK.assign(timestamp=wall_clock(WEEK, "America/Chicago")["timestamp"].dt.tz_localize("UTC"))
    with pytest.raises(BadInput, match="The zone in the file is wrong: the times look like America/Chicago"):
        read_vendor_file(write_csv(tmp_path / "nq.csv", wrong))


@pytest.mark.parametrize(("late", "stated", "likely"), [(1, "open", "close"), (0, "close", "open")])
@pytest.mark.parametrize(
    "bars", [WEEK, WEEK.iloc[:1380], TRADING_HOURS], ids=["week", "session", "day trade"]
)
def test_a_wrong_stamp_is_refused_by_daily_breaks_or_the_0930_burst(
    tmp_path: Path, bars: pd.DataFrame, late: int, stated: str, likely: str
):
    stamped = wall_clock(bars, "America/New_York", late)
    text = refusal(tmp_path, stamped, "America/New_York", stated)
    assert text.endswith(f"They look like bar {likely}s: give --stamp {likely}.")
    right = read(tmp_path, stamped, "America/New_York", likely)
    assert right["timestamp"].iloc[0] == bars["timestamp"].iloc[0]


def test_day_session_bars_in_another_zone_are_refused_by_the_0930_burst(tmp_path: Path):
    text = refusal(tmp_path, wall_clock(TRADING_HOURS, "America/Chicago"), "America/New_York")
    assert "bar ranges must rise at 09:30 New York" in text or "look like America/Chicago" in text


@pytest.mark.parametrize(
    ("zone", "seen"),
    [
        ("America/Denver", "they do not, and sessions begin at 07:30"),
        ("America/Chicago", "they do not, and sessions begin at 08:30"),
        ("America/Halifax", "sessions begin at 10:30 and last 390 minutes"),
    ],
)
def test_the_clock_of_day_sessions_in_another_zone_is_named(tmp_path: Path, zone: str, seen: str):
    text = refusal(tmp_path, wall_clock(between("09:30", "16:00"), zone), "America/New_York", "open")
    assert f"but read as America/New_York {seen} (sessions of 2024-03-07 to 2024-03-08)." in text


def test_closes_are_seen_where_a_day_begins_and_ends_if_no_range_rises(tmp_path: Path):
    day = between("09:30", "16:00")
    calm = day.assign(open=day["close"], high=day["close"] + 1, low=day["close"] - 1)
    text = refusal(tmp_path, wall_clock(calm, "America/New_York", 1), "America/New_York")
    assert text.endswith("run from 09:31 to 16:00. They look like bar closes: give --stamp close.")


def test_closes_are_seen_where_a_file_is_cut_at_half_hours(tmp_path: Path):
    text = refusal(tmp_path, wall_clock(between("10:30", "12:00"), "America/New_York", 1), "America/New_York")
    assert text.endswith("run from 10:31 to 12:00. They look like bar closes: give --stamp close.")


def with_strays(n_strays: int) -> pd.DataFrame:
    """WEEK in naive UTC times, followed by `n_strays` bars on Saturday."""
    saturday = WEEK["timestamp"].iloc[:n_strays] + pd.Timedelta(days=3)  # WEEK begins on Wednesday
    bars = pd.concat([WEEK, WEEK.iloc[:n_strays].assign(timestamp=saturday)], ignore_index=True)
    return bars.assign(timestamp=bars["timestamp"].dt.tz_localize(None))


def test_a_few_bars_in_shut_hours_are_set_aside(tmp_path: Path):
    path = write_csv(tmp_path / "nq.csv", with_strays(3))
    found = read_vendor_file(path, VendorOptions(timezone="UTC"))
    pd.testing.assert_frame_equal(found.frame, WEEK)
    assert found.rejected["row"].tolist() == [6901, 6902, 6903]
    assert set(found.rejected["reason"]) == {
        "a bar must open while the market trades: from 18:00 to 17:00 New York, Sunday to Friday"
    }
    assert (found.counts.read, found.counts.kept, found.counts.rejected) == (6903, 6900, 3)


def test_a_file_with_more_than_one_percent_of_bars_in_shut_hours_is_refused(tmp_path: Path):
    text = refusal(tmp_path, with_strays(100), "UTC")
    assert "but 100 of 7,000 do not, read as UTC, first in row 6,901 (2024-03-09 23:00 UTC)" in text
    assert "whole hours on 2024-03-09." in text


def test_bars_on_saturday_in_every_zone_have_wrong_dates(tmp_path: Path):
    saturday = made_up_bars(60, "2024-03-09 15:00")
    text = refusal(tmp_path, saturday.assign(timestamp=saturday["timestamp"].dt.tz_localize(None)), "UTC")
    assert text.endswith("correct the dates (order of day and month, year), or give the right --timezone.")


def test_until_2015_the_market_closed_later():
    late = made_up_bars(15, "2015-09-17 21:00")  # 17:00 to 17:14 New York
    assert not session_clock(late).shut.any()
    assert session_clock(made_up_bars(15, "2015-09-21 21:00")).shut.all()
    assert session_clock(made_up_bars(15, "2012-11-15 22:30")).shut.all()


def test_short_files_without_daily_breaks_or_mornings_are_accepted(tmp_path: Path):
    local = wall_clock(made_up_bars(60), "America/New_York")
    for stamp, minutes in (("open", 0), ("close", 1)):
        first = read(tmp_path, local, "America/New_York", stamp)["timestamp"].iloc[0]
        assert first == made_up_bars(1)["timestamp"].iloc[0] - np.timedelta64(minutes, "m")


NAIVE = TimeConvention("America/Chicago", "open", False, False, "nq.csv")
STATED = TimeConvention("UTC", "open", True, False, "nq.csv")
HOUR = made_up_bars(60)
LAST = datetime(2024, 3, 8, 15, 29, tzinfo=UTC)


def future_refusal(now: datetime, reading: TimeConvention = NAIVE, rows: np.ndarray | None = None) -> str:
    with pytest.raises(BadInput) as caught:
        refuse_future(HOUR, np.arange(1, 61) if rows is None else rows, reading, now)
    return str(caught.value)


def test_a_bar_up_to_ten_minutes_in_the_future_is_accepted():
    refuse_future(HOUR, np.arange(1, 61), NAIVE, LAST - timedelta(minutes=10))


def test_a_bar_in_the_future_is_refused_with_its_row():
    assert future_refusal(LAST - timedelta(minutes=11)) == (
        "nq.csv: a bar must open before now (2024-03-08 15:18 UTC by this machine's clock), but 1 of 60 "
        "do not, read as America/Chicago, first in row 60 (2024-03-08 15:29 UTC). Give the right --timezone."
    )
    assert future_refusal(LAST - timedelta(hours=2), STATED).endswith(
        "The zone in the file is wrong: export it again."
    )


def test_the_named_row_is_the_first_in_the_file_not_in_time():
    assert "but 2 of 60 do not" in (
        text := future_refusal(LAST - timedelta(minutes=12), rows=np.arange(60, 0, -1))
    )
    assert "first in row 1 (2024-03-08 15:29 UTC)" in text


def test_bars_far_in_the_future_have_wrong_dates():
    assert future_refusal(LAST - timedelta(days=400)).endswith(
        "Correct the dates (year, order of day and month), or remove those rows."
    )


def refuse_days(bars: pd.DataFrame) -> None:
    refuse_wrong_dates(bars, session_clock(bars), NAIVE, NQ)


@pytest.mark.parametrize("day", ["2024-12-25", "2024-03-29"])
def test_a_file_with_bars_of_a_holiday_only_is_refused(day: str):
    with pytest.raises(BadInput) as caught:
        refuse_days(made_up_bars(60, f"{day} 15:00"))
    assert str(caught.value) == (
        f"nq.csv: bars must lie on trading days, but 60 of 60 do not, first on {day}. "
        "Correct the dates, or add the bars in one file with the days around them."
    )


def test_a_few_bars_on_a_holiday_are_accepted():
    bars = pd.concat([made_up_bars(60, "2024-12-24 15:00"), made_up_bars(60, "2024-12-25 15:00")])
    refuse_days(bars)
    refuse_days(HOUR)


@pytest.mark.parametrize("step", [2, 5, 15, 60])
def test_coarser_bars_are_refused_in_the_whole_file_or_in_a_stretch(step: int):
    coarse = WEEK.iloc[::step].reset_index(drop=True)
    with pytest.raises(BadInput, match=f"got one every {timedelta(minutes=step)} from 2024-03-06 23:00"):
        refuse_coarse(coarse, NQ, "nq.csv")
    stretch = pd.concat([WEEK.iloc[:1380], WEEK.iloc[1380:2760:step], WEEK.iloc[2760:]], ignore_index=True)
    with pytest.raises(BadInput, match=f"got one every {timedelta(minutes=step)} from 2024-03-07 2"):
        refuse_coarse(stretch, NQ, "nq.csv")


@pytest.mark.parametrize("step", [2, 5, 15])
def test_coarser_bars_repeated_each_minute_are_refused(step: int):
    rows = np.arange(len(WEEK)) // step * step
    repeated = WEEK.iloc[rows].reset_index(drop=True).assign(timestamp=WEEK["timestamp"])
    with pytest.raises(BadInput, match="most bars repeat the bar before"):
        refuse_coarse(repeated, NQ, "nq.csv")


def test_the_small_bars_of_a_quiet_hour_are_no_repeats():
    quiet = WEEK.assign(open=6_000.0, low=6_000.0, high=6_000.25, close=6_000.25)
    refuse_coarse(quiet, INSTRUMENTS["ES"], "es.csv")


def test_one_minute_is_no_interval_and_a_thin_contract_is_none_either():
    with pytest.raises(BadInput, match="bars of at least 2 minutes are needed"):
        refuse_coarse(made_up_bars(1), NQ, "nq.csv")
    for share in (0.1, 0.35, 0.7):
        traded = np.random.default_rng(3).random(len(WEEK)) < share
        refuse_coarse(WEEK.loc[traded].reset_index(drop=True), NQ, "nq.csv")


@pytest.mark.parametrize(
    ("days", "factor", "jumps"),
    [
        *((1, 1.49, False), (1, 1.51, True), (7, 1.49, False), (7, 1.51, True), (8, 1.505, False)),
        *((187, 2.99, False), (187, 3.01, True), (187, 1 / 2.99, False), (187, 1 / 3.01, True)),
    ],
)
def test_closes_may_move_by_half_in_a_week_and_double_in_half_a_year_more(
    days: int, factor: float, jumps: bool
):
    levels = np.array([100.0, 100.0, 100.0 * factor])
    assert level_jump(levels, np.array([0, 1, 1 + days])) == (1 if jumps else None)


@pytest.mark.parametrize(("apart", "refused"), [(20, False), (21, True)])
def test_sessions_may_lie_twenty_days_apart(apart: int, refused: bool):
    days = pd.date_range("2024-01-08", periods=4, freq=f"{apart}D")
    days = days.where(np.asarray(days.day_of_week < 5), days + pd.Timedelta(days=2))
    bars = pd.concat([made_up_bars(30, f"{day.date()} 15:00") for day in days], ignore_index=True)
    assert np.median(np.diff(session_clock(bars).dates).astype(int)) == apart
    if not refused:
        return refuse_days(bars)
    with pytest.raises(BadInput, match="sessions must follow each other, but most lie over 20 days apart"):
        refuse_days(bars)


def in_steps(n_bars: int, points: float, n_flat: int = 0) -> pd.DataFrame:
    """Bars of `2 * n_bars - 1 - n_flat` moves, each of one step."""
    low = 18_000 + points * (np.arange(n_bars) % 2)
    high = low + points * (np.arange(n_bars) >= n_flat)
    return made_up_bars(n_bars).assign(open=low, high=high, low=low, close=low)


@pytest.mark.parametrize(
    ("points", "step"), [(0.5, "0.5"), (1.0, "1"), (1.25, "1.25"), (2.5, "2.5"), (25.0, "25")]
)
def test_prices_in_coarser_steps_are_refused_from_thirty_moves_on(points: float, step: str):
    few, enough = in_steps(16, points, n_flat=2), in_steps(16, points, n_flat=1)
    refuse_other_scale(few, session_clock(few), NQ, "nq.csv")
    with pytest.raises(
        BadInput, match=f"ticks of 0.25 points, but they move in steps of {step}: they are in"
    ):
        refuse_other_scale(enough, session_clock(enough), NQ, "nq.csv")


def test_prices_in_ticks_pass_if_one_move_in_ten_is_no_larger_step():
    bars = in_steps(40, 1.0)
    bars.loc[bars.index[::5], "high"] += 0.25
    refuse_other_scale(bars, session_clock(bars), NQ, "nq.csv")


@pytest.mark.slow
def test_private_bars_contradict_every_zone_but_their_own(private_data: Path, tmp_path: Path):
    bars = pd.read_parquet(private_data / "real" / "nq_1m_2020-09_2025-06.parquet").iloc[:40_000]
    bars = bars.rename(columns={"ts_utc": "timestamp"})
    for zone in ("America/New_York", "America/Chicago"):
        assert f"give --timezone {zone}." in refusal(tmp_path, wall_clock(bars, zone), "UTC")
    assert "give --stamp open." in refusal(tmp_path, wall_clock(bars, "UTC"), "UTC", "close")
