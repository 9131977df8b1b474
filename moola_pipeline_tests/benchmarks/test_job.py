"""Where a job's time goes: the function of ours at work, in the thread that works, by asset."""

import json
import runpy
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

from moola_pipeline.benchmarks.job import OUTSIDE, PACKAGE, WAITING, baseline_inputs, parts_of


def frame(path: str, name: str, back: Any = None) -> FrameType:
    code = SimpleNamespace(co_filename=str(path), co_name=name.rpartition(".")[2], co_qualname=name)
    return SimpleNamespace(f_code=code, f_back=back)  # pyright: ignore[reportReturnType]


ASSET = frame(
    str(PACKAGE / "assets/pretrained_encoder.py"), "pretrained_encoder", frame("dagster.py", "execute")
)
EPOCH = frame(str(PACKAGE / "training/pretraining_loop.py"), "train_epoch", ASSET)
LIBRARY = frame("torch/nn/rnn.py", "forward", EPOCH)
PARKED = frame("threading.py", "wait", EPOCH)


def test_a_library_counts_for_the_function_of_ours_that_called_it():
    assert baseline_inputs({1: LIBRARY}, 1) == (
        "pretrained_encoder",
        ["training/pretraining_loop train_epoch"],
    )


def test_a_thread_beside_counts_only_while_the_job_waits_for_it():
    beside = frame(str(PACKAGE / "windows/augmentation.py"), "augmented_table", None)
    assert baseline_inputs({1: LIBRARY, 2: beside}, 1)[1] == ["training/pretraining_loop train_epoch"]
    working = ["windows/augmentation augmented_table"]
    assert baseline_inputs({1: PARKED, 2: beside}, 1) == ("pretrained_encoder", working)


def test_a_thread_that_sleeps_between_errands_counts_for_nothing():
    errand = frame(str(PACKAGE / "cli/signals.py"), "_insist", None)
    assert baseline_inputs({1: PARKED, 2: errand}, 1)[1] == [WAITING]


def test_threads_that_wait_count_for_nothing():
    idle = frame("queue.py", "get", frame(str(PACKAGE / "training/prefetch.py"), "prefetched"))
    assert baseline_inputs({1: PARKED, 2: idle}, 1) == ("pretrained_encoder", [WAITING])


def test_what_is_imported_inside_an_asset_belongs_to_it():
    imported = frame(str(PACKAGE / "training/pretrain.py"), "<module>", ASSET)
    assert baseline_inputs({1: imported}, 1) == ("pretrained_encoder", ["training/pretrain import"])


def test_what_dagster_does_lies_outside():
    assert baseline_inputs({1: frame("dagster.py", "execute")}, 1) == (OUTSIDE, [OUTSIDE])
    made = frame(str(PACKAGE / "assets/pretrained_encoder.py"), "<module>", None)
    assert baseline_inputs({1: made}, 1)[0] == OUTSIDE


def test_shares_below_three_percent_are_left_out():
    assert parts_of(Counter({"a": 60, "b": 38, "c": 2})) == [("a", 0.6), ("b", 0.38)]


def test_the_process_that_is_looked_at_keeps_what_was_seen(tmp_path: Path, monkeypatch: Any):
    from moola_pipeline.benchmarks import job

    monkeypatch.setattr(runpy, "run_module", lambda *_, **__: time.sleep(0.2))
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    job.run_profiled([str(tmp_path / "looks.json"), "run"])
    assert sys.argv == ["moola", "run"]
    assert list(json.loads((tmp_path / "looks.json").read_bytes())) == [OUTSIDE]
    assert not [thread for thread in threading.enumerate() if thread.name == "job_profile"]
