"""Concurrent commands in one home: all finish, and the outputs are those of one run."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from moola_pipeline.bars.store import read_manifest, registered_store
from moola_pipeline.selftest.verify import verify_home
from moola_pipeline.storage.backup import restore
from moola_pipeline.storage.home import PROJECT_ROOT, Home
from moola_pipeline_tests.counts import record
from moola_pipeline_tests.homes import BARS, LABELS, moola
from moola_pipeline_tests.outputs import disorder, outputs

RUN = ("run", "--profile", "smoke", "--market", "simulated")
WAITS = "Another moola command is using this home. Waiting for it to finish ...\n"
MODEL = "models:/moola-simulated@champion"


def started(home: Home, *words: str | Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "moola_pipeline", "--home", str(home.root), *map(str, words)]
    return subprocess.Popen(
        command, cwd=PROJECT_ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def ended_well(processes: list[subprocess.Popen[str]]) -> tuple[list[str], list[str]]:
    """Standard output and error of each process; all must succeed."""
    try:
        texts = [process.communicate(timeout=500) for process in processes]
    finally:
        for process in processes:
            process.kill()  # no process outlives a failing test; no effect on an ended one
    assert [process.returncode for process in processes] == [0] * len(processes), texts
    return [output for output, _ in texts], [errors for _, errors in texts]


@pytest.mark.slow
def test_two_runs_and_a_bars_add_in_a_fresh_home_leave_what_one_run_leaves(
    smoke_home: Home, registered_files: Path, tmp_path: Path
):
    """Three processes create the databases of MLflow and Dagster at the same time."""
    began, home = time.monotonic(), Home(tmp_path / "fresh")
    runs = [started(home, *RUN), started(home, *RUN), started(home, "bars", "add", registered_files / BARS)]
    outputs_of_runs, errors = ended_well(runs)
    assert sum(WAITS in text for text in errors) == 1
    assert sum("Nothing has changed since the last run" in text for text in outputs_of_runs) == 1
    assert [entry.file for entry in read_manifest(registered_store(home)).files] == [BARS]
    assert outputs(home) == outputs(smoke_home)
    assert disorder(home) == []
    assert verify_home(home).findings == []
    record("commands at once in a fresh home", commands=3, lost=0, seconds=time.monotonic() - began)


@pytest.mark.slow
def test_labels_added_during_a_run_are_used_in_the_next_one(
    registered_home: Home, registered_files: Path, tmp_path: Path
):
    began, home = time.monotonic(), Home(tmp_path / "home")
    labels = pd.read_csv(registered_files / LABELS)
    last = labels["window_start"] >= sorted(labels["window_start"].unique())[-3]
    labels.loc[~last].to_csv(tmp_path / "first.csv", index=False)
    labels.loc[last].to_csv(tmp_path / "second.csv", index=False)
    moola(home, "bars", "add", registered_files / BARS)
    moola(home, "labels", "add", tmp_path / "first.csv")
    smoke = ("run", "--profile", "smoke")
    ended_well([started(home, *smoke), started(home, "labels", "add", tmp_path / "second.csv")])
    assert verify_home(home).findings == []
    ended_well([started(home, *smoke)])
    made, expected = outputs(home, "nq-smoke"), outputs(registered_home, "nq-smoke")
    # the second report has a comparison with the first
    assert {name: made[name] for name in made if name != "report"} == {
        name: expected[name] for name in expected if name != "report"
    }
    assert verify_home(home).findings == []
    record("labels added beside a run", commands=3, lost=0, seconds=time.monotonic() - began)


@pytest.mark.slow
def test_a_run_a_backup_two_predictions_and_a_promotion_at_once(smoke_copy: Home, tmp_path: Path):
    began, expected = time.monotonic(), outputs(smoke_copy)
    bars = smoke_copy.simulated / "smoke" / "raw" / "bars.parquet"
    (smoke_copy.store / "simulated-smoke" / "latest_expansions.parquet").unlink()
    predict = ("predict", bars, "--model", MODEL, "--json")
    processes = [
        started(smoke_copy, *RUN),
        started(smoke_copy, "backup", tmp_path / "b.zip"),
        started(smoke_copy, *predict),
        started(smoke_copy, *predict),
        started(smoke_copy, "registry", "promote", "1"),
    ]
    texts, _ = ended_well(processes)
    assert json.loads(texts[2])["expansions"] == json.loads(texts[3])["expansions"] != []
    assert outputs(smoke_copy) == expected
    assert disorder(smoke_copy) == []
    assert verify_home(smoke_copy).findings == []
    there = Home(tmp_path / "there")
    restore(there, tmp_path / "b.zip", force=False)
    assert disorder(there) == []
    record("commands at once in one home", commands=5, lost=0, seconds=time.monotonic() - began)
