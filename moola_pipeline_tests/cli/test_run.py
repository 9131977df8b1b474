"""`moola run`: its output, the assets it does not rebuild, and its refusals."""

import json
import shutil
import sys
import threading
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
from mlflow import MlflowClient

from moola_pipeline.bars.store import registered_store
from moola_pipeline.cli.exit_codes import BAD_INPUT, FAILED, INTERRUPTED
from moola_pipeline.cli.run_outcome import standing_of
from moola_pipeline.errors import BadInput, ChecksumMismatch
from moola_pipeline.labels.chosen_splits import write_split_choice
from moola_pipeline.labels.splits import SplitSettings
from moola_pipeline.staleness.plan import everything
from moola_pipeline.staleness.stages import STAGES
from moola_pipeline.storage.atomic_write import locked
from moola_pipeline.storage.home import Home
from moola_pipeline.tracking.runs import tracking_uri
from moola_pipeline_tests.cli.calls import call, complaint, facts
from moola_pipeline_tests.homes import (
    BARS,
    LABELS,
    SMOKE,
    instance_of,
    last_materialization,
    moola,
    outcome,
)

HEADLINES = ("type_f1_macro", "event_f1_macro", "aucpr_retracement")
LAST = "latest_expansions"
OF_THE_RUN = ("run", "seconds", "made", "report", "model", "notebook")


def test_the_json_object_has_the_keys_of_the_contract(smoke_home: Home):
    output = outcome(smoke_home)
    assert {
        "data",
        "device",
        "profile",
        "metrics",
        "trivial_baselines",
        "baselines",
        "second_pass",
        "checks",
    } <= output.keys()
    assert {"simulated", "sha256", "looks_at_test"} <= output["data"].keys()
    assert output["made"] == list(STAGES)
    assert output["seconds"] > 0
    assert Path(output["report"]).read_text().startswith("<!doctype html>")


def test_every_score_has_an_interval_and_a_count(smoke_home: Home):
    output = outcome(smoke_home)
    for scores in (output["metrics"], *output["trivial_baselines"].values(), *output["baselines"].values()):
        for score in scores.values():
            assert score.keys() == {"estimate", "low", "high", "n"}
            assert score["n"] > 0
    assert all(output["metrics"][name]["low"] <= output["metrics"][name]["high"] for name in HEADLINES)


def test_baselines_are_scored_beside_the_model(smoke_home: Home):
    output = outcome(smoke_home)
    assert {"majority", "always_consolidation", "always_retracement", "position_only"} <= output[
        "trivial_baselines"
    ].keys()
    prefixes = ("logistic_", "extra_trees_", "minirocket_", "rule_", "scratch")
    assert output["baselines"].keys()
    assert all(name.startswith(prefixes) for name in output["baselines"])
    assert {"logistic_21_summaries", "rule_extra_trees_21_summaries"} <= output["baselines"].keys()


def test_integrity_and_score_checks_are_separate(smoke_home: Home):
    checks = outcome(smoke_home)["checks"]
    assert all(check.keys() == {"passed", "kind", "value", "limit"} for check in checks.values())
    scored = {name for name, check in checks.items() if check["kind"] == "score"}
    assert scored == {"beats_baselines", "target_f1", "calibrated"}
    assert all(check["passed"] for check in checks.values() if check["kind"] == "integrity")


def test_the_second_run_rebuilds_nothing_and_prints_it(smoke_copy: Home):
    printed = moola(smoke_copy, *SMOKE)
    assert printed.splitlines()[:2] == [
        "moola run  SIMULATED bars, profile smoke",
        "Nothing has changed since the last run: all nine assets are up to date. "
        "Use --force to rebuild them.",
    ]
    again = json.loads(moola(smoke_copy, *SMOKE, "--json"))
    assert again["made"] == []
    assert again["run"] == outcome(smoke_copy)["run"]


def test_a_run_ends_with_the_next_commands(smoke_copy: Home):
    printed = moola(smoke_copy, *SMOKE)
    lines = printed.splitlines()
    assert any(line.split()[:3] == ["Type", "F1", "Event"] for line in lines)
    assert f"report    {smoke_copy.reports / 'simulated-smoke' / 'report.html'}" in lines
    assert "own data  moola bars add FILE && moola labels add FILE, then moola run" in lines
    assert '          model = mlflow.pyfunc.load_model("models:/moola-simulated@champion")' in lines


def test_the_next_commands_name_the_given_home(smoke_copy: Home, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "argv", ["moola", "--home", "h", *SMOKE])
    own = "own data  moola --home h bars add FILE && moola --home h labels add FILE, then moola --home h run"
    assert own in moola(smoke_copy, *SMOKE).splitlines()


def test_a_run_on_registered_bars_is_not_marked_simulated(registered_copy: Home):
    printed = moola(registered_copy, *SMOKE)
    assert printed.startswith("moola run  registered NQ bars, profile smoke\n")
    assert "SIMULATED" not in printed
    assert "own data" not in printed
    assert "models:/moola-nq@champion" in printed


def _results(output: dict) -> dict:
    """All that must be equal when the same is done again: not what tells one run from the one before."""
    results = {name: value for name, value in output.items() if name not in OF_THE_RUN}
    details = {
        name: part for name, part in output["details"].items() if name not in ("previous", "not_measured")
    }
    return results | {"details": details}


@pytest.mark.slow
def test_force_rebuilds_all_assets_with_equal_numbers(smoke_copy: Home):
    again = json.loads(moola(smoke_copy, *SMOKE, "--force", "--json"))
    first = outcome(smoke_copy)
    assert again["made"] == list(STAGES)
    assert _results(again) == _results(first)
    assert again["run"]["run_id"] != first["run"]["run_id"]
    assert again["run"]["settings"] == first["run"]["settings"]
    before = again["details"]["previous"]
    assert before["run_id"] == first["run"]["run_id"]
    assert before["metrics"] == first["metrics"]
    assert not any(before[f"{what}_changed"] for what in ("bars", "labels", "settings"))
    assert "previous" in first["details"]["not_measured"]
    assert "previous" not in again["details"]["not_measured"]
    # equal weights are the same version, whatever their run
    assert len(list(smoke_copy.tracking.rglob("weights.safetensors"))) == 1


def test_bars_without_labels_name_the_missing_command(isolated_home: Path, registered_files: Path):
    assert call("bars", "add", registered_files / BARS).exit_code == 0
    result = call(*SMOKE)
    assert result.exit_code == BAD_INPUT
    assert complaint(result) == (
        "Labels must be registered beside the bars, but none are. Run: moola labels add FILE"
    )


def test_labels_without_bars_name_the_missing_command(isolated_home: Path, registered_home: Home):
    home = Home(isolated_home)
    shutil.copytree(registered_store(registered_home).labels, registered_store(home).labels)
    result = call(*SMOKE)
    assert result.exit_code == BAD_INPUT
    assert "Run: moola bars add FILE" in complaint(result)
    assert not home.store.exists()


def test_a_home_below_a_file_is_refused(tmp_path: Path):
    (tmp_path / "file").write_text("x")
    result = call(*SMOKE, home=tmp_path / "file" / "home")
    assert result.exit_code == BAD_INPUT
    assert (
        complaint(result)
        == f"--home must be a folder, but {tmp_path / 'file'} is a file. Name another folder."
    )
    assert (tmp_path / "file").read_text() == "x"


@pytest.mark.parametrize("option", ["--profile", "--market", "--device"])
def test_a_choice_that_does_not_exist_is_refused(option: str):
    result = call("run", option, "tiny")
    assert result.exit_code == BAD_INPUT
    assert "'tiny' is not one of 'auto'" in complaint(result)


@pytest.mark.parametrize("option", [["--processes", "2"], ["--tf32"]])
def test_a_study_refuses_options_of_model_training(option: list[str]):
    result = call("run", "--profile", "study", *option)
    assert result.exit_code == BAD_INPUT
    assert complaint(result) == (
        "--processes and --tf32 need a profile that trains a model, got study. Leave them out."
    )


@pytest.mark.slow
def test_two_processes_pretrain_the_encoder_of_a_run_nearly_alike(
    smoke_copy: Home, monkeypatch: pytest.MonkeyPatch
):
    with instance_of(smoke_copy) as instance:
        before = last_materialization(instance, "pretrained_encoder").metadata
    monkeypatch.setattr(
        "moola_pipeline.staleness.plan.everything",
        lambda reason: [step for step in everything(reason) if step.asset == "pretrained_encoder"],
    )
    call(*SMOKE, "--force", "--device", "cpu", "--processes", "2", home=smoke_copy.root)
    with instance_of(smoke_copy) as instance:
        after = last_materialization(instance, "pretrained_encoder").metadata

    assert (before["processes"].value, after["processes"].value) == (1, 2)
    assert after["mlflow_run_id"].value != before["mlflow_run_id"].value
    assert float(str(after["val_loss"].value)) == pytest.approx(
        float(str(before["val_loss"].value)), rel=1e-4
    )
    client = MlflowClient(tracking_uri(smoke_copy))
    curves = [
        [point.value for point in client.get_metric_history(str(one["mlflow_run_id"].value), "train_loss")]
        for one in (before, after)
    ]
    assert len(curves[0]) >= 1
    assert curves[1] == pytest.approx(curves[0], rel=1e-4)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a CUDA device")
def test_a_missing_device_is_refused(smoke_copy: Home):
    result = call(*SMOKE, "--force", "--device", "cuda", home=smoke_copy.root)
    assert result.exit_code == BAD_INPUT
    assert complaint(result).startswith("The device must be auto or one of ")
    assert complaint(result).endswith(", got cuda. Choose an available device.")


def test_a_split_without_labels_stops_the_run_in_one_line(
    isolated_home: Path, registered_files: Path, tmp_path: Path
):
    labels = pd.read_csv(registered_files / LABELS)
    early = labels.loc[labels["window_start"] < "2025-04"]
    early.to_csv(tmp_path / LABELS, index=False)
    counts = early.groupby([early["window_start"].str[:7], "label"]).size()
    months = [
        f"{month} {counts[month, 'consolidation']}/{counts[month, 'retracement']}"
        for month in ("2024-12", "2025-01")
    ]
    assert call("bars", "add", registered_files / BARS).exit_code == 0
    assert call("labels", "add", tmp_path / LABELS).exit_code == 0
    write_split_choice(
        registered_store(Home(isolated_home)).root, SplitSettings()
    )  # somebody chose these dates
    result = call(*SMOKE)
    assert result.exit_code == FAILED
    fault = complaint(result)
    assert fault.startswith("labeled_expansions: check splits_sound failed. ")
    assert "The test split (2025-04-01 to 2025-06-30) must hold expansions of both types" in fault
    assert f"Labels per month (consolidation/retracement): {', '.join(months)}." in fault
    kept = {path.name for path in (Home(isolated_home).store / "nq-smoke").iterdir()}
    assert {name.partition(".")[0] for name in kept} <= {
        "raw_nq_bars",
        "labeled_expansions",
        "relativity_features",
    }


@pytest.mark.parametrize(
    ("fault", "code", "line"),
    [
        (ChecksumMismatch("bars changed"), FAILED, "Error: bars changed"),
        (BadInput("no such file"), BAD_INPUT, "Error: no such file"),
        (
            OSError("database is locked\n[SQL: ...]"),
            FAILED,
            f"Error: {LAST} failed: OSError: database is locked",
        ),
        (KeyboardInterrupt(), INTERRUPTED, "Interrupted."),
    ],
)
def test_the_error_of_a_step_or_its_cause_sets_the_exit_code(
    smoke_copy: Home, monkeypatch: pytest.MonkeyPatch, fault: BaseException, code: int, line: str
):
    def itself(_: object) -> None:
        raise fault

    def as_cause(_: object) -> None:
        raise RuntimeError("while writing") from fault

    (smoke_copy.store / "simulated-smoke" / f"{LAST}.parquet").unlink()
    for broken in (itself, as_cause):
        monkeypatch.setattr("moola_pipeline.resources.compute.Compute.prepare", broken)
        result = call(*SMOKE, home=smoke_copy.root)
        assert result.exit_code == code
        assert result.stderr.splitlines()[-1] == line


def test_labels_on_removed_bars_stop_the_run(registered_copy: Home, registered_files: Path, tmp_path: Path):
    bars = pd.read_parquet(registered_files / BARS)
    shutil.rmtree(registered_copy.data / "nq" / "raw")
    (registered_copy.data / "nq" / "manifest.json").unlink()
    bars.loc[bars["timestamp"] < pd.Timestamp("2025-04-15", tz="UTC")].to_parquet(tmp_path / BARS)
    moola(registered_copy, "bars", "add", tmp_path / BARS)
    result = call(*SMOKE, home=registered_copy.root)
    assert result.exit_code == FAILED
    assert complaint(result).startswith("labeled_expansions: check labels_on_bars failed (value ")
    assert "does not start at the open of a bar" in complaint(result)


def test_a_second_run_in_the_same_home_waits_for_the_first(smoke_copy: Home):
    held = threading.Event()

    def first_run() -> None:
        with locked(smoke_copy.dagster / "run"):
            held.set()
            time.sleep(0.5)

    first = threading.Thread(target=first_run)
    first.start()
    held.wait()
    result = call(*SMOKE, home=smoke_copy.root)
    first.join()
    assert result.exit_code == 0
    assert result.stderr == "Another moola command is using this home. Waiting for it to finish ...\n"
    assert "Nothing has changed" in result.stdout


def test_nothing_but_the_result_is_printed(smoke_home: Home, smoke_copy: Home):
    (smoke_copy.store / "simulated-smoke" / "latest_expansions.parquet").unlink()
    result = call(*SMOKE, "--json", home=smoke_copy.root)
    assert result.stderr == ""
    assert facts(result)["made"] == ["latest_expansions"]


def test_bars_added_during_a_run_do_not_change_its_market(
    isolated_home: Path, monkeypatch: pytest.MonkeyPatch
):
    choices = []

    def materialize(_: object, __: object, chosen: dict[str, str], *others: object) -> None:
        choices.append(chosen)

    monkeypatch.setattr("moola_pipeline.cli.run._plan", lambda plan, *_: everything("not built yet"))
    monkeypatch.setattr("moola_pipeline.cli.run._materialize", materialize)
    call("run")
    assert choices == [{"profile": "demo", "market": "simulated", "scenario": "none"}]


def test_the_registered_version_is_shown_with_the_champion(smoke_home: Home, smoke_copy: Home):
    name = "moola-simulated"
    assert outcome(smoke_home)["model"] == {"name": name, "version": "1", "champion": "1"}
    output = call(*SMOKE, home=smoke_copy.root).stdout
    assert f"model     models:/{name}/1 is champion\n" in output
    size = outcome(smoke_copy)["run"]["settings"]["n_parameters"]
    assert (
        f"size      {size:,} parameters (weights, scales, span proposer, thresholds)" in output
        and 10_000 < size <= 100_000
    )
    (smoke_copy.store / "simulated-smoke" / "registered_model.json").unlink()
    again = call(*SMOKE, home=smoke_copy.root).stdout
    assert f"model     models:/{name}/1 is champion\n" in again  # the same weights are no new version
    assert standing_of({"name": name, "version": "2", "champion": "1"}) == (
        f"models:/{name}/2 is challenger; the lines below load the champion, version 1"
    )
