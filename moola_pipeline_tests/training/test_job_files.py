"""Job files: task, result and errors come back unchanged."""

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


def written_and_read(
    folder: Path, windows: np.ndarray = WINDOWS, checkpoints: Checkpoints | None = None
) -> PretrainTask:
    write_task(PretrainTask(SOURCE, windows, small_with(epochs=1), TERMS, checkpoints), folder)
    return read_task(folder)


def test_a_task_comes_back_and_gives_the_same_weights(tmp_path: Path):
    task = written_and_read(tmp_path, checkpoints=Checkpoints(tmp_path / "kept", "abc"))

    assert task.terms == TERMS and task.settings == small_with(epochs=1)
    assert task.checkpoints == Checkpoints(tmp_path / "kept", "abc")
    assert task.windows.tolist() == WINDOWS.tolist()
    here, there = (pretrain(source, WINDOWS, task.settings) for source in (SOURCE, task.market))
    assert np.array_equal(weights_of(here), weights_of(there))


def test_no_bar_after_the_last_window_is_written(tmp_path: Path):
    task = written_and_read(tmp_path, WINDOWS[:10])
    end = int(WINDOWS[9]) + WINDOW_BARS

    assert end < len(SOURCE.features)
    assert len(task.market.features) == len(task.market.atr) == len(task.market.prices) == end
    assert task.checkpoints is None


def test_arrays_are_memory_mapped(tmp_path: Path):
    source = written_and_read(tmp_path).market

    assert all(isinstance(table, np.memmap) for table in (source.features, source.atr, source.prices))


def test_a_result_comes_back(tmp_path: Path):
    made = pretrain(SOURCE, WINDOWS, small_with(epochs=2))
    write_result(made, tmp_path)
    restored = read_result(tmp_path)

    assert np.array_equal(weights_of(restored), weights_of(made)) and not restored.encoder.training
    assert (restored.errors, restored.history) == (made.errors, made.history)
    assert (restored.n_windows, restored.last_row) == (made.n_windows, made.last_row)


def test_every_file_is_hidden_and_temporary_by_its_name(tmp_path: Path):
    written_and_read(tmp_path)
    write_result(pretrain(SOURCE, WINDOWS, small_with(epochs=1)), tmp_path)
    WorkerError("KeyError", "x").write(tmp_path, 0)

    assert {path.name[0] + path.suffix for path in tmp_path.iterdir()} == {"..tmp"}


def test_errors_come_back_by_rank(tmp_path: Path):
    for rank, raised in (
        (10, KeyError("late")),
        (2, LossNotFinite.in_windows(float("inf"), [5, 7])),
        (0, BadInput("no")),
    ):
        WorkerError.of(raised).write(tmp_path, rank)
    errors = worker_errors(tmp_path)

    assert list(errors) == [0, 2, 10]
    assert str(errors[0].to_exception()) == "no" and isinstance(errors[0].to_exception(), BadInput)
    restored = errors[2].to_exception()
    assert isinstance(restored, LossNotFinite) and (restored.loss, restored.rows) == (float("inf"), (5, 7))
    assert errors[10].to_exception() is None and errors[10].text == "'late'"


def test_a_pickled_array_is_refused(tmp_path: Path):
    written_and_read(tmp_path)
    with job_file(tmp_path, "atr").open("wb") as stream:
        np.save(stream, np.array([{}], object), allow_pickle=True)
    with pytest.raises(ValueError, match="Python objects"):
        read_task(tmp_path)
