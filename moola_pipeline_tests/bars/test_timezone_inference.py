"""Checks of zone and stamp by trading hours, daily breaks and the 09:30 burst."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from moola_pipeline.bars.timezone_inference import daily_breaks, new_york_clock
from moola_pipeline.bars.vendor import VendorOptions, read_vendor_file
from moola_pipeline.errors import BadInput
from moola_pipeline_tests.bars.examples import made_up_bars, session_bars, wall_clock, write_csv

WEEK = session_bars("2024-03-07", "2024-03-13")
"""Five sessions over a weekend and the start of daylight saving."""
TRADING_HOURS = WEEK.loc[
    (WEEK["timestamp"].dt.tz_convert("America/New_York").dt.strftime("%H:%M") >= "09:00")
    & (WEEK["timestamp"].dt.tz_convert("America/New_York").dt.strftime("%H:%M") < "16:00")
].reset_index(drop=True)


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
    clock = new_york_clock(pd.DataFrame({"timestamp": moments}))
    assert clock.shut.tolist() == [False, True, False, True, True, True, False, False, True]


def test_only_exact_daily_breaks_are_counted():
    assert daily_breaks(WEEK) == 4
    assert daily_breaks(WEEK.assign(timestamp=WEEK["timestamp"] + pd.Timedelta(minutes=1))) == 0
    assert daily_breaks(made_up_bars(60)) == 0


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
    assert "but 100 of 7,000 do not, read as UTC, first in row 6,901 (2024-03-09 23:00 UTC)." in text


def test_bars_on_saturday_in_every_zone_have_wrong_dates(tmp_path: Path):
    saturday = made_up_bars(60, "2024-03-09 15:00")
    text = refusal(tmp_path, saturday.assign(timestamp=saturday["timestamp"].dt.tz_localize(None)), "UTC")
    assert text.endswith("correct the dates (order of day and month, year), or give the right --timezone.")


def test_until_2015_the_market_closed_later():
    late = made_up_bars(15, "2015-09-17 21:00")  # 17:00 to 17:14 New York
    assert not new_york_clock(late).shut.any()
    assert new_york_clock(made_up_bars(15, "2015-09-21 21:00")).shut.all()
    assert new_york_clock(made_up_bars(15, "2012-11-15 22:30")).shut.all()


def test_short_files_without_daily_breaks_or_mornings_are_accepted(tmp_path: Path):
    local = wall_clock(made_up_bars(60), "America/New_York")
    for stamp, minutes in (("open", 0), ("close", 1)):
        first = read(tmp_path, local, "America/New_York", stamp)["timestamp"].iloc[0]
        assert first == made_up_bars(1)["timestamp"].iloc[0] - np.timedelta64(minutes, "m")


@pytest.mark.slow
def test_private_bars_contradict_every_zone_but_their_own(private_data: Path, tmp_path: Path):
    bars = pd.read_parquet(private_data / "real" / "nq_1m_2020-09_2025-06.parquet").iloc[:40_000]
    bars = bars.rename(columns={"ts_utc": "timestamp"})
    for zone in ("America/New_York", "America/Chicago"):
        assert f"give --timezone {zone}." in refusal(tmp_path, wall_clock(bars, zone), "UTC")
    assert "give --stamp open." in refusal(tmp_path, wall_clock(bars, "UTC"), "UTC", "close")
