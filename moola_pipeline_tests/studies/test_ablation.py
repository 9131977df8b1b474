"""The ablation: folds that share no bar, trainings done once, differences paired with the default."""

from pathlib import Path

import numpy as np
import pytest

from moola_pipeline.studies import ablation
from moola_pipeline.studies.ablation import AblationStore, cached_outcomes, run_ablation
from moola_pipeline.studies.ablation_folds import N_FOLDS, StudyData, reach, time_folds, whole_training
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


def test_every_window_is_held_out_once_and_none_near_the_block_is_trained_on(data: StudyData):
    folds = list(time_folds(data))
    assert len(folds) == N_FOLDS
    assert np.array_equal(sum(fold.held_out.astype(int) for fold in folds), np.ones(len(data)))
    for fold in folds:
        block, learned = data.train.bar0[fold.held_out], data.train.bar0[fold.learned]
        assert np.abs(block[:, None] - learned[None]).min() >= reach()
        assert not fold.touches(learned).any()
        assert len(fold.block.windows.bar0) == fold.held_out.sum()
        assert not fold.touches(fold.pretraining_windows()).any()


def test_the_whole_training_holds_nothing_out(data: StudyData):
    whole = whole_training(data)
    assert whole.learned.all() and not whole.held_out.any()
    assert not whole.touches(data.train.bar0).any()


def test_names_of_rows_are_unique_on_their_path_and_each_path_has_its_default():
    names = [(row.path, row.name) for row in ROWS]
    assert len(set(names)) == len(names)
    for path in {row.path for row in ROWS}:
        (default,) = (row for row in ROWS if row.path == path and row.name == DEFAULT)
        assert not default.changes and not default.random_encoder and not default.sparse


def predictions(fold, row: Row) -> dict:
    """Correct predictions, except for one per fold in rows other than the default."""
    windows = fold.block.windows
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
    monkeypatch.setattr(ablation, "_trained", lambda fold, row, seed, store, device: predictions(fold, row))
    store = AblationStore(tmp_path, "code")
    run_ablation(data, [FIRST], [0], store, on_training=done.append)
    assert len(done) == N_FOLDS
    assert len(cached_outcomes(data, [FIRST, ROW], [0], store)) == N_FOLDS  # the other row is incomplete

    outcomes = run_ablation(data, [FIRST, ROW], [0], store, on_training=done.append)
    assert len(done) == 2 * N_FOLDS
    default, row = tabulate(data.train, outcomes)
    assert default.scores["type_f1_macro"].estimate == default.scores["event_f1_macro"].estimate == 1
    assert default.differences == {}
    assert row.differences["type_f1_macro"].high < 0 < row.differences["type_log_loss"].low
    assert row.differences["event_f1_macro"].estimate == 0
    assert any(line.startswith("| no warp | 1 | **−") for line in table_lines([default, row]))


def test_another_setting_fold_or_seed_has_another_file(data: StudyData, tmp_path: Path):
    store = AblationStore(tmp_path, "code")
    paths = {store.path(data, row, fold, seed) for row in ROWS for fold in (0, 1) for seed in (0, 1)}
    assert len(paths) == 4 * len(ROWS)
