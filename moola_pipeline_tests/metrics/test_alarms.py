"""Matching of live alarms: examples worked by hand, then properties."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moola_pipeline.labels.spans import LabeledWindows
from moola_pipeline.metrics.alarms import (
    alarm_counts,
    pair_alarms,
    score_alarms,
    score_budget,
    score_sessions,
)
from moola_pipeline.metrics.scores import ResampledWindows, resample_windows
from moola_pipeline.windows.spans import Spans

TRUTH = ["window_id", "start", "type", "direction"]
ALARM = [*TRUTH, "closed"]


def truth_of(*rows: tuple[str, int, int, int]) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=TRUTH)


def alarms_of(*rows: tuple[str, int, int, int, int]) -> pd.DataFrame:
    frame = pd.DataFrame(list(rows), columns=ALARM)
    return frame.astype(dict.fromkeys(["start", "type", "direction", "closed"], np.int64))


def outcome(truth: pd.DataFrame, alarms: pd.DataFrame, wait: int, typed: bool = True) -> tuple[int, ...]:
    return tuple(alarm_counts(truth, alarms, wait, typed)[["tp", "fp", "fn"]].to_numpy().sum(axis=0).tolist())


@pytest.mark.parametrize(
    ("onset", "closed", "wait", "expected"),
    [
        (50, 50, 0, (1, 0, 0)),
        (50, 51, 0, (0, 1, 1)),
        (50, 51, 1, (1, 0, 0)),
        (47, 48, 0, (1, 0, 0)),
        (46, 48, 0, (0, 1, 1)),
        (53, 53, 3, (1, 0, 0)),
        (53, 54, 3, (0, 1, 1)),
        (54, 54, 5, (0, 1, 1)),
        (50, 60, 10, (1, 0, 0)),
        (50, 61, 10, (0, 1, 1)),
    ],
)
def test_an_alarm_finds_an_onset_within_three_bars_and_the_maximum_delay(onset, closed, wait, expected):
    alarms = alarms_of(("w", onset, 0, 1, closed))
    assert outcome(truth_of(("w", 50, 0, 1)), alarms, wait) == expected


def test_an_alarm_of_the_other_direction_does_not_match():
    assert outcome(truth_of(("w", 50, 0, 1)), alarms_of(("w", 50, 0, -1, 50)), 0) == (0, 1, 1)


def test_the_type_counts_unless_it_is_ignored():
    truth, alarms = truth_of(("w", 50, 0, 1)), alarms_of(("w", 50, 1, 1, 50))
    assert outcome(truth, alarms, 0) == (0, 1, 1)
    assert outcome(truth, alarms, 0, typed=False) == (1, 0, 0)


def test_two_alarms_for_one_label_are_one_hit_and_one_false_alarm():
    alarms = alarms_of(("w", 49, 0, 1, 50), ("w", 51, 0, 1, 52))
    assert outcome(truth_of(("w", 50, 0, 1)), alarms, 3) == (1, 1, 0)


@pytest.mark.parametrize(("onset", "false"), [(29, 0), (30, 1), (74, 1), (75, 0)])
def test_an_alarm_in_an_empty_window_is_false_where_labels_are_complete(onset, false):
    assert outcome(truth_of(), alarms_of(("empty", onset, 0, 1, onset)), 10) == (0, false, 0)


def test_an_alarm_outside_the_core_may_match_a_label_inside():
    assert outcome(truth_of(("w", 30, 0, 1)), alarms_of(("w", 27, 0, 1, 30)), 0) == (1, 0, 0)


@given(
    st.lists(st.tuples(st.integers(27, 77), st.sampled_from([-1, 1])), max_size=4),
    st.lists(st.tuples(st.integers(20, 80), st.integers(0, 10), st.sampled_from([-1, 1])), max_size=6),
)
def test_a_longer_wait_never_finds_fewer_labels(labeled, raised):
    truth = truth_of(*(("w", onset, 0, direction) for onset, direction in labeled))
    alarms = alarms_of(*(("w", onset, 0, direction, onset + late) for onset, late, direction in raised))
    found = [int((pair_alarms(truth, alarms, wait) >= 0).sum()) for wait in (0, 1, 3, 5, 10)]
    assert found == sorted(found)


def ground_of(n_windows: int, start: int = 50) -> ResampledWindows:
    """One window a session of 1,000 bars, each with an upward expansion at `start`, types in turn."""
    n = np.arange(n_windows)
    spans = Spans(
        n, np.full(n_windows, start), np.full(n_windows, start + 5), np.ones(n_windows, np.int8), n % 2
    )
    sessions = np.datetime64("2024-01-01", "ns") + n.astype("timedelta64[D]")
    names = np.array([f"w{i}" for i in n], object)
    return resample_windows(
        LabeledWindows(names, 1000 * n + 100, sessions, np.ones(len(n), bool), spans),
        200,
        np.random.default_rng(0),
    )


def test_each_system_is_scored_by_its_own_alarms_and_wait():
    resampled = ground_of(4)
    right = [(f"w{i}", 50, i % 2, 1, 53) for i in range(4)]
    alarms = pd.concat([alarms_of(*right).assign(wait=3), alarms_of(*right[:2]).assign(wait=1)])
    scored = score_alarms(resampled, alarms)

    assert scored["event_f1_live_3"].estimate == 1
    assert scored["event_f1_live_1"].estimate == 0
    assert scored["event_f1_live_10"].estimate == 0
    assert scored["event_f1_untyped_live_3"].estimate == 1
    assert scored["event_f1_live_3"].n == 4


def test_sessions_worked_by_hand():
    resampled = ground_of(3)
    sessions = resampled.windows.session[:2]
    # Session 0: six alarms; two of the five most probable ones are in labeled cores, one right, one false.
    rows = [(0, 100 + 50, 0.9), (0, 100 + 35, 0.8), (0, 500, 0.7), (0, 600, 0.6), (0, 700, 0.5)]
    rows += [(0, 100 + 60, 0.1), (1, 1100 + 51, 0.4), (1, 1900, 0.3)]
    alarms = pd.DataFrame(rows, columns=["session", "row", "probability"])
    alarms = alarms.assign(closed=alarms["row"] + 1, direction=1, type=0)
    alarms["session"] = resampled.windows.session[alarms["session"]]
    scored = score_sessions(resampled, sessions, alarms, 3)

    assert scored["alarms_per_session"].estimate == 4
    assert scored["alarms_per_session"].n == 2
    assert scored["precision_top5"].estimate == pytest.approx(2 / 3)
    assert scored["precision_top5"].n == 3


def test_sessions_without_an_alarm_have_no_precision():
    resampled = ground_of(2)
    none = pd.DataFrame(
        {
            "session": np.empty(0, "datetime64[ns]"),
            **dict.fromkeys(("row", "closed", "direction", "type"), np.empty(0, np.int64)),
            "probability": np.empty(0),
        }
    )
    scored = score_sessions(resampled, resampled.windows.session, none, 10)

    assert scored["alarms_per_session"].estimate == 0
    assert np.isnan(scored["precision_top5"].estimate)
    assert scored["precision_top5"].n == 0


def test_a_budget_worked_by_hand():
    resampled = ground_of(3)
    sessions = resampled.windows.session[:2]
    # Session 0: one alarm right, 2 bars late; one false; one outside labeled cores. Session 1: one, 4 late.
    rows = [(0, 100 + 50, 152), (0, 100 + 35, 136), (0, 500, 501), (1, 1100 + 51, 1154)]
    alarms = pd.DataFrame(rows, columns=["session", "row", "closed"]).assign(direction=1, type=0)
    alarms["session"] = resampled.windows.session[alarms["session"]]
    scored = score_budget(resampled, sessions, alarms, 5)

    assert (scored["alarms_per_session"].estimate, scored["alarms_per_session"].n) == (2, 2)
    assert (scored["precision"].estimate, scored["precision"].n) == (pytest.approx(2 / 3), 3)
    assert (scored["delay_bars"].estimate, scored["delay_bars"].n) == (pytest.approx((2 + 4) / 2), 2)
    too_late = score_budget(resampled, sessions, alarms, 3)
    assert (too_late["precision"].estimate, too_late["delay_bars"].estimate) == (pytest.approx(1 / 3), 2)


def test_a_budget_without_an_alarm_has_no_precision_and_no_delay():
    resampled = ground_of(2)
    none = pd.DataFrame(
        {
            "session": np.empty(0, "datetime64[ns]"),
            **dict.fromkeys(("row", "closed", "direction", "type"), np.empty(0, np.int64)),
        }
    )
    scored = score_budget(resampled, resampled.windows.session, none, 10)
    assert scored["alarms_per_session"].estimate == 0
    assert np.isnan([scored[name].estimate for name in ("precision", "delay_bars")]).all()
    assert (scored["precision"].n, scored["delay_bars"].n) == (0, 0)
