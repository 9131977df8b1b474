"""Pretraining in several processes: the result of one process, and no process left at the end."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from filelock import FileLock

from moola_pipeline.errors import LossNotFinite, MoolaError
from moola_pipeline.resources.pretraining_processes import shared_folder
from moola_pipeline.storage.home import PROJECT_ROOT, Home
from moola_pipeline.training.checkpoints import Checkpoints
from moola_pipeline.training.pretrain import PretrainResult, pretrain
from moola_pipeline.training.settings import PretrainSettings
from moola_pipeline_tests.resources.pretraining_parent import BARS, SETTINGS, WINDOWS, in_two

SECONDS_TO_END = 5


def weights_of(result: PretrainResult) -> np.ndarray:
    return np.concatenate([tensor.numpy().ravel() for tensor in result.encoder.state_dict().values()])


def curve_of(result: PretrainResult) -> np.ndarray:
    return np.array([[entry["train_loss"], entry["val_loss"]] for entry in result.history])


def at_work_in(home: Path) -> list[psutil.Process]:
    """All processes that use a home's folder."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if any(word.startswith(str(home / ".dagster" / "ranks")) for word in words):
            found.append(process)
    return found


def await_none_in(home: Path) -> int:
    deadline = time.monotonic() + SECONDS_TO_END
    while at_work_in(home) and time.monotonic() < deadline:
        time.sleep(0.1)
    return len(at_work_in(home))


def ranks_in(home: Path) -> list[psutil.Process]:
    return [one for one in at_work_in(home) if any("pretrain_rank" in word for word in one.cmdline())]


def check_two_against_one(home: Path, settings: PretrainSettings) -> None:
    told: list[dict[str, float]] = []
    at_work: list[int] = []

    def on_epoch(entry: dict[str, float]) -> None:
        told.append(entry)
        at_work.append(len(ranks_in(home)))

    one, two = pretrain(BARS, WINDOWS, settings), in_two(Home(home), settings, on_epoch)
    np.testing.assert_allclose(curve_of(two), curve_of(one), rtol=1e-5)
    np.testing.assert_allclose(weights_of(two), weights_of(one), rtol=1e-5, atol=1e-6)
    assert two.errors == pytest.approx(one.errors, rel=1e-5)
    assert (two.n_windows, two.last_row) == (one.n_windows, one.last_row)
    assert told == two.history and at_work[0] == 2  # epochs are reported during training
    assert list((home / ".dagster" / "ranks").iterdir()) == []
    assert await_none_in(home) == 0


def test_two_processes_give_the_result_of_one_within_rounding(tmp_path: Path):
    check_two_against_one(tmp_path, SETTINGS.model_copy(update={"dropout": 0.0, "epochs": 12}))


@pytest.mark.slow
def test_two_processes_give_the_result_of_one_with_dropout_too(tmp_path: Path):
    check_two_against_one(tmp_path, SETTINGS.model_copy(update={"dropout": 0.3, "epochs": 12}))


@pytest.mark.slow
def test_a_loss_that_is_not_finite_comes_back_with_its_windows(tmp_path: Path):
    with pytest.raises(LossNotFinite) as stop:
        in_two(Home(tmp_path), SETTINGS.model_copy(update={"learning_rate": 1e30}), lambda _: None)

    assert set(stop.value.rows) <= set(WINDOWS.tolist()) and len(stop.value.rows) == SETTINGS.batch_windows
    assert await_none_in(tmp_path) == 0


@pytest.mark.slow
def test_a_killed_rank_ends_all_and_the_next_run_resumes(tmp_path: Path):
    settings = SETTINGS.model_copy(update={"epochs": 60})
    checkpoints, killed = Checkpoints(tmp_path / "kept", "bars"), threading.Event()
    seconds: list[float] = []

    def kill_one(entry: dict[str, float]) -> None:
        if len(seconds) == 2 and not killed.is_set():
            killed.set()
            max(ranks_in(tmp_path), key=lambda one: one.pid).kill()
        seconds.append(entry["seconds"])

    with pytest.raises(MoolaError) as stop:
        in_two(Home(tmp_path), settings, kill_one, checkpoints)

    assert await_none_in(tmp_path) == 0
    assert list((tmp_path / ".dagster" / "ranks").iterdir()) == []
    which = re.fullmatch(
        r"pretraining process [01] of 2 \(counted from 0\) ended early: "
        r"by signal 9, SIGKILL\. Run again: training resumes from the last saved epoch\.",
        str(stop.value),
    )
    assert which, str(stop.value)
    again = in_two(Home(tmp_path), settings, lambda _: None, checkpoints)
    took = [entry["seconds"] for entry in again.history]
    assert took[: len(seconds)] == seconds  # reported again, not trained again
    np.testing.assert_allclose(curve_of(again), curve_of(pretrain(BARS, WINDOWS, settings)), rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM])
def test_a_terminated_parent_leaves_no_process(tmp_path: Path, ending: signal.Signals):
    command = [
        sys.executable,
        "-m",
        "moola_pipeline_tests.resources.pretraining_parent",
        str(tmp_path),
        "4000",
    ]
    with subprocess.Popen(
        command, cwd=PROJECT_ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "epoch 0\n"
        ranks = ranks_in(tmp_path)
        os.kill(parent.pid, ending)
        _, left = psutil.wait_procs(ranks, timeout=SECONDS_TO_END)
        assert len(ranks) == 2 and not left
        parent.wait(timeout=60)  # Dagster's shutdown is slow
    assert await_none_in(tmp_path) == 0
    with shared_folder(tmp_path / ".dagster" / "ranks") as folder:
        assert [path for path in folder.parent.iterdir() if path.is_dir()] == [folder]


def test_a_folder_of_a_dead_process_is_removed_and_one_in_use_is_not(tmp_path: Path):
    parent = tmp_path / "ranks"
    gone, at_work = parent / "gone", parent / "at work"
    for folder in (gone, at_work):
        folder.mkdir(parents=True)
        (folder / ".values.tmp").write_bytes(b"x")
    held = FileLock(parent / ".at work.lock")
    with held, shared_folder(parent) as folder:
        assert sorted(path.name for path in parent.iterdir() if path.is_dir()) == sorted(
            ["at work", folder.name]
        )
    assert [path.name for path in parent.iterdir() if path.is_dir()] == ["at work"]
