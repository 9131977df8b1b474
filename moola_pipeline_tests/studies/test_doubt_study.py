"""The doubt study: labels needed, worked by hand, and one small repeat."""

from pathlib import Path

import numpy as np
import pytest

from moola_pipeline.label_choice import trees
from moola_pipeline.studies import doubt_study
from moola_pipeline.studies.doubt_study import (
    ArmSteps,
    DoubtStudySettings,
    doubt_repeat,
    mean_over_repeats,
    needed_labels,
    reached,
    run_doubt_study,
)
from moola_pipeline.studies.labeled_market import LabeledMarket
from moola_pipeline_tests.made_bars import made_market
from moola_pipeline_tests.studies.conftest import LOOSE

SMALL = DoubtStudySettings(first_windows=20, batch_windows=6, batches=2, per_session=3)


@pytest.fixture(autouse=True)
def quick_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trees, "N_TREES", 20)
    monkeypatch.setattr(trees, "fit_proposer", lambda *_: LOOSE)


def made_ground() -> LabeledMarket:
    made = made_market(20)
    pool, test = (made.windows.select(np.arange(*ends)) for ends in ((0, 42), (42, 60)))
    return LabeledMarket(made.bars, pool, test)


def steps(marks: list[int], score: list[float]) -> ArmSteps:
    return ArmSteps(marks=marks, event_f1_macro=score, event_f1_untyped=score)


def test_labels_needed_worked_by_hand():
    random, doubt = steps([20, 40, 60], [0.2, 0.3, 0.4]), steps([20, 60, 100], [0.2, 0.4, 0.5])
    needed = needed_labels([{"random": random, "doubt": doubt}] * 3, [40, 80, 120])
    # both reach .4: random with its last window and mark, doubt after the first batch
    assert needed.target.estimate == pytest.approx(0.4)
    assert (needed.windows["random"].estimate, needed.windows["doubt"].estimate) == (120, 80)
    assert (needed.marks["random"].estimate, needed.marks["doubt"].estimate) == (60, 60)
    assert (needed.fewer_windows.estimate, needed.fewer_windows.low, needed.fewer_windows.high) == (
        40,
        40,
        40,
    )
    assert needed.fewer_marks.estimate == pytest.approx(0)


def test_a_score_between_two_steps_is_reached_between_them():
    assert reached([40, 80], np.array([0.2, 0.4]), 0.3) == pytest.approx(60)
    assert reached([40, 80], np.array([0.2, 0.4]), 0.1) == 40
    assert reached([40, 80], np.array([0.2, 0.4]), 0.5) == np.inf


def test_the_mean_over_repeats_lies_in_its_interval():
    mean = mean_over_repeats([0.1, 0.2, 0.3, 0.4])
    assert mean.estimate == pytest.approx(0.25)
    assert mean.low < 0.25 < mean.high
    assert mean.n == 4


def test_both_arms_begin_alike_and_open_equally_many_windows():
    arms = doubt_repeat(made_ground(), SMALL, 0)
    random, doubt = arms["random"], arms["doubt"]
    assert (random.marks[0], random.event_f1_macro[0]) == (doubt.marks[0], doubt.event_f1_macro[0])
    assert SMALL.windows == [20, 26, 32]
    for arm in arms.values():
        assert len(arm.marks) == len(arm.event_f1_macro) == 3
        assert arm.marks == sorted(arm.marks)


def test_a_finished_repeat_is_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(doubt_study, "make_labeled_market", lambda seed: made_ground())
    said: list[str] = []
    first = run_doubt_study([0, 1], SMALL, tmp_path, "code", said.append)
    again = run_doubt_study([0, 1], SMALL, tmp_path, "code", said.append)
    assert said == ["doubt, market 0", "doubt, market 1"]
    assert first == again
    run_doubt_study([0], SMALL, tmp_path, "other code", said.append)
    assert len(said) == 3
