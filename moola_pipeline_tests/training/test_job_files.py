"""What goes to several processes and comes back from them is what it was, to the last bit."""

from pathlib import Path

import numpy as np
import pytest

from moola_pipeline.errors import BadInput, LossNotFinite
from moola_pipeline.training.checkpoints import Checkpoints
from moola_pipeline.training.job_files import (
    PretrainTask,
    WorkerError,
    WorkerSettings,
    read_result,
    read_task,
    worker_errors,
    write_result,
    write_task,
)
from moola_pipeline.training.pretrain import pretrain
from moola_pipeline.training.torchrun import job_file
from moola_pipeline.windows.window_geometry import WINDOW_BARS
from moola_pipeline_tests.training.test_pretrain import SOURCE, WINDOWS, small_with, weights_of

TERMS = WorkerSettings(device="cpu", tf32=False, threads=1, processes=2)


def handed(
    folder: Path, windows: np.ndarray = WINDOWS, checkpoints: Checkpoints | None = None
) -> PretrainTask:
    write_task(PretrainTask(SOURCE, windows, small_with(epochs=1), TERMS, checkpoints), folder)
    return read_task(folder)


def test_a_task_comes_over_and_gives_the_same_weights(tmp_path: Path):
    task = handed(tmp_path, checkpoints=Checkpoints(tmp_path / "kept", "abc"))

    assert task.terms == TERMS and task.settings == small_with(epochs=1)
    assert task.checkpoints == Checkpoints(tmp_path / "kept", "abc")
    assert task.windows.tolist() == WINDOWS.tolist()
    here, there = (pretrain(source, WINDOWS, task.settings) for source in (SOURCE, task.market))
    assert np.array_equal(weights_of(here), weights_of(there))


def test_no_bar_after_the_last_window_is_handed_over(tmp_path: Path):
    task = handed(tmp_path, WINDOWS[:10])
    end = int(WINDOWS[9]) + WINDOW_BARS

    assert end < len(SOURCE.features)
    assert len(task.market.features) == len(task.market.atr) == len(task.market.prices) == end
    assert task.checkpoints is None


def test_tables_stay_on_disk_where_processes_share_them(tmp_path: Path):
    source = handed(tmp_path).market

    assert all(isinstance(table, np.memmap) for table in (source.features, source.atr, source.prices))


def test_a_result_comes_back(tmp_path: Path):
    made = pretrain(SOURCE, WINDOWS, small_with(epochs=2))
    write_result(made, tmp_path)
    got = read_result(tmp_path)

    assert np.array_equal(weights_of(got), weights_of(made)) and not got.encoder.training
    assert (got.errors, got.history) == (made.errors, made.history)
    assert (got.n_windows, got.last_row) == (made.n_windows, made.last_row)


def test_every_file_is_hidden_and_temporary_by_its_name(tmp_path: Path):
    handed(tmp_path)
    write_result(pretrain(SOURCE, WINDOWS, small_with(epochs=1)), tmp_path)
    WorkerError("KeyError", "x").leave(tmp_path, 0)

    assert {path.name[0] + path.suffix for path in tmp_path.iterdir()} == {"..tmp"}


def test_faults_come_back_by_the_number_of_the_process(tmp_path: Path):
    for rank, raised in (
        (10, KeyError("late")),
        (2, LossNotFinite.in_windows(float("inf"), [5, 7])),
        (0, BadInput("no")),
    ):
        WorkerError.of(raised).leave(tmp_path, rank)
    found = worker_errors(tmp_path)

    assert list(found) == [0, 2, 10]
    assert str(found[0].as_ours()) == "no" and isinstance(found[0].as_ours(), BadInput)
    lost = found[2].as_ours()
    assert isinstance(lost, LossNotFinite) and (lost.loss, lost.rows) == (float("inf"), (5, 7))
    assert found[10].as_ours() is None and found[10].text == "'late'"


def test_nothing_is_handed_over_by_pickle(tmp_path: Path):
    handed(tmp_path)
    with job_file(tmp_path, "atr").open("wb") as stream:
        np.save(stream, np.array([{}], object), allow_pickle=True)
    with pytest.raises(ValueError, match="Python objects"):
        read_task(tmp_path)
