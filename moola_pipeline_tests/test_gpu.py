"""The script for a machine with a GPU: it says so where there is none, and all of it can be gone through."""

import json
from functools import partial
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from moola_pipeline.benchmarks.batch_speed import doubled
from moola_pipeline_tests import gpu


def test_without_a_gpu_it_says_so_and_ends_well(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    said = CliRunner().invoke(gpu.main, [])

    assert said.exit_code == 0
    assert said.output == "not measured on a GPU: no CUDA device here\n"


def test_all_of_it_runs_on_the_processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("moola_pipeline.benchmarks.training_speed.doubled", partial(doubled, sizes=(64,)))
    threads = torch.get_num_threads()
    place = tmp_path / "gpu.json"
    said = CliRunner().invoke(gpu.main, ["--device", "cpu", "--small", "--json", str(place)])
    torch.set_num_threads(threads)

    assert said.exit_code == 0, said.output
    kept = json.loads(place.read_bytes())
    figures = {one["name"]: one for one in kept["figures"]}
    assert figures["weights, distance from the CPU's"]["value"] == 0
    assert figures["loop over bare steps, batches of 64"]["value"] > 0
    assert figures["pretraining, steps that wait for the GPU"]["value"] is None
    assert kept["small"] and "SIMULATED" in kept["machine"]
    assert len(said.output.splitlines()) == 1 + len(figures)


def test_a_goal_that_was_missed_is_said():
    assert gpu.Figure("loop over bare steps", 1.25, "", "<= 1.1", False).line().endswith("<= 1.1 MISSED")
    assert "not measured" in gpu.Figure("x", None, note="no GPU").line()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_no_step_waits_and_the_weights_are_the_processors():
    said = CliRunner().invoke(gpu.main, ["--small"])

    assert said.exit_code == 0
    assert "MISSED" not in "\n".join(
        line for line in said.output.splitlines() if "wait" in line or "CPU" in line
    )
