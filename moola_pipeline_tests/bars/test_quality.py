"""What is flagged in bars that are kept: spikes by their size, missing minutes by session."""

from datetime import date

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from moola_pipeline.bars.quality import find_spikes, missing_minutes, review_bars
from moola_pipeline.bars.schema import NQ
from moola_pipeline.bars.sessions import session_minutes
from moola_pipeline_tests.bars.examples import made_up_bars, session_bars

SESSION = session_bars("2024-03-07", "2024-03-07")


def test_a_bar_far_out_of_both_neighbors_is_flagged_with_its_size():
    bars = made_up_bars(120)
    neighbors = bars["high"].iloc[[49, 51]].max()
    bars.loc[50, "high"] = neighbors + 120.0
    (spike,) = find_spikes(bars, NQ)
    assert (spike.timestamp, spike.points) == (bars["timestamp"][50], 120.0)


def test_a_move_that_stays_is_no_spike():
    bars = made_up_bars(120)
    bars.loc[50:, ["open", "high", "low", "close"]] += 500.0
    assert find_spikes(bars, NQ) == []


def test_a_bar_beside_a_gap_is_no_spike():
    bars = made_up_bars(120)
    bars.loc[50, "high"] += 120.0
    bars.loc[51:, "timestamp"] += pd.Timedelta(hours=1)
    assert find_spikes(bars, NQ) == []


def test_missing_minutes_are_counted_by_session():
    kept = pd.concat([SESSION.iloc[:100], SESSION.iloc[107:1000], SESSION.iloc[1001:]], ignore_index=True)
    missing = missing_minutes(kept)
    assert (missing.minutes, missing.expected, missing.sessions) == (8, 1380, {"2024-03-07": 8})
    assert missing.outside == 0


def test_a_session_without_any_bar_is_missing_whole():
    week = session_bars("2024-03-07", "2024-03-12")
    kept = pd.concat([week.iloc[:1380], week.iloc[2760:]], ignore_index=True)
    assert missing_minutes(kept).sessions == {"2024-03-08": 1380}


def test_neither_halt_nor_holiday_is_missing_and_a_bar_in_shut_hours_is_outside():
    halted = session_bars("2021-06-24", "2021-06-24")
    assert missing_minutes(halted).minutes == 0
    over_easter = session_bars("2024-03-28", "2024-04-01")
    assert missing_minutes(over_easter).minutes == 0
    stray = halted.iloc[[-1]].assign(timestamp=halted["timestamp"].iloc[-1] + pd.Timedelta(minutes=10))
    assert missing_minutes(pd.concat([halted, stray], ignore_index=True)).outside == 1


@settings(max_examples=20, deadline=None)
@given(st.sets(st.integers(1, 1378), max_size=60))
def test_missing_minutes_are_those_a_set_difference_finds(gone: set[int]):
    kept = SESSION.drop(index=sorted(gone)).reset_index(drop=True)
    day = date(2024, 3, 7)
    naive = set(session_minutes(day, day)) - set(kept["timestamp"])
    assert missing_minutes(kept).minutes == len(naive) == len(gone)


def test_a_single_bar_is_reviewed_too():
    review = review_bars(made_up_bars(1), NQ)
    assert (review.spikes, review.missing.minutes, review.missing.expected) == ([], 0, 1)
