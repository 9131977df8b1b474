"""Quality flags: spikes with their size, missing minutes by session."""

from datetime import date

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from moola_pipeline.bars.instruments import NQ
from moola_pipeline.bars.quality import find_spikes, missing_minutes, review_bars
from moola_pipeline.bars.sessions import session_minutes
from moola_pipeline_tests.bars.examples import made_up_bars, session_bars

SESSION = session_bars("2024-03-07", "2024-03-07")


def test_a_bar_far_beyond_both_neighbors_is_flagged_with_its_size():
    bars = made_up_bars(120)
    neighbors = bars["high"].iloc[[49, 51]].max()
    bars.loc[50, "high"] = neighbors + 120.0
    (spike,) = find_spikes(bars, NQ)
    assert (spike.timestamp, spike.points) == (bars["timestamp"][50], 120.0)


def test_a_lasting_move_is_not_a_spike():
    bars = made_up_bars(120)
    bars.loc[50:, ["open", "high", "low", "close"]] += 500.0
    assert find_spikes(bars, NQ) == []


def test_a_bar_next_to_a_gap_is_not_a_spike():
    bars = made_up_bars(120)
    bars.loc[50, "high"] += 120.0
    bars.loc[51:, "timestamp"] += pd.Timedelta(hours=1)
    assert find_spikes(bars, NQ) == []


def test_missing_minutes_are_counted_by_session():
    kept = pd.concat([SESSION.iloc[:100], SESSION.iloc[107:1000], SESSION.iloc[1001:]], ignore_index=True)
    missing = missing_minutes(kept)
    assert (missing.minutes, missing.expected, missing.sessions) == (8, 1380, {"2024-03-07": 8})
    assert missing.outside == 0


def test_all_minutes_of_a_session_without_bars_are_missing():
    week = session_bars("2024-03-07", "2024-03-12")
    kept = pd.concat([week.iloc[:1380], week.iloc[2760:]], ignore_index=True)
    assert missing_minutes(kept).sessions == {"2024-03-08": 1380}


def test_halts_and_holidays_are_not_missing_and_bars_outside_sessions_are_counted():
    halted = session_bars("2021-06-24", "2021-06-24")
    assert missing_minutes(halted).minutes == 0
    over_easter = session_bars("2024-03-28", "2024-04-01")
    assert missing_minutes(over_easter).minutes == 0
    stray = halted.iloc[[-1]].assign(timestamp=halted["timestamp"].iloc[-1] + pd.Timedelta(minutes=10))
    assert missing_minutes(pd.concat([halted, stray], ignore_index=True)).outside == 1


@settings(max_examples=20, deadline=None)
@given(st.sets(st.integers(1, 1378), max_size=60))
def test_missing_minutes_equal_a_set_difference(gone: set[int]):
    kept = SESSION.drop(index=sorted(gone)).reset_index(drop=True)
    day = date(2024, 3, 7)
    naive = set(session_minutes(day, day)) - set(kept["timestamp"])
    assert missing_minutes(kept).minutes == len(naive) == len(gone)


def test_a_single_bar_can_be_reviewed():
    review = review_bars(made_up_bars(1), NQ)
    assert (review.spikes, review.missing.minutes, review.missing.expected) == ([], 0, 1)
