"""What bars prove about their own clock, and when a stated zone or stamp is refused."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from moola_pipeline.bars.evidence import daily_breaks, new_york_clock
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


def test_the_week_in_new_york_is_shut_when_no_bar_can_open():
    moments = pd.to_datetime(
        ["2024-03-07 21:59", "2024-03-07 22:00", "2024-03-07 23:00", "2024-03-08 22:30", "2024-03-09 15:00",
         "2024-03-10 21:59", "2024-03-10 22:00", "2024-07-01 20:59", "2024-07-01 21:00"], utc=True
    )  # fmt: skip
    clock = new_york_clock(pd.DataFrame({"timestamp": moments}))
    assert clock.shut.tolist() == [False, True, False, True, True, True, False, False, True]


def test_daily_breaks_are_counted_where_they_are_exact():
    assert daily_breaks(WEEK) == 4
    assert daily_breaks(WEEK.assign(timestamp=WEEK["timestamp"] + pd.Timedelta(minutes=1))) == 0
    assert daily_breaks(made_up_bars(60)) == 0


@pytest.mark.parametrize("said", ["UTC", "America/Chicago", "Europe/Berlin", "Asia/Tokyo"])
@pytest.mark.parametrize("true", ["America/New_York", "UTC", "America/Chicago"])
def test_a_wrong_zone_is_refused_naming_what_the_bars_look_like(tmp_path: Path, true: str, said: str):
    local = wall_clock(WEEK, true)
    if said == true:
        pd.testing.assert_frame_equal(read(tmp_path, local, true), WEEK)
        return
    text = refusal(tmp_path, local, said)
    assert f"read as {said}, first" in text
    assert text.endswith(f"They look like {true}: give --timezone {true}.")


def test_times_that_carry_a_wrong_zone_cannot_be_saved_by_an_option(tmp_path: Path):
    wrong = WEEK.assign(timestamp=wall_clock(WEEK, "America/Chicago")["timestamp"].dt.tz_localize("UTC"))
    with pytest.raises(BadInput, match="The zone in the file is wrong: they look like America/Chicago"):
        read_vendor_file(write_csv(tmp_path / "nq.csv", wrong))


@pytest.mark.parametrize(("late", "said", "looks"), [(1, "open", "close"), (0, "close", "open")])
@pytest.mark.parametrize(
    "bars", [WEEK, WEEK.iloc[:1380], TRADING_HOURS], ids=["week", "session", "day trade"]
)
def test_a_wrong_stamp_is_refused_by_the_daily_break_or_the_bell(
    tmp_path: Path, bars: pd.DataFrame, late: int, said: str, looks: str
):
    stamped = wall_clock(bars, "America/New_York", late)
    text = refusal(tmp_path, stamped, "America/New_York", said)
    assert text.endswith(f"They look like bar {looks}s: give --stamp {looks}.")
    right = read(tmp_path, stamped, "America/New_York", looks)
    assert right["timestamp"].iloc[0] == bars["timestamp"].iloc[0]


def test_trading_hours_in_another_zone_are_refused_by_the_burst(tmp_path: Path):
    text = refusal(tmp_path, wall_clock(TRADING_HOURS, "America/Chicago"), "America/New_York")
    assert "trading must burst at 09:30 New York" in text or "look like America/Chicago" in text


def test_a_few_bars_in_shut_hours_contradict_nothing(tmp_path: Path):
    stray = WEEK.iloc[[100]].assign(timestamp=pd.Timestamp("2024-03-09 15:00", tz="UTC"))
    bars = pd.concat([WEEK, stray]).sort_values("timestamp")
    assert len(read(tmp_path, bars.assign(timestamp=bars["timestamp"].dt.tz_localize(None)), "UTC")) == len(
        bars
    )


def test_short_files_that_show_neither_break_nor_bell_are_believed(tmp_path: Path):
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
