"""The GPU script: its message without a GPU, and a whole run on the CPU."""

import json
from functools import partial
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from moola_pipeline.benchmarks.batch_speed import doubled
from moola_pipeline_tests import gpu


def test_without_a_gpu_it_prints_that_and_exits_with_0(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    result = CliRunner().invoke(gpu.main, [])

    assert result.exit_code == 0
    assert result.output == "not measured on a GPU: no CUDA device here\n"


def test_all_figures_are_measured_on_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("moola_pipeline.benchmarks.training_speed.doubled", partial(doubled, sizes=(64,)))
    threads = torch.get_num_threads()
    place = tmp_path / "gpu.json"
    result = CliRunner().invoke(gpu.main, ["--device", "cpu", "--small", "--json", str(place)])
    torch.set_num_threads(threads)

    assert result.exit_code == 0, result.output
    table = json.loads(place.read_bytes())
    figures = {figure["name"]: figure for figure in table["figures"]}
    assert figures["weights, distance from the CPU's"]["value"] == 0
    assert figures["loop over bare steps, batches of 64"]["value"] > 0
    assert figures["pretraining, steps that wait for the GPU"]["value"] is None
    assert table["small"] and "SIMULATED" in table["machine"]
    assert len(result.output.splitlines()) == 1 + len(figures)


def test_a_missed_goal_is_marked():
    assert gpu.Figure("loop over bare steps", 1.25, "", "<= 1.1", False).line().endswith("<= 1.1 MISSED")
    assert "not measured" in gpu.Figure("x", None, note="no GPU").line()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_no_step_waits_and_weights_are_near_those_of_the_cpu():
    result = CliRunner().invoke(gpu.main, ["--small"])

    assert result.exit_code == 0
    assert "MISSED" not in "\n".join(
        line for line in result.output.splitlines() if "wait" in line or "CPU" in line
    )
