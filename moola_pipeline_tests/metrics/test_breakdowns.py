from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, f1_score

from moola_pipeline.metrics.bootstrap import Resampled
from moola_pipeline.metrics.breakdowns import (
    LabeledStarts,
    ScoredPredictions,
    break_down,
    confusion,
    hour_names,
    part_names,
)
from moola_pipeline.metrics.definitions import f1_of_type
from moola_pipeline.metrics.scores import ResampledWindows, events_of, resample_windows, score_events
from moola_pipeline_tests.evaluation.made_answers import made_events, made_ground, made_p, made_windows

TIMES = pd.date_range("2025-04-01", periods=60_000, freq="min", tz="UTC")


@pytest.fixture(scope="module")
def resampled() -> ResampledWindows:
    return made_ground(resamples=100)


@pytest.fixture(scope="module")
def answers(resampled: ResampledWindows) -> list[ScoredPredictions]:
    generators = [np.random.default_rng(seed) for seed in (1, 2)]
    return [ScoredPredictions(made_p(resampled, rng), made_events(resampled, rng)) for rng in generators]


@pytest.fixture(scope="module")
def labeled(resampled: ResampledWindows) -> LabeledStarts:
    spans = resampled.windows.spans
    return LabeledStarts(resampled.windows.bar0[spans.window] + spans.start, spans.direction)


@pytest.mark.parametrize(
    ("moment", "part"),
    [
        ("18:00", "Asia"),
        ("02:59", "Asia"),
        ("03:00", "London"),
        ("09:29", "London"),
        ("09:30", "New York"),
        ("15:59", "New York"),
        ("16:00", "after the close"),
        ("16:59", "after the close"),
    ],
)
@pytest.mark.parametrize("day", ["2025-03-07", "2025-03-10", "2025-10-31", "2025-11-03"])
def test_parts_of_the_day_follow_new_york_time_in_summer_and_winter(day: str, moment: str, part: str):
    local = datetime.fromisoformat(f"{day} {moment}").replace(tzinfo=ZoneInfo("America/New_York"))
    at = pd.DatetimeIndex([pd.Timestamp(local)]).tz_convert("UTC")
    assert part_names(at).tolist() == [part]
    assert hour_names(at).tolist() == [moment[:2] + ":00"]


@given(st.integers(0, 59_999))
def test_each_moment_has_one_part_and_its_new_york_hour(row: int):
    at = TIMES[[row]]
    assert part_names(at)[0] in {"Asia", "London", "New York", "after the close"}
    assert hour_names(at)[0] == f"{at[0].tz_convert('America/New_York'):%H}:00"


def test_confusion_equals_scikit_learn(resampled: ResampledWindows, answers: list[ScoredPredictions]):
    y, p = resampled.windows.spans.type, answers[0].p_retracement
    assert confusion(y, p) == confusion_matrix(y, p > 0.5).tolist()
    for kind in (0, 1):
        assert f1_of_type(y, p, kind) == pytest.approx(f1_score(y, p > 0.5, pos_label=kind))


def test_groups_partition_the_expansions(
    resampled: ResampledWindows, answers: list[ScoredPredictions], labeled: LabeledStarts
):
    scored = break_down(resampled, labeled, answers, TIMES)
    assert list(scored) == ["type", "hour", "session", "direction"]
    assert list(scored["direction"]) == ["up", "down"]
    for way, groups in scored.items():
        metric = "event_f1" if way == "type" else "event_f1_untyped"
        assert sum(scores[metric].n for scores in groups.values()) == len(resampled.windows.spans.type)


def test_the_mean_over_the_types_is_the_headline_score(
    resampled: ResampledWindows, answers: list[ScoredPredictions], labeled: LabeledStarts
):
    by_type = break_down(resampled, labeled, answers[:1], TIMES)["type"]
    mean = np.mean([scores["event_f1"].estimate for scores in by_type.values()])
    assert mean == pytest.approx(score_events(resampled, answers[0].events)["event_f1_macro"].estimate)


def test_a_single_group_scores_as_the_whole(
    resampled: ResampledWindows, answers: list[ScoredPredictions], labeled: LabeledStarts
):
    up = LabeledStarts(labeled.row, np.ones(len(labeled.row)))
    upward = [ScoredPredictions(it.p_retracement, it.events.assign(direction=1)) for it in answers[:1]]
    [(name, whole)] = break_down(resampled, up, upward, TIMES)["direction"].items()
    assert name == "up"
    expected = score_events(resampled, upward[0].events)["event_f1_untyped"]
    assert whole["event_f1_untyped"].estimate == pytest.approx(expected.estimate)
    np.testing.assert_allclose(whole["event_f1_untyped"].values, expected.values)


def test_a_group_of_one_type_has_no_macro_f1(
    resampled: ResampledWindows, answers: list[ScoredPredictions], labeled: LabeledStarts
):
    sides = LabeledStarts(labeled.row, np.where(resampled.windows.spans.type == 1, 1, -1))
    groups = break_down(resampled, sides, answers, TIMES)["direction"]
    assert all("type_f1_macro" not in scores for scores in groups.values())


def test_hours_are_in_the_order_of_a_session(
    resampled: ResampledWindows, answers: list[ScoredPredictions], labeled: LabeledStarts
):
    hours = [int(name[:2]) for name in break_down(resampled, labeled, answers, TIMES)["hour"]]
    since_open = [(hour - 18) % 24 for hour in hours]
    assert since_open == sorted(since_open)


def score_of_group(n_sessions: int, n_rare: int) -> tuple[Resampled, Resampled]:
    """Type and untyped event F1 of a group of 12 expansions, all found and right, beside many others."""
    windows = made_windows(np.random.default_rng(0))
    chosen = np.flatnonzero(
        np.diff(windows.session[windows.spans.window], prepend=np.datetime64(0, "ns")) > 0
    )
    chosen = np.resize(chosen[:n_sessions], 12)
    kind = np.append(np.ones(n_rare, np.int64), np.zeros(12 - n_rare, np.int64))
    spans = windows.spans.select(np.append(chosen, np.arange(100, 140)))
    spans = replace(
        spans, start=np.append(30 + 3 * np.arange(12), np.full(40, 60)), type=np.append(kind, [0, 1] * 20)
    )
    spans = replace(
        spans, end=spans.start + 2, direction=np.append(np.ones(12), -np.ones(40)).astype(np.int8)
    )
    resampled = resample_windows(windows._replace(spans=spans), 400, np.random.default_rng(1))
    events = events_of(resampled.windows).assign(direction=spans.direction, row=0, score=1.0)
    starts = LabeledStarts(resampled.windows.bar0[spans.window] + spans.start, spans.direction)
    answers = [ScoredPredictions(np.where(spans.type == 1, 0.9, 0.1), events)]
    up = break_down(resampled, starts, answers, TIMES)["direction"]["up"]
    return up["type_f1_macro"], up["event_f1_untyped"]


def test_resamples_without_a_type_or_without_the_group_say_nothing_of_its_score():
    for one in score_of_group(n_sessions=8, n_rare=2):
        assert (one.interval.low, one.interval.high) == (1.0, 1.0)


@pytest.mark.parametrize("n_sessions", [1, 4])
def test_a_group_of_few_sessions_has_no_interval(n_sessions: int):
    for one in score_of_group(n_sessions, n_rare=6):
        assert one.estimate == 1.0
        assert np.isnan(one.interval.low) and np.isnan(one.interval.high)
