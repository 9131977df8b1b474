"""The ablation: folds that share no bar, trainings done once, differences paired with the default."""

from pathlib import Path

import numpy as np
import pytest

from moola_pipeline.studies import ablation
from moola_pipeline.studies.ablation import AblationStore, Plan, Training, cached_outcomes, run_ablation
from moola_pipeline.studies.ablation_folds import (
    N_FOLDS,
    StudyData,
    reach,
    time_folds,
    validation_halves,
    whole_training,
)
from moola_pipeline.studies.ablation_rows import DEFAULT, ROWS, Row
from moola_pipeline.studies.ablation_table import table_lines, tabulate
from moola_pipeline_tests.made_bars import made_market

ROW = Row("no warp", "labels", {"warp": 0.0})
FIRST = Row(DEFAULT, "labels")


@pytest.fixture(scope="module")
def data() -> StudyData:
    market = made_market(20)
    source = market.bars
    train, validation = (market.windows.select(np.arange(*ends)) for ends in ((0, 45), (48, 60)))
    return StudyData(source, train, validation, "made")


def test_every_window_is_scored_once_and_none_near_the_block_is_trained_on(data: StudyData):
    folds = list(time_folds(data))
    assert len(folds) == N_FOLDS
    assert [name for fold in folds for name in fold.scored.window_id] == data.train.window_id.tolist()
    for fold in folds:
        block, learned = fold.scored.bar0, fold.learned.bar0
        assert np.abs(block[:, None] - learned[None]).min() >= reach()
        assert not fold.touches(learned).any()
        assert not fold.touches(fold.pretraining_windows()).any()


def test_each_half_of_validation_is_scored_with_thresholds_of_the_other(data: StudyData):
    halves = list(validation_halves(data))
    assert [name for fold in halves for name in fold.scored.window_id] == data.validation.window_id.tolist()
    for fold in halves:
        assert np.array_equal(fold.learned.window_id, data.train.window_id)
        assert np.abs(fold.scored.bar0[:, None] - fold.validating.bar0[None]).min() >= reach()
        assert len(fold.validating.bar0) >= 1


def test_the_whole_training_scores_nothing(data: StudyData):
    whole = whole_training(data)
    assert np.array_equal(whole.learned.window_id, data.train.window_id) and not len(whole.scored.bar0)
    assert not whole.touches(data.train.bar0).any()


def test_each_seed_draws_labels_of_its_own_from_what_a_fold_learns(data: StudyData):
    fold = next(time_folds(data))
    first, same, other = (fold.draw(12, seed) for seed in (0, 0, 1))
    assert np.array_equal(first.learned.window_id, same.learned.window_id)
    assert set(first.learned.window_id) != set(other.learned.window_id)
    assert set(first.learned.window_id) < set(fold.learned.window_id)
    assert first.scored is fold.scored
    assert fold.draw(None, 0) is fold
    assert np.array_equal(fold.draw(10_000, 0).learned.window_id, fold.learned.window_id)


def test_names_of_rows_are_unique_on_their_path_and_each_path_has_its_default():
    names = [(row.path, row.name) for row in ROWS]
    assert len(set(names)) == len(names)
    for path in {row.path for row in ROWS}:
        (default,) = (row for row in ROWS if row.path == path and row.name == DEFAULT)
        assert default.pretrained and not default.changes and not default.sparse and not default.method


def predictions(fold, row: Row) -> dict:
    """Correct predictions, except for one per fold in rows other than the default."""
    windows = fold.scored
    p = np.where(windows.spans.type == 1, 0.9, 0.1)
    if row.name != DEFAULT:
        p[0] = 1 - p[0]
    spans = windows.spans
    events = {"window": spans.window, "start": spans.start, "end": spans.end, "type": spans.type}
    return {
        "window_id": windows.window_id.tolist(),
        "p_balanced": p.tolist(),
        "p_calibrated": p.tolist(),
        "events": {name: values.tolist() for name, values in events.items()},
        "seconds": 1.0,
    }


def test_a_cached_training_is_not_repeated_and_the_table_is_paired(
    data: StudyData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    done: list[str] = []
    monkeypatch.setattr(ablation, "_trained", lambda fold, training, *_: predictions(fold, training.row))
    store = AblationStore(tmp_path, data.digest, "code")
    run_ablation(data, Plan([FIRST], [0]), store, on_training=done.append)
    assert len(done) == N_FOLDS
    both = Plan([FIRST, ROW], [0])
    assert len(cached_outcomes(data, both, store)) == N_FOLDS  # the other row is incomplete

    outcomes = run_ablation(data, both, store, on_training=done.append, workers=2)
    assert len(done) == 2 * N_FOLDS
    default, row = tabulate(data.train, outcomes)
    assert default.scores["type_f1_macro"].estimate == default.scores["event_f1_macro"].estimate == 1
    assert default.differences == row.spread == {}
    assert row.differences["type_f1_macro"].high < 0 < row.differences["type_log_loss"].low
    assert row.differences["event_f1_macro"].estimate == 0
    assert any(line.startswith("| no warp | 1 | **−") for line in table_lines([default, row]))


def test_the_spread_over_seeds_is_that_of_the_paired_differences(
    data: StudyData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The row is one expansion a fold worse with seed 1, and equal to the default with seed 0."""
    monkeypatch.setattr(
        ablation, "_trained", lambda fold, it, *_: predictions(fold, it.row if it.seed else FIRST)
    )
    store = AblationStore(tmp_path, data.digest, "code")
    default, row = tabulate(data.train, run_ablation(data, Plan([FIRST, ROW], [0, 1], 12), store))
    assert default.spread["type_f1_macro"] == 0
    difference = row.differences["type_f1_macro"].estimate
    assert row.spread["type_f1_macro"] == pytest.approx(-difference * np.sqrt(2))
    assert " ± 0." in table_lines([default, row])[-1]


def test_rows_can_be_compared_with_another_than_the_default(
    data: StudyData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(ablation, "_trained", lambda fold, it, *_: predictions(fold, it.row))
    store = AblationStore(tmp_path, data.digest, "code")
    outcomes = run_ablation(data, Plan([FIRST, ROW], [0]), store)
    _, row = tabulate(data.train, outcomes)
    turned, base = tabulate(data.train, outcomes, against=ROW.name)
    assert base.differences == {} and base.scores == row.scores
    forward, back = (it.differences["type_f1_macro"] for it in (row, turned))
    assert (back.estimate, back.low, back.high) == pytest.approx(
        (-forward.estimate, -forward.high, -forward.low)
    )


def test_trees_in_place_of_the_network_are_scored_on_the_same_windows(data: StudyData, tmp_path: Path):
    trees = Row("trees", "labels", method="extra_trees_numbers")
    store = AblationStore(tmp_path, data.digest, "code")
    (row,) = tabulate(data.validation, run_ablation(data, Plan([trees], [0], 30, True), store))
    assert row.scores["type_f1_macro"].estimate > 0.8  # the made market types by its bars alone


def test_another_setting_method_fold_seed_or_number_of_labels_has_another_file(tmp_path: Path):
    store = AblationStore(tmp_path, "data", "code")
    trainings = [
        Training(row, fold, seed, n) for row in ROWS for fold in (0, 1) for seed in (0, 1) for n in (None, 9)
    ]
    assert len({store.path(training) for training in trainings}) == 8 * len(ROWS)
