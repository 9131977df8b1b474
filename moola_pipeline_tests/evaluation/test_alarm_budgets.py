"""Thresholds by alarm budget: by hand, within the budget, and equal to what `predict` raises."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moola_pipeline.evaluation.alarm_budgets import BUDGETS, fit_budgets
from moola_pipeline.evaluation.live import AlarmCandidates
from moola_pipeline.models.live import OnsetCandidates

DAYS = np.array(["2025-01-06", "2025-01-07"], "datetime64[ns]")


def candidates_of(probability: list[float], spacing: int = 100) -> AlarmCandidates:
    """Candidates so far apart that none suppresses another, half of them in each of two sessions."""
    n = len(probability)
    closed = spacing * np.arange(n, dtype=np.int64)
    series = (np.arange(n) * 2 // max(n, 1)).astype(np.int64)
    no_logits = np.zeros(n)
    candidates = OnsetCandidates(closed, closed, np.ones(n, np.int64), np.arange(n), no_logits, no_logits)
    return AlarmCandidates(DAYS, candidates, series, DAYS[series], np.array(probability))


def test_the_threshold_of_a_budget_worked_by_hand():
    """Two sessions: one alarm a session are the two most probable ones, three are the first six."""
    fitted = candidates_of([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2])
    thresholds = fit_budgets(fitted)
    assert list(thresholds) == list(BUDGETS) == list(range(1, 21))
    assert (thresholds[1], thresholds[2], thresholds[3], thresholds[4]) == (0.8, 0.6, 0.4, 0.2)
    assert thresholds[20] == 0.2


@given(st.lists(st.floats(0.01, 0.99), min_size=1, max_size=60), st.sampled_from([1, 4, 100]))
def test_alarms_keep_within_the_budget_and_grow_with_it(probability: list[float], spacing: int):
    fitted = candidates_of(probability, spacing)
    thresholds = fit_budgets(fitted)
    tried = np.array([*(thresholds[budget] for budget in BUDGETS), fitted.probability.max()])
    *counts, top = (
        len(alarms) / len(DAYS) for alarms in fitted.alarms(tried)
    )  # top: ties cannot be told apart
    assert all(count <= max(budget, top) for count, budget in zip(counts, BUDGETS, strict=True))
    values = list(thresholds.values())
    assert values == sorted(values, reverse=True)


def test_sessions_without_a_candidate_get_a_threshold_that_raises_nothing():
    assert set(fit_budgets(candidates_of([])).values()) == {1.0}


def test_a_model_without_live_mode_has_no_budgets():
    from types import SimpleNamespace

    from moola_pipeline.evaluation.alarm_budgets import score_alarm_budgets

    hindsight_only = SimpleNamespace(thresholds=SimpleNamespace(live=None))
    assert score_alarm_budgets(None, None, None, hindsight_only, None, "cpu") == {}  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("spacing", [1, 5])
def test_alarms_of_one_move_count_once(spacing: int):
    """Candidates within 10 bars of an alarm are suppressed, so a low threshold may raise fewer alarms."""
    fitted = candidates_of([0.5, 0.9, 0.6, 0.4], spacing)
    assert fit_budgets(fitted)[1] == 0.4
    assert len(next(fitted.alarms(np.array([0.4])))) <= 2
