"""The profile of the main job: the active function of this package, by thread and asset."""

import json
import runpy
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

from moola_pipeline.benchmarks.job import OUTSIDE, PACKAGE, WAITING, active_functions, parts_of


def frame(path: str, name: str, back: Any = None) -> FrameType:
    code = SimpleNamespace(co_filename=str(path), co_name=name.rpartition(".")[2], co_qualname=name)
    return SimpleNamespace(f_code=code, f_back=back)  # pyright: ignore[reportReturnType]


ASSET = frame(
    str(PACKAGE / "assets/pretrained_encoder.py"), "pretrained_encoder", frame("dagster.py", "execute")
)
EPOCH = frame(str(PACKAGE / "training/pretraining_loop.py"), "train_epoch", ASSET)
LIBRARY = frame("torch/nn/rnn.py", "forward", EPOCH)
PARKED = frame("threading.py", "wait", EPOCH)


def test_a_library_counts_for_the_function_of_this_package_that_called_it():
    assert active_functions({1: LIBRARY}, 1) == (
        "pretrained_encoder",
        ["training/pretraining_loop train_epoch"],
    )


def test_another_thread_counts_only_while_the_job_waits():
    other = frame(str(PACKAGE / "windows/augmentation.py"), "augmented_table", None)
    assert active_functions({1: LIBRARY, 2: other}, 1)[1] == ["training/pretraining_loop train_epoch"]
    working = ["windows/augmentation augmented_table"]
    assert active_functions({1: PARKED, 2: other}, 1) == ("pretrained_encoder", working)


def test_a_background_thread_of_the_command_line_is_not_counted():
    background = frame(str(PACKAGE / "cli/signals.py"), "_repeat", None)
    assert active_functions({1: PARKED, 2: background}, 1)[1] == [WAITING]


def test_waiting_threads_are_not_counted():
    idle = frame("queue.py", "get", frame(str(PACKAGE / "training/prefetch.py"), "prefetched"))
    assert active_functions({1: PARKED, 2: idle}, 1) == ("pretrained_encoder", [WAITING])


def test_an_import_inside_an_asset_counts_for_the_asset():
    imported = frame(str(PACKAGE / "training/pretrain.py"), "<module>", ASSET)
    assert active_functions({1: imported}, 1) == ("pretrained_encoder", ["training/pretrain import"])


def test_time_in_dagster_counts_outside_of_assets():
    assert active_functions({1: frame("dagster.py", "execute")}, 1) == (OUTSIDE, [OUTSIDE])
    made = frame(str(PACKAGE / "assets/pretrained_encoder.py"), "<module>", None)
    assert active_functions({1: made}, 1)[0] == OUTSIDE


def test_shares_below_three_percent_are_left_out():
    assert parts_of(Counter({"a": 60, "b": 38, "c": 2})) == [("a", 0.6), ("b", 0.38)]


def test_the_profiled_process_writes_its_samples(tmp_path: Path, monkeypatch: Any):
    from moola_pipeline.benchmarks import job

    monkeypatch.setattr(runpy, "run_module", lambda *_, **__: time.sleep(0.2))
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    job.run_profiled([str(tmp_path / "looks.json"), "run"])
    assert sys.argv == ["moola", "run"]
    assert list(json.loads((tmp_path / "looks.json").read_bytes())) == [OUTSIDE]
    assert not [thread for thread in threading.enumerate() if thread.name == "job_profile"]
