"""The pretraining study: cells are computed once, cached, and an interrupted study resumes."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from moola_pipeline.settings import StudySettings
from moola_pipeline.studies import pretraining_study
from moola_pipeline.studies.cell_runs import label_settings
from moola_pipeline.studies.pretraining_study import Progress, Study, planned
from moola_pipeline.studies.store import Cell, Store
from moola_pipeline.studies.summary import balanced_log_loss, study_rows
from moola_pipeline_tests.studies.studies import SMALL, made_study


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, list[Cell]]:
    study = made_study(tmp_path_factory.mktemp("study"))
    return study, study.run()


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Computations from now on: the arm of each network, or "encoder"."""
    done: list[str] = []
    trial, train = pretraining_study.run_cell, pretraining_study.pretrain
    monkeypatch.setattr(
        pretraining_study, "run_cell", lambda given, arm, *rest: done.append(arm) or trial(given, arm, *rest)
    )
    monkeypatch.setattr(pretraining_study, "pretrain", lambda *words: done.append("encoder") or train(*words))
    return done


def test_every_planned_cell_is_computed_in_order(held: tuple[Study, list[Cell]]):
    study, cells = held
    assert [(cell.arm, cell.distilled, cell.count, cell.seed) for cell in cells] == [
        tuple(it) for it in planned(SMALL)
    ]
    n_labels = len(study.data.validation.spans.window)
    for cell in cells:
        assert cell.count <= cell.n_labels <= cell.count + 1
        assert len(cell.p_retracement) == (0 if cell.arm == "measured" else n_labels)
        assert len(cell.probe) == n_labels


def test_computed_cells_are_not_computed_again(held: tuple[Study, list[Cell]], counted: list[str]):
    study, cells = held
    assert made_study(study.store.root).run() == cells
    assert counted == []


def test_an_interrupted_study_resumes_with_the_same_predictions(
    held: tuple[Study, list[Cell]], tmp_path: Path, counted: list[str]
):
    lines: list[str] = []

    def stop(progress: Progress, what: str) -> None:
        lines.append(what)
        if len(lines) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made_study(tmp_path).run(stop)
    before = len(counted)
    cells = made_study(tmp_path).run()

    def predictions(some: list[Cell]) -> list[dict[str, object]]:
        return [cell.model_dump(exclude={"seconds"}) for cell in some]

    assert predictions(cells) == predictions(held[1])
    networks = [plan for plan in planned(SMALL) if plan.arm != "measured"]
    assert counted.count("encoder") == 1
    assert len(counted) == len(networks) + 1 and 0 < before < len(counted)


def test_a_missing_or_damaged_cell_is_computed_again(
    held: tuple[Study, list[Cell]], tmp_path: Path, counted: list[str]
):
    study = made_study(tmp_path, SMALL.model_copy(update={"seeds": (0,), "counts": (12,)}))
    study.run()
    counted.clear()
    key = study.cell_key(planned(study.settings)[0])
    path = tmp_path / "cells" / f"{key}.json"
    path.write_text(path.read_text()[:40])
    study.run()
    assert counted == ["scratch"]
    path.unlink()
    study.run()
    assert counted == ["scratch", "scratch"]


@pytest.mark.parametrize("changed", ["labels_train", "labels_validation", "bars"])
def test_other_data_gives_another_cell_key(held: tuple[Study, list[Cell]], changed: str):
    study, work = held[0], planned(SMALL)[0]
    other = made_study(study.store.root, SMALL, **{changed: "other"})
    assert other.cell_key(work) != study.cell_key(work)
    assert other.store.cell(other.cell_key(work)) is None


def test_other_labels_keep_the_encoder_key(held: tuple[Study, list[Cell]]):
    study = held[0]
    encoder = SMALL.pretrain
    assert made_study(study.store.root, labels_train="other").encoder_key(encoder) == study.encoder_key(
        encoder
    )
    assert made_study(study.store.root, bars="other").encoder_key(encoder) != study.encoder_key(encoder)


@pytest.mark.parametrize("changes", [{"label_steps": 4}, {"probe_strength": 1.0}, {"encoder_seeds": 2}])
def test_another_setting_gives_another_cell_key(held: tuple[Study, list[Cell]], changes: dict[str, object]):
    study, work = held[0], planned(SMALL)[1]
    other = made_study(study.store.root, SMALL.model_copy(update=changes))
    assert other.cell_key(work) != study.cell_key(work)


def test_more_seeds_and_counts_keep_the_computed_cells(held: tuple[Study, list[Cell]]):
    study = held[0]
    wider = made_study(study.store.root, SMALL.model_copy(update={"seeds": (0, 1, 2), "counts": (6, 12, 24)}))
    cells = [wider.store.cell(wider.cell_key(work)) for work in planned(SMALL)]
    assert cells == held[1]


def test_validation_windows_do_not_change_the_weights(held: tuple[Study, list[Cell]], tmp_path: Path):
    study = held[0]
    one = SMALL.model_copy(update={"seeds": (0,), "counts": (12,)})
    there = made_study(tmp_path, one)
    part = there.data.validation
    turned = part._replace(spans=replace(part.spans, type=1 - part.spans.type))
    data = type(there.data)(there.data.market, there.data.train, turned)
    other = Study(data, there.windows, Store(tmp_path), one, there.origin)
    plain = [cell for cell in held[1] if (cell.seed, cell.count) == (0, 12)]
    for other_cell, cell in zip(other.run(), plain, strict=True):
        assert other_cell.p_retracement == cell.p_retracement and other_cell.probe == cell.probe
    assert study.store.root != tmp_path


def test_a_network_has_the_same_steps_at_every_count():
    settings = StudySettings(label_steps=60)
    for n_rows in (20, 40, 100, 328):
        plain = label_settings(settings, n_rows, distilled=False)
        steps = plain.epochs * -(-n_rows // plain.batch_windows)
        assert 60 <= steps < 60 + -(-n_rows // plain.batch_windows)
        assert plain.distill_windows == 0 and plain.collapse_epochs > plain.epochs


def test_time_left_is_estimated_from_the_mean_time():
    progress = Progress(total=10, done=4)
    assert progress.seconds_left is None
    progress.note_seconds("cell", 2.0)
    progress.note_seconds("cell", 4.0)
    assert progress.seconds_left == 18.0


def test_a_saved_cell_is_one_json_file_and_no_other_file_is_left(held: tuple[Study, list[Cell]]):
    files = sorted(os.listdir(held[0].store.root / "cells"))
    assert len(files) == len(planned(SMALL)) and all(name.endswith(".json") for name in files)
    assert json.loads((held[0].store.root / "cells" / files[0]).read_text())["arm"]


def test_differences_are_paired_with_scratch_over_the_same_seeds(held: tuple[Study, list[Cell]]):
    study, cells = held
    rows = study_rows(cells, study.data.validation, 100)
    by_name = {(row.arm, row.distilled, row.count): row for row in rows}
    assert len(by_name) == len(planned(SMALL)) / len(SMALL.seeds)
    for count in SMALL.counts:
        scratch, own = by_name["scratch", False, count], by_name["hidden_blocks", False, count]
        gained = own.minus_scratch["type_f1_macro"].estimate
        difference = (own.scores["type_f1_macro"].estimate or 0) - (
            scratch.scores["type_f1_macro"].estimate or 0
        )
        assert gained == pytest.approx(difference)
        assert scratch.minus_scratch == {}
    assert by_name["hidden_blocks", False, 12].minus_scratch_at_most
    assert not by_name["hidden_blocks", False, 24].minus_scratch_at_most
    assert set(by_name["measured", False, 12].scores) == {"probe_type_f1", "probe_log_loss"}


def test_a_seed_missing_in_scratch_is_left_out_of_the_difference(held: tuple[Study, list[Cell]]):
    study, cells = held
    fewer = [cell for cell in cells if not (cell.arm == "scratch" and cell.seed == 1)]
    some = [cell for cell in fewer if not (cell.arm == "hidden_blocks" and cell.seed == 1)]
    rows, other = (study_rows(part, study.data.validation, 100) for part in (fewer, some))

    def gained(of: list) -> object:
        return next(row for row in of if row.arm == "hidden_blocks" and row.count == 12).minus_scratch

    assert gained(rows) == gained(other)


def test_balanced_log_loss_worked_by_hand():
    y, p = np.array([0, 0, 0, 1]), np.array([0.5, 0.5, 0.5, 0.25])
    assert balanced_log_loss(y, p, np.ones(4)) == pytest.approx((np.log(2) + np.log(4)) / 2)
    assert np.isnan(balanced_log_loss(y, p, np.array([1, 1, 1, 0])))
