"""Each check passes on a working installation and fails on a broken one."""

from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

from moola_pipeline.evaluation.scoring import EvaluatedModel, LabeledTestSet
from moola_pipeline.metrics.breakdowns import ScoredPredictions
from moola_pipeline.metrics.scores import Scored, score_ends, score_events, score_types
from moola_pipeline.selftest import checks
from moola_pipeline.selftest.checks import (
    Selftest,
    SelftestCheck,
    collapse_caught,
    constant_pointer_caught,
    expansions_found,
    leak_caught,
    no_signal_at_chance,
    selftest,
    signal_found,
)
from moola_pipeline.selftest.planted import PlantedSignal
from moola_pipeline_tests.evaluation.made_answers import made_events, made_ground, made_p


@pytest.fixture(scope="module")
def planted() -> PlantedSignal:
    """Labels and splits only: no check below reads a price."""
    resampled = made_ground(resamples=300)
    test_set = LabeledTestSet(cast(Any, None), resampled)
    return PlantedSignal(pd.DataFrame(), test_set, resampled.windows, resampled.windows)


def evaluated(planted: PlantedSignal, p: np.ndarray, events: pd.DataFrame) -> EvaluatedModel:
    resampled = planted.test_set.resampled
    scores: Scored = {
        **score_types(resampled, p),
        **score_events(resampled, events),
        **score_ends(resampled, events),
    }
    return EvaluatedModel(scores, {0: scores}, {0: ScoredPredictions(p, events)}, {0: p}, {0: (0.0, 0.1)})


@pytest.fixture(scope="module")
def good(planted: PlantedSignal) -> EvaluatedModel:
    rng = np.random.default_rng(0)
    resampled = planted.test_set.resampled
    return evaluated(planted, made_p(resampled, rng, signal=0.6), made_events(resampled, rng))


@pytest.fixture(scope="module")
def blind(planted: PlantedSignal) -> EvaluatedModel:
    """Predictions independent of the labels, with one span in every window."""
    rng = np.random.default_rng(1)
    resampled = planted.test_set.resampled
    events = pd.DataFrame({"window_id": resampled.windows.window_id, "start": 50, "end": 55, "type": 0})
    return evaluated(planted, made_p(resampled, rng, signal=0.0), events)


def test_a_signal_is_found_where_predictions_follow_it(
    planted: PlantedSignal, good: EvaluatedModel, blind: EvaluatedModel
):
    assert signal_found(planted, good).passed
    assert not signal_found(planted, blind).passed


def test_expansions_are_found_where_predictions_follow_them(
    planted: PlantedSignal, good: EvaluatedModel, blind: EvaluatedModel
):
    assert expansions_found(planted, good).passed
    assert not expansions_found(planted, blind).passed


def test_a_network_with_leaked_types_is_not_at_chance(
    planted: PlantedSignal, good: EvaluatedModel, blind: EvaluatedModel
):
    assert no_signal_at_chance(planted, blind).passed
    assert not no_signal_at_chance(planted, good).passed


def test_a_collapse_is_caught_and_missed_with_broken_margins(
    planted: PlantedSignal, good: EvaluatedModel, monkeypatch: pytest.MonkeyPatch
):
    assert collapse_caught(planted, good).passed
    monkeypatch.setattr(checks, "margins", lambda *_: {"type_f1_macro": 0.1})
    assert not collapse_caught(planted, good).passed


def test_a_constant_pointer_is_caught_only_if_another_passes(
    planted: PlantedSignal, good: EvaluatedModel, blind: EvaluatedModel
):
    assert constant_pointer_caught(planted, good).passed
    assert not constant_pointer_caught(planted, blind).passed


def labeled() -> pd.DataFrame:
    rows = [
        (f"w{i}", 1000 * i, split) for i, split in enumerate(["train"] * 3 + ["validation", "test", "test"])
    ]
    return pd.DataFrame(rows, columns=["window_id", "bar0", "split"])


def test_a_leak_is_caught_and_missed_with_a_broken_check(monkeypatch: pytest.MonkeyPatch):
    assert leak_caught(labeled()).passed
    monkeypatch.setattr(checks, "find_leakage", lambda frame: [])
    assert not leak_caught(labeled()).passed


def test_splits_that_already_leak_fail_the_check():
    assert not leak_caught(labeled().assign(bar0=0)).passed


def test_one_failed_check_fails_the_self_test():
    fine = SelftestCheck("a", True, 1.0, "> 0", "")
    assert Selftest((fine,), 1.0, "cpu").passed
    assert not Selftest((fine, SelftestCheck("b", False, -1.0, "> 0", "")), 1.0, "cpu").passed


@pytest.mark.slow
def test_this_installation_passes_in_under_two_minutes():
    steps: list[str] = []
    result = selftest("cpu", steps.append)
    assert [check.name for check in result.checks if not check.passed] == []
    assert len(result.checks) == 7
    assert result.seconds < 120
    assert len(steps) == 4
