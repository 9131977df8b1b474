"""The nine assets after one run: stored without pickle, logged, linked, and checked."""

from collections.abc import Iterator

import dagster as dg
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from moola_pipeline.bars.schema import BAR_COLUMNS, PRICE_COLUMNS, content_digest
from moola_pipeline.bars.store import BarStore, read_manifest
from moola_pipeline.features.schema import FEATURE_NAMES
from moola_pipeline.inference.hindsight import EXPANSION_COLUMNS
from moola_pipeline.labels.label_rows import read_labels
from moola_pipeline.resources.executors import GPU_STEPS
from moola_pipeline.settings import PROFILES
from moola_pipeline.staleness.records import evaluations, recorded
from moola_pipeline.staleness.stages import INTEGRITY_CHECKS, STAGES
from moola_pipeline.storage.home import Home
from moola_pipeline.tracking.runs import tracking_uri
from moola_pipeline.tracking.tracked_run import code_state
from moola_pipeline_tests.homes import instance_of, last_materialization, outcome

ALL = list(STAGES)
SUFFIXES = {".parquet", ".safetensors", ".json", ".html", ".csv"}
LATEST = "data/store/simulated-smoke"


@pytest.fixture(scope="module")
def instance(smoke_home: Home) -> Iterator[dg.DagsterInstance]:
    with instance_of(smoke_home) as opened:
        yield opened


@pytest.fixture(scope="module")
def made(instance: dg.DagsterInstance) -> dict[str, dict]:
    """The metadata of each asset, as plain values."""
    events = {asset: last_materialization(instance, asset) for asset in ALL}
    return {
        asset: {name: entry.value for name, entry in event.metadata.items()}
        for asset, event in events.items()
    }


@pytest.fixture(scope="module")
def runs(smoke_home: Home) -> dict[str, Run]:
    """The MLflow runs of the home by name."""
    client = MlflowClient(tracking_uri(smoke_home))
    experiments = [one.experiment_id for one in client.search_experiments()]
    records = client.search_runs(experiments, max_results=100)
    assert len({run.info.run_name for run in records}) == len(records)
    return {str(run.info.run_name): run for run in records}


@pytest.fixture(scope="module")
def parent(runs: dict[str, Run]) -> Run:
    """The run of the whole Dagster run."""
    [found] = [run for run in runs.values() if "mlflow.parentRunId" not in run.data.tags]
    return found


def test_nine_assets_are_built_in_one_dagster_run(instance: dg.DagsterInstance):
    events = {asset: instance.get_latest_materialization_event(dg.AssetKey(asset)) for asset in ALL}
    assert all(events.values())
    assert len({event.run_id for event in events.values() if event}) == 1
    assert len(instance.get_runs()) == 1


def test_every_integrity_check_was_evaluated_and_passed(instance: dg.DagsterInstance):
    records = evaluations(instance, ALL, "simulated")
    expected = [name for names in INTEGRITY_CHECKS.values() for name in names]
    assert [one.check_name for one in records] == expected
    assert all(one.passed and {"value", "limit"} <= set(one.metadata) for one in records)


def test_assets_are_stored_in_open_formats_and_nothing_is_pickled(smoke_home: Home):
    files = [path for path in smoke_home.data.rglob("*") if path.is_file()]
    assert not [path for path in files if path.suffix in {".pkl", ".pickle", ".joblib", ".pt", ".pth"}]
    stored = [path for path in files if path.is_relative_to(smoke_home.store)]
    assert {path.suffix for path in stored} <= SUFFIXES
    assert {path.relative_to(smoke_home.store).parts[1].partition(".")[0] for path in stored} == (
        set(ALL) - {"bootstrap_ci_report"}
    )


def test_no_file_of_the_home_opens_like_a_pickle(smoke_home: Home):
    def is_pickled(head: bytes) -> bool:
        return head[:1] == b"\x80" and head[1:2] in {b"\x02", b"\x03", b"\x04", b"\x05"}

    heads = {path: path.read_bytes()[:2] for path in smoke_home.root.rglob("*") if path.is_file()}
    assert not [path for path, head in heads.items() if is_pickled(head)]


def test_the_report_and_its_page_are_in_the_reports_folder(smoke_home: Home):
    assert {path.name for path in (smoke_home.reports / "simulated-smoke").iterdir()} == {
        "report.html",
        "report.json",
        "report.checksums.json",
    }


@pytest.mark.parametrize("asset", ALL)
def test_metadata_name_the_mlflow_run_and_the_device(asset: str, made: dict[str, dict], runs: dict[str, Run]):
    facts, run = made[asset], runs[asset]
    assert facts["mlflow_run_id"] == run.info.run_id
    assert facts["mlflow_run"].endswith(
        f"/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}?workflowType=machine_learning"
    )
    assert facts["device"] in {"cpu", "cuda", "mps"}
    assert facts["simulated"] is True
    assert (facts["market"], facts["profile"]) == ("simulated", "smoke")
    assert len(facts["fingerprint"]) == 16
    assert facts.get("precision") == ("float32" if asset in GPU_STEPS else None)


@pytest.mark.parametrize("asset", ALL)
def test_an_asset_logs_a_finished_run_under_the_parent_of_its_dagster_run(
    asset: str, instance: dg.DagsterInstance, made: dict[str, dict], runs: dict[str, Run], parent: Run
):
    [dagster_run] = instance.get_runs()
    tags = runs[asset].data.tags
    assert runs[asset].info.status == "FINISHED"
    assert tags["mlflow.parentRunId"] == parent.info.run_id
    assert tags["dagster.run_id"] == parent.data.tags["dagster.run_id"] == dagster_run.run_id
    assert tags["mlflow.source.git.commit"] == code_state()[0]
    assert tags["fingerprint"] == made[asset]["fingerprint"]
    assert tags["simulated"] == "True"
    assert tags["device"] == made[asset]["device"]
    assert {name: tags[f"check.{name}"] for name in INTEGRITY_CHECKS[asset]} == dict.fromkeys(
        INTEGRITY_CHECKS[asset], "passed"
    )


@pytest.mark.parametrize("asset", ALL)
def test_an_asset_logs_its_use_of_the_machine(asset: str, made: dict[str, dict], runs: dict[str, Run]):
    """Under MLflow's names, so that its UI shows them as system metrics."""
    logged = {name: value for name, value in runs[asset].data.metrics.items() if name.startswith("system/")}
    assert 0 <= logged["system/cpu_utilization_percentage"] <= 100
    assert logged["system/system_memory_usage_megabytes"] > 0
    assert 0 < logged["system/process_memory_megabytes"] <= logged["system/peak_memory_megabytes"]
    assert 100 < made[asset]["peak_memory_mb"] <= logged["system/peak_memory_megabytes"] + 0.1


def test_there_is_one_parent_run_and_no_run_but_the_nine_and_the_seeds(runs: dict[str, Run], parent: Run):
    assert parent.info.status == "FINISHED"
    seeds = {f"seed {seed}" for seed in PROFILES["smoke"].finetune.seeds}
    assert runs.keys() == {str(parent.info.run_name), *ALL, *seeds}
    assert parent.info.end_time is not None
    assert parent.info.end_time >= max(runs[asset].info.end_time or 0 for asset in ALL)


def test_the_parent_run_has_the_headline_scores_with_bounds(smoke_home: Home, parent: Run):
    printed = outcome(smoke_home)["metrics"]
    for name in ("type_f1_macro", "event_f1_macro", "aucpr_retracement", "mcc"):
        logged = [parent.data.metrics[f"{name}{end}"] for end in ("", "_low", "_high")]
        assert logged == [printed[name][part] for part in ("estimate", "low", "high")]
    client = MlflowClient(tracking_uri(smoke_home))
    assert len(client.get_metric_history(parent.info.run_id, "type_f1_macro")) == 1


def test_the_parent_run_has_the_settings_of_all_stages(smoke_home: Home, parent: Run):
    settings = outcome(smoke_home)["run"]["settings"]
    for part in ("pretrain", "finetune", "report", "splits"):
        logged = {name: value for name, value in parent.data.params.items() if name.startswith(f"{part}.")}
        assert len(logged) >= len(settings[part])
    assert parent.data.params["finetune.epochs"] == str(settings["finetune"]["epochs"])
    assert (parent.data.params["profile"], parent.data.params["market"]) == ("smoke", "simulated")


def test_the_parent_run_names_bars_and_labels_of_each_split(parent: Run, instance: dg.DagsterInstance):
    assert parent.inputs is not None
    given = {
        (one.dataset.name, tag.value): one.dataset.digest
        for one in parent.inputs.dataset_inputs
        for tag in one.tags
    }
    assert given.keys() == {
        (name, use) for name in ("bars", "labels") for use in ("training", "validation", "testing")
    }
    record = recorded(instance, "finetuned_classifier", "simulated")
    assert record is not None and record.made_from is not None
    used = record.made_from.data_digests
    assert given["labels", "training"] == used["labels.train"][:36]
    assert given["bars", "validation"] == used["bars.validation"][:36]


def test_the_parent_run_holds_the_report_and_a_note_on_it(smoke_home: Home, parent: Run):
    client = MlflowClient(tracking_uri(smoke_home))
    names = {one.path for one in client.list_artifacts(parent.info.run_id)}
    assert {"report.html", "report.json"} <= names <= {"report.html", "report.json", "uncommitted.diff"}
    note = parent.data.tags["mlflow.note.content"]
    assert note == client.get_model_version("moola-simulated", "1").description
    assert "[training curves](#/metric?runs=%5B%22" in note


def test_the_link_of_the_registered_model_leads_to_its_page(made: dict[str, dict]):
    assert made["registered_model"]["model_page"].endswith(
        "/#/models/moola-simulated/versions/1?workflowType=machine_learning"
    )


@pytest.mark.parametrize(("asset", "name"), [("raw_nq_bars", "bars"), ("labeled_expansions", "labels")])
def test_bars_and_labels_are_logged_as_inputs_with_their_digest(
    asset: str, name: str, smoke_home: Home, made: dict[str, dict], runs: dict[str, Run]
):
    folder = smoke_home.simulated / "smoke"
    held = (
        pd.read_parquet(smoke_home.root / LATEST / "raw_nq_bars.parquet")
        if name == "bars"
        else read_labels(folder / "labels.csv")
    )
    digest = content_digest(held)
    inputs = runs[asset].inputs
    assert inputs is not None
    [given] = inputs.dataset_inputs
    assert (given.dataset.name, given.dataset.digest) == (name, digest[:36])
    assert runs[asset].data.tags[f"{name}.sha256"] == digest == made[asset]["content_sha256"]


def test_the_files_of_the_bars_are_logged_with_their_sha256(smoke_home: Home, runs: dict[str, Run]):
    [entry] = read_manifest(BarStore(smoke_home.simulated / "smoke", simulated=True)).files
    assert runs["raw_nq_bars"].data.params == {f"file.{entry.file}": entry.sha256}


def test_the_data_version_of_the_bars_is_their_content(instance: dg.DagsterInstance, made: dict[str, dict]):
    event = last_materialization(instance, "raw_nq_bars")
    assert event.tags is not None
    assert event.tags["dagster/data_version"] == made["raw_nq_bars"]["content_sha256"]


def test_trainings_log_their_settings_and_a_loss_for_each_epoch(runs: dict[str, Run], smoke_home: Home):
    client = MlflowClient(tracking_uri(smoke_home))
    encoder, classifier = runs["pretrained_encoder"], runs["finetuned_classifier"]
    assert encoder.data.params["pretrain.epochs"] == str(PROFILES["smoke"].pretrain.epochs)
    assert classifier.data.params["finetune.learning_rate"] == "0.003"
    seed = runs["seed 0"]
    assert seed.data.tags["mlflow.parentRunId"] == classifier.info.run_id
    losses = client.get_metric_history(seed.info.run_id, "val_loss")
    assert seed.data.metrics["best_val_loss"] == min(one.value for one in losses)
    epochs = (int(classifier.data.params[f"finetune.{name}"]) for name in ("distill_epochs", "epochs"))
    assert [one.step for one in losses] == list(range(sum(epochs)))
    assert (
        len(client.get_metric_history(encoder.info.run_id, "val_loss")) == PROFILES["smoke"].pretrain.epochs
    )


def test_cpu_assets_state_why_they_need_no_gpu(made: dict[str, dict]):
    silent = {asset for asset, facts in made.items() if "why_cpu" not in facts}
    assert silent == {
        "labeled_expansions",
        "pretrained_encoder",
        "finetuned_classifier",
        "bootstrap_ci_report",
        "latest_expansions",
    }


def test_the_tables_have_the_designed_shape(smoke_home: Home, made: dict[str, dict]):
    bars = pd.read_parquet(smoke_home.root / LATEST / "raw_nq_bars.parquet")
    assert list(bars.columns) == list(BAR_COLUMNS)
    assert all(bars[name].dtype == "float64" for name in PRICE_COLUMNS)
    assert made["raw_nq_bars"]["rows"] == len(bars)
    assert made["relativity_features"]["shape"] == str((len(bars), len(FEATURE_NAMES)))
    assert made["relativity_features"]["dtype"] == "float32"


def test_bars_without_rolls_are_marked_as_such(registered_home: Home):
    with instance_of(registered_home) as registered:
        metadata = last_materialization(registered, "raw_nq_bars").metadata
    assert metadata["rolls"].value == "none registered: a roll looks like a price move"


def test_without_bars_after_the_last_split_latest_expansions_is_empty_with_a_note(
    smoke_home: Home, made: dict[str, dict]
):
    marks = pd.read_parquet(smoke_home.root / LATEST / "latest_expansions.parquet")
    assert marks.empty
    assert list(marks.columns) == list(EXPANSION_COLUMNS)
    assert str(marks["started_at"].dtype) == "datetime64[ns, UTC]"
    assert made["latest_expansions"]["note"] == "0 bars lie after the last split: too few for a window"


def test_the_encoder_read_no_bar_after_the_training_period(made: dict[str, dict]):
    assert pd.Timestamp(made["pretrained_encoder"]["last_bar_seen"]) < pd.Timestamp("2025-06-01", tz="UTC")
    last = pd.Timestamp(made["densified_windows"]["last_training_bar"])
    assert pd.Timestamp(made["pretrained_encoder"]["last_bar_seen"]) <= last


def test_all_parameters_are_counted_and_stay_below_a_hundred_thousand(made: dict[str, dict]):
    assert 0 < made["finetuned_classifier"]["n_parameters"] <= 100_000


def test_the_run_prints_the_scores_that_it_logs(smoke_home: Home, runs: dict[str, Run]):
    printed = outcome(smoke_home)["metrics"]["type_f1_macro"]
    logged = runs["bootstrap_ci_report"].data.metrics
    assert [logged["type_f1_macro"], logged["type_f1_macro.low"], logged["type_f1_macro.high"]] == [
        printed["estimate"],
        printed["low"],
        printed["high"],
    ]
