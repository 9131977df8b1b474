"""The slip study: slips are planted as counted, and precision is worked by hand."""

import numpy as np
import pytest

from moola_pipeline.label_choice import trees
from moola_pipeline.studies.labeled_market import LabeledMarket
from moola_pipeline.studies.slip_study import SlipRepeat, SlipStudySettings, plant_slips, slip_repeat
from moola_pipeline.windows.window_geometry import CORE_FIRST, CORE_LAST
from moola_pipeline_tests.made_bars import made_market
from moola_pipeline_tests.studies.conftest import LOOSE


def test_precision_worked_by_hand():
    repeat = SlipRepeat(
        order=[3, 1, 0, 2], type_order=[0, 3, 1, 2], swapped=[3], moved=[0], n_labels=4, estimated=1.0
    )
    assert (repeat.precision(1), repeat.precision(2), repeat.precision(4)) == (1.0, 0.5, 0.5)
    assert repeat.share == 0.5
    assert (repeat.type_precision(1), repeat.type_precision(2), repeat.swapped_share) == (0.0, 0.5, 0.25)
    assert (repeat.found([3], 1), repeat.found([0], 1)) == (1.0, 0.0)


@pytest.mark.parametrize("seed", range(5))
def test_every_slip_is_recorded_and_nothing_else_changes(seed: int):
    windows = made_market(20).windows
    settings = SlipStudySettings(swapped_share=0.1, moved_share=0.1)
    planted = plant_slips(windows, settings, np.random.default_rng(seed))
    n = len(windows.spans.window)
    assert len(planted.swapped) == len(planted.moved) == round(0.1 * n)
    assert not set(planted.swapped) & set(planted.moved)
    before = {tuple(int(v) for v in row) for row in zip(*windows.spans.arrays, strict=True)}
    spans = planted.windows.spans
    changed = {
        i for i, row in enumerate(zip(*spans.arrays, strict=True)) if tuple(int(v) for v in row) not in before
    }
    assert changed == {*planted.swapped.tolist(), *planted.moved.tolist()}
    assert ((spans.start >= CORE_FIRST) & (spans.start <= CORE_LAST)).all()
    assert (np.lexsort((spans.start, spans.window)) == np.arange(n)).all()


def test_a_repeat_ranks_each_label_once(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(trees, "N_TREES", 20)
    monkeypatch.setattr(trees, "fit_proposer", lambda *_: LOOSE)
    made = made_market(20)
    repeat = slip_repeat(
        LabeledMarket(made.bars, made.windows, made.windows), SlipStudySettings(labels=40), 0
    )
    assert sorted(repeat.order) == sorted(repeat.type_order) == list(range(repeat.n_labels))
    assert repeat.n_labels >= 40
