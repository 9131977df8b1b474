"""`moola run --scenario`: markets unlike the plain one run like it, each with a model of its own."""

import json
from pathlib import Path

import click
import numpy as np
import pytest

from moola_pipeline.bars.simulated import SCENARIOS, ScenarioName
from moola_pipeline.bars.store import BarStore, read_manifest
from moola_pipeline.cli.run import run
from moola_pipeline.instrument_data import choose_instrument_data
from moola_pipeline.labels.placement import split_labels
from moola_pipeline.labels.spans import labeled_windows
from moola_pipeline.labels.splits import SPLITS
from moola_pipeline.settings import PROFILES
from moola_pipeline.storage.home import Home
from moola_pipeline_tests.cli.calls import call, complaint
from moola_pipeline_tests.homes import SMOKE, moola


def test_the_command_offers_every_scenario():
    (option,) = (it for it in run.params if it.name == "scenario")
    assert isinstance(option.type, click.Choice)
    assert list(option.type.choices) == list(SCENARIOS)


def test_a_scenario_of_registered_bars_is_refused_before_any_work():
    result = call(*SMOKE, "--market", "registered", "--scenario", "no_signal")
    assert result.exit_code == 2
    assert complaint(result).startswith("A scenario must use simulated bars, got no_signal with registered")
    assert call(*SMOKE, "--scenario", "bull_market").exit_code == 2


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_labels_of_every_scenario_are_read_and_split_with_both_types(name: ScenarioName, tmp_path: Path):
    market = choose_instrument_data(Home(tmp_path), "simulated", PROFILES["smoke"], name)
    placed = split_labels(market.labels(), market.bars(), market.splits).frame
    for split in SPLITS:
        windows = labeled_windows(placed, split)
        assert set(windows.typed.spans.type) == {0, 1}
        assert len(np.unique(windows.spans.window)) < len(windows.bar0)  # some windows hold no expansion


@pytest.mark.slow
@pytest.mark.parametrize("name", SCENARIOS)
def test_the_main_job_runs_in_every_scenario_and_leaves_the_plain_market_alone(name: str, smoke_copy: Home):
    said = json.loads(moola(smoke_copy, *SMOKE, "--scenario", name, "--json"))
    assert said["data"]["simulated"]
    assert said["model"] == {"name": f"moola-simulated-{name}", "version": "1", "champion": "1"}
    assert all(check["passed"] for check in said["checks"].values() if check["kind"] == "integrity")
    store = BarStore(smoke_copy.simulated / f"smoke-{name}", simulated=True)
    assert [it.instrument for it in read_manifest(store).files] == [
        "ES" if name == "second_instrument" else "NQ"
    ]
    plain = (smoke_copy.reports / "simulated-smoke" / "report.json").read_bytes()
    only_labels_differ = name in ("no_signal", "speed_eye", "breaks_eye")
    assert (json.loads(plain)["data"]["sha256"] == said["data"]["sha256"]) == only_labels_differ
