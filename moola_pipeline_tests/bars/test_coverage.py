"""Coverage of the calendar: hand counts, set differences, and an independent count on real bars."""

from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moola_pipeline.bars.coverage import COVERAGE_COLUMNS, SegmentStarts, segment_starts, session_coverage
from moola_pipeline.bars.manifest import add_bars, read_bars
from moola_pipeline.bars.quality import missing_minutes
from moola_pipeline.bars.rolls import add_rolls, read_rolls
from moola_pipeline.bars.sessions import session_minutes
from moola_pipeline.bars.store import BarStore
from moola_pipeline.bars.table import build_table
from moola_pipeline.windows.dense import pretraining_windows, scan_windows
from moola_pipeline.windows.window_geometry import BARS_BEFORE, WINDOW_BARS
from moola_pipeline_tests.bars.examples import made_up_bars, session_bars

NEW_YORK = "America/New_York"
THANKSGIVING = ("2020-11-25", "2020-11-30")
"""A full Wednesday with a halt, two sessions that close early (13:00 and 13:15), a weekend, a Monday."""

AT_HALT = 22 * 60 + 15
"""Minutes from 18:00 New York to 16:15."""


def at_new_york(*local: str) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(local).tz_localize(NEW_YORK).tz_convert("UTC").as_unit("ns")


def without(bars: pd.DataFrame, *local: str) -> pd.DataFrame:
    """The bars without those that open at these New York times."""
    gone = pd.DatetimeIndex(bars["timestamp"]).isin(at_new_york(*local))
    return bars.loc[~gone].reset_index(drop=True)


def beside(bars: pd.DataFrame, *local: str) -> pd.DataFrame:
    """The bars with copies of the first bar at these New York times."""
    moments = at_new_york(*local)
    more = bars.iloc[[0] * len(moments)].assign(timestamp=moments)
    return pd.concat([bars, more]).sort_values("timestamp", ignore_index=True)


def coverage_of(bars: pd.DataFrame) -> dict[str, list]:
    """The columns of the coverage as lists, `session` as dates."""
    found = session_coverage(build_table(bars, None))
    assert tuple(found.columns) == COVERAGE_COLUMNS
    return found.assign(session=found["session"].dt.strftime("%m-%d")).to_dict("list")


def test_coverage_of_thanksgiving_week_2020_equals_hand_count():
    bars = without(session_bars(*THANKSGIVING), "2020-11-25 09:31", "2020-11-25 09:33", "2020-11-27 10:00")

    found = coverage_of(bars)

    assert found["session"] == ["11-25", "11-26", "11-27", "11-30"]
    assert found["held"] == [True] * 4
    # 23 hours less the halt; 18:00 to 13:00; 18:00 to 13:15; 23 hours less the halt
    assert found["expected"] == [1365, 19 * 60, 19 * 60 + 15, 1365]
    assert found["missing"] == [2, 0, 1, 0]
    assert found["bars"] == [1363, 1140, 1154, 1365]
    assert found["has_halt"] == found["halt_kept"] == [True, False, False, True]
    assert found["closes_early"] == found["close_kept"] == [False, True, True, False]
    assert found["outside"] == [0] * 4


def test_a_bar_in_a_halt_or_after_an_early_close_is_outside_and_the_pause_not_kept():
    found = coverage_of(beside(session_bars(*THANKSGIVING), "2020-11-25 16:20", "2020-11-26 13:00"))

    assert found["outside"] == [1, 1, 0, 0]
    assert found["halt_kept"] == [False, False, False, True]
    assert found["close_kept"] == [False, False, True, False]
    assert found["missing"] == [0] * 4


def test_a_pause_without_bars_around_it_is_not_kept():
    """Eleven minutes are missing before the halt and before the early close: their start is unknown."""
    before_halt = [f"2020-11-25 16:{minute:02}" for minute in range(4, 15)]
    before_close = [f"2020-11-26 12:{minute}" for minute in range(49, 60)]

    found = coverage_of(without(session_bars(*THANKSGIVING), *before_halt, *before_close))

    assert found["missing"] == [11, 11, 0, 0]
    assert found["halt_kept"] == [False, False, False, True]
    assert found["close_kept"] == [False, False, True, False]


def test_bars_on_a_holiday_are_outside_sessions():
    """Good Friday 2024: the calendar lists a session, but the exchange was closed."""
    easter = session_bars("2024-03-28", "2024-04-01")
    found = coverage_of(easter)
    assert found["held"] == [True, False, True]
    assert found["bars"] == [1380, 0, 1380]

    found = coverage_of(beside(easter, "2024-03-29 10:00"))
    assert found["held"] == [True, False, True]
    assert (found["bars"][1], found["expected"][1], found["outside"][1]) == (1, 0, 1)


def test_all_minutes_of_an_empty_session_are_missing_and_a_saturday_with_a_bar_is_listed():
    week = session_bars("2024-03-07", "2024-03-12")
    kept = week.loc[~week["timestamp"].between("2024-03-07 23:00Z", "2024-03-08 22:00Z")]
    found = coverage_of(beside(kept, "2024-03-09 12:00"))
    assert found["session"] == ["03-07", "03-08", "03-09", "03-11", "03-12"]
    assert found["held"] == [True, True, False, True, True]
    assert found["bars"] == [1380, 0, 1, 1380, 1380]
    assert found["missing"] == [0, 1380, 0, 0, 0]
    assert found["outside"] == [0, 0, 1, 0, 0]


def summed(coverage: pd.DataFrame) -> dict[str, int]:
    return {name: int(np.asarray(coverage[name]).sum()) for name in COVERAGE_COLUMNS if name != "session"}


@settings(max_examples=8, deadline=None)
@given(st.sets(st.integers(0, 4 * 1440), min_size=1, max_size=400))
def test_missing_and_outside_equal_set_differences(minutes: set[int]):
    start = pd.Timestamp("2020-11-25 00:00", tz="UTC")
    moments = [start + pd.Timedelta(minutes=minute) for minute in sorted(minutes)]
    bars = made_up_bars(len(moments)).assign(timestamp=pd.DatetimeIndex(moments).as_unit("ns"))
    table = build_table(bars, None)

    found = summed(session_coverage(table))

    whole = set(session_minutes(date(2020, 11, 24), date(2020, 12, 1)))
    expected = {moment for moment in whole if moments[0] <= moment <= moments[-1]}
    assert found["expected"] == len(expected)
    assert found["missing"] == len(expected - set(moments))
    assert found["outside"] == len(set(moments) - expected)
    assert found["bars"] == len(bars)
    other = missing_minutes(bars)
    assert (found["missing"], found["outside"]) == (other.minutes, other.outside)
    assert sum(segment_starts(table)) == table["segment"].iloc[-1] + 1


def test_each_segment_start_has_one_reason():
    rolls = pd.DataFrame(
        {
            "time": pd.DatetimeIndex(["2021-06-24 05:01Z", "2021-06-24 22:00Z"]).as_unit("ns"),
            "old": pd.Series(["NQM1", "NQU1"], dtype="str"),
            "new": pd.Series(["NQU1", "NQZ1"], dtype="str"),
        }
    )
    gap = [f"2021-06-24 10:{minute}" for minute in range(20, 31)]
    bars = without(session_bars("2021-06-23", "2021-06-25"), *gap)

    # three sessions with a halt each; the roll at 18:00 New York begins with the session
    assert segment_starts(build_table(bars, rolls)) == SegmentStarts(session=3, roll=1, halt=3, other_gap=1)
    one = build_table(bars.iloc[:1], None)
    assert segment_starts(one) == SegmentStarts(session=1, roll=0, halt=0, other_gap=0)


@pytest.fixture(scope="module")
def real_files(private_data: Path) -> tuple[Path, Path]:
    real = private_data / "real"
    return real / "nq_1m_2020-09_2025-06.parquet", real / "nq_rolls.csv"


@pytest.fixture(scope="module")
def real_table(real_files: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """The real bars, registered as by a user."""
    store = BarStore(tmp_path_factory.mktemp("real") / "data", simulated=False)
    add_bars(store, real_files[0])
    add_rolls(store, real_files[1])
    return read_bars(store)


@pytest.fixture(scope="module")
def opened_at(real_files: tuple[Path, Path]) -> pd.DatetimeIndex:
    """The times in the file, read without the code under test."""
    return pd.DatetimeIndex(pd.read_parquet(real_files[0], columns=["ts_utc"])["ts_utc"]).as_unit("ns")


@pytest.fixture(scope="module")
def wall_clock(opened_at: pd.DatetimeIndex) -> tuple[np.ndarray, np.ndarray]:
    """Day and minute of each real bar on a clock with midnight at 18:00 New York."""
    shifted = opened_at.tz_convert(NEW_YORK).tz_localize(None) + pd.Timedelta(hours=6)
    minutes = shifted.to_numpy("datetime64[m]").view(np.int64)
    return minutes // 1440, minutes % 1440


def first_and_last(day: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the first and last bar of each day."""
    first = np.flatnonzero(np.diff(day, prepend=-1))
    return first, np.append(first[1:], len(day)) - 1


def dates(days: np.ndarray) -> set:
    return set(days.astype("datetime64[D]").tolist())


def sessions_where(coverage: pd.DataFrame, flag: str) -> set:
    return dates(coverage.loc[coverage[flag], "session"].to_numpy("datetime64[D]"))


def test_on_real_bars_missing_minutes_equal_the_sum_of_gaps_inside_each_day(
    real_table: pd.DataFrame, wall_clock: tuple[np.ndarray, np.ndarray]
):
    """Minutes between two bars of a day are missing, except for the halt at 16:15 until June 2021.

    Minutes before the first bar or after the last are not counted in this way: a complete day begins
    at 18:00 and ends at 17:00, 13:00, 13:15, 09:15 or 09:30.
    """
    day, minute = wall_clock
    first, last = first_and_last(day)
    within_day = day[1:] == day[:-1]
    over_halt = within_day & (minute[:-1] < AT_HALT) & (minute[1:] >= AT_HALT + 15)
    over_halt &= day[1:].astype("datetime64[D]") <= np.datetime64("2021-06-25")
    skipped = int((np.diff(minute) - 1)[within_day].sum()) - 15 * int(over_halt.sum())
    usual_last = np.array([1380, 1140, 1155, 915, 930]) - 1
    cut_short = sum(
        int((usual_last - end)[usual_last >= end].min())
        for end in minute[last[:-1]]  # the file itself ends inside a session
    )

    coverage = session_coverage(real_table)
    found, missing = summed(coverage), np.asarray(coverage["missing"])[np.asarray(coverage["held"])]

    assert skipped + int(minute[first].sum()) + cut_short == found["missing"] == 301
    assert (missing.max(), np.median(missing)) == (35, 0)
    assert found["outside"] == 0
    assert found["expected"] == len(day) + 301 == 1_707_975


def test_on_real_bars_every_halt_early_close_and_holiday_is_kept(
    real_table: pd.DataFrame, wall_clock: tuple[np.ndarray, np.ndarray]
):
    """From the file only: days with bars at 16:14 and 16:30 and none between; days that end early."""
    day, minute = wall_clock
    _, last = first_and_last(day)
    with_halt = np.setdiff1d(
        np.intersect1d(day[minute == AT_HALT - 1], day[minute == AT_HALT + 15]),
        day[(minute >= AT_HALT) & (minute < AT_HALT + 15)],
    )
    early = day[last[:-1]][minute[last[:-1]] < 1300]
    weekdays = np.arange(day[0], day[-1] + 1)
    weekdays = weekdays[np.is_busday(weekdays.astype("datetime64[D]"))]

    coverage = session_coverage(real_table)
    found = summed(coverage)

    assert (len(with_halt), found["has_halt"], found["halt_kept"]) == (204, 204, 204)
    assert sessions_where(coverage, "halt_kept") == dates(with_halt)
    assert (len(early), found["closes_early"], found["close_kept"]) == (45, 45, 45)
    assert sessions_where(coverage, "close_kept") == dates(early)
    assert len(np.setdiff1d(weekdays, day)) == len(coverage) - found["held"] == 12
    assert found["held"] == len(np.unique(day)) == 1249


def test_on_real_bars_every_listed_roll_begins_a_segment_and_the_rest_follows_from_gaps(
    real_files: tuple[Path, Path],
    real_table: pd.DataFrame,
    opened_at: pd.DatetimeIndex,
    wall_clock: tuple[np.ndarray, np.ndarray],
):
    listed = pd.DatetimeIndex(read_rolls(real_files[1])["time"])
    listed = listed[(listed > opened_at[0]) & (listed <= opened_at[-1])]
    segment = real_table["segment"].to_numpy()
    begins = np.diff(segment, prepend=-1) != 0
    wide = np.diff(opened_at.asi8, prepend=opened_at.asi8[0]) > 600 * 10**9
    new_day = np.diff(wall_clock[0], prepend=-1) != 0

    starts = segment_starts(real_table)

    assert len(listed) == 18
    assert np.isin(listed.asi8, opened_at.asi8[begins]).all()
    assert len(set(real_table["contract"])) == 19
    assert starts == SegmentStarts(session=1249, roll=15, halt=204, other_gap=2)
    assert new_day.sum() == 1249
    assert (wide & ~new_day).sum() == 204 + 2
    assert sum(moment.minute == 1 for moment in listed) == 15  # 00:01 Chicago; the others are session opens
    assert begins.sum() == 1249 + 206 + 15 == segment[-1] + 1


def test_on_real_bars_no_window_crosses_a_session_a_roll_or_a_gap(
    real_files: tuple[Path, Path],
    real_table: pd.DataFrame,
    opened_at: pd.DatetimeIndex,
    wall_clock: tuple[np.ndarray, np.ndarray],
):
    """From the file and the rolls only, for every window: its day, the rolls before it, its gaps."""
    day = wall_clock[0]
    rolls = pd.DatetimeIndex(read_rolls(real_files[1])["time"]).asi8
    n_rolled = np.searchsorted(rolls, opened_at.asi8, side="right")
    n_wide = np.cumsum(np.diff(opened_at.asi8, prepend=opened_at.asi8[0]) > 600 * 10**9)

    segment = real_table["segment"].to_numpy()
    tiled, scanned = pretraining_windows(segment, len(segment)), scan_windows(segment)[0]
    assert (len(tiled), len(scanned)) == (29_519, 35_724)
    for bar0 in (tiled, scanned):
        first, last = bar0 - BARS_BEFORE, bar0 + WINDOW_BARS - 1
        for state in (day, n_rolled, n_wide):
            assert (state[first] == state[last]).all()

    blind = np.arange(BARS_BEFORE, len(segment) - WINDOW_BARS, 52)
    leaving = day[blind - BARS_BEFORE] != day[blind + WINDOW_BARS - 1]
    assert leaving.mean() > 0.05  # without segments, windows would cross their ends
