"""Model versions: registration, aliases, and refusal of wrong names."""

import json
import re
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.entities import LoggedModelStatus

from moola_pipeline.errors import BadInput, IntegrityError, MissingArtifact
from moola_pipeline.selftest.verify import verify_home
from moola_pipeline.storage.home import Home
from moola_pipeline.tracking.logged_model import logged_model_of
from moola_pipeline.tracking.registry import (
    DIGEST_TAGS,
    Registered,
    champion_version,
    is_registered,
    load_version,
    register,
    version_of,
)
from moola_pipeline.tracking.runs import experiment_id, open_store
from moola_pipeline.tracking.served_model import SERVING_PACKAGES
from moola_pipeline.tracking.tracked_run import TrackedRun
from moola_pipeline_tests.homes import outcome

NAME = "moola-simulated"


def model_folder(home: Home, version: str = "1") -> Path:
    source = open_store(home).get_model_version_download_uri(NAME, version)
    return Path(unquote(source.removeprefix("file://")))


@pytest.fixture
def client(smoke_copy: Home) -> MlflowClient:
    return open_store(smoke_copy)


def registered_again(home: Home, name: str = NAME, threshold: float | None = None) -> Registered:
    """Register the champion under a name, unchanged or with another threshold."""
    client = open_store(home)
    experiment = experiment_id(client, home, NAME)
    run = TrackedRun(client, experiment, client.create_run(experiment).info.run_id)
    model, facts = load_version(home, f"models:/{NAME}@champion")
    if threshold is not None:
        thresholds = model.thresholds.model_copy(update={"expansion_threshold": threshold})
        model = replace(model, thresholds=thresholds)
    return register(home, run, name, model, facts, {"simulated": True, "profile": "again"})


@pytest.fixture
def logged_files(smoke_copy: Home) -> list[Path]:
    """The files of a model that was just logged: loading one adds bytecode and the name of the version."""
    registered_again(smoke_copy, threshold=0.123)
    return [path for path in model_folder(smoke_copy, "2").rglob("*") if path.is_file()]


def test_the_first_version_is_challenger_and_champion(smoke_home: Home):
    client = open_store(smoke_home)
    assert version_of(client, NAME, "challenger") == version_of(client, NAME, "champion") == "1"


def test_the_champion_read_without_mlflow_is_the_one_mlflow_names(smoke_copy: Home, client: MlflowClient):
    registered_again(smoke_copy, threshold=0.123)
    client.set_registered_model_alias(NAME, "champion", "2")
    assert champion_version(smoke_copy, NAME) == version_of(client, NAME, "champion") == "2"
    client.delete_registered_model_alias(NAME, "champion")
    assert champion_version(smoke_copy, NAME) is None
    assert is_registered(smoke_copy, NAME) and not is_registered(smoke_copy, "moola-es")
    client.delete_registered_model(NAME)
    assert not is_registered(smoke_copy, NAME)


def test_a_registry_file_that_is_not_a_database_is_refused(smoke_copy: Home):
    (smoke_copy.tracking / "mlflow.db").write_bytes(b"no database" * 1000)
    with pytest.raises(IntegrityError, match="must be an SQLite database that can be opened"):
        champion_version(smoke_copy, NAME)


def test_a_version_carries_its_scores_and_the_digests_of_its_data(smoke_home: Home):
    tags = open_store(smoke_home).get_model_version(NAME, "1").tags
    assert re.fullmatch(r"0\.\d{4} \[0\.\d{4}, 0\.\d{4}\]", tags["type_f1_macro"])
    assert (tags["simulated"], tags["profile"]) == ("True", "smoke")
    assert len(tags["data.sha256"]) == len(tags["labels.sha256"]) == 64


def test_a_version_knows_what_it_was_made_from(smoke_home: Home):
    _, facts = load_version(smoke_home, f"models:/{NAME}/1")
    assert (facts["model"], facts["model_version"], facts["instrument"]) == (NAME, "1", "NQ")
    assert facts["simulated"] is True
    assert facts["settings"]["epochs"] == 8


def test_a_logged_model_is_weights_and_text_and_nothing_pickled(logged_files: list[Path]):
    assert {path.name for path in logged_files} == {
        "MLmodel",
        "conda.yaml",
        "config.json",
        "input_example.json",
        "pyfunc.py",
        "python_env.yaml",
        "requirements.txt",
        "serving_input_example.json",
        "weights.safetensors",
    }
    assert not [
        path for path in logged_files if path.read_bytes()[:1] == b"\x80" and path.suffix != ".safetensors"
    ]


def test_the_model_names_the_versions_it_was_made_with(smoke_home: Home):
    lines = (model_folder(smoke_home) / "requirements.txt").read_text().split()
    assert [line.partition("==")[0] for line in lines] == list(SERVING_PACKAGES)
    assert all(re.fullmatch(r"[\w-]+==[\w.]+", line) for line in lines)


def test_a_version_carries_the_digests_of_its_files(smoke_home: Home):
    tags = open_store(smoke_home).get_model_version(NAME, "1").tags
    assert all(re.fullmatch("[0-9a-f]{64}", tags[name]) for name in DIGEST_TAGS)
    assert len({tags[name] for name in DIGEST_TAGS}) == 3


def test_a_version_is_made_from_a_logged_model_of_the_parent_run(smoke_home: Home):
    client = open_store(smoke_home)
    version = client.get_model_version(NAME, "1")
    logged = client.get_logged_model(str(logged_model_of(version)))
    assert version.run_id == logged.source_run_id
    parent = client.get_run(str(version.run_id))
    assert parent.data.tags["role"] == "parent"
    assert parent.outputs is not None
    assert [one.model_id for one in parent.outputs.model_outputs] == [logged.model_id]
    assert (logged.name, logged.status) == (NAME, LoggedModelStatus.READY)
    assert json.loads(logged.tags["mlflow.modelVersions"]) == [{"name": NAME, "version": "1"}]
    assert logged.params["finetune.epochs"] == parent.data.params["finetune.epochs"]


def test_the_scores_of_a_logged_model_are_numbers_on_the_test_labels(smoke_home: Home):
    client = open_store(smoke_home)
    version = client.get_model_version(NAME, "1")
    logged = client.get_logged_model(str(logged_model_of(version)))
    metrics = {one.key: one for one in logged.metrics or []}
    printed = outcome(smoke_home)["metrics"]["type_f1_macro"]
    assert [metrics[f"type_f1_macro{end}"].value for end in ("", "_low", "_high")] == [
        printed["estimate"],
        printed["low"],
        printed["high"],
    ]
    parent = client.get_run(str(version.run_id))
    assert parent.inputs is not None
    [tested] = [
        one.dataset
        for one in parent.inputs.dataset_inputs
        if one.dataset.name == "labels" and [tag.value for tag in one.tags] == ["testing"]
    ]
    assert {(one.dataset_name, one.dataset_digest) for one in metrics.values()} == {("labels", tested.digest)}


def test_a_version_and_its_logged_model_are_described_with_scores_and_links(smoke_home: Home):
    client = open_store(smoke_home)
    version = client.get_model_version(NAME, "1")
    logged = client.get_logged_model(str(logged_model_of(version)))
    assert logged.tags["mlflow.note.content"] == version.description
    text = str(version.description)
    assert text.startswith("**SIMULATED bars.**")
    assert "Version 1: promoted." in text and "| Type F1 | 0." in text
    for page in (
        f"#/models/{NAME}/versions/1",
        f"#/experiments/{logged.experiment_id}/models/{logged.model_id}",
        f"#/experiments/{logged.experiment_id}/runs/{version.run_id}",
    ):
        assert f"({page}?workflowType=machine_learning)" in text


def test_registration_leaves_mlflow_s_default_store_as_it_was(smoke_copy: Home):
    mlflow.set_tracking_uri("sqlite:///elsewhere.db")
    registered_again(smoke_copy, threshold=0.123)
    assert mlflow.get_tracking_uri() == "sqlite:///elsewhere.db"
    mlflow.set_tracking_uri(None)  # pyright: ignore[reportArgumentType]
    registered_again(smoke_copy, threshold=0.124)
    assert not mlflow.is_tracking_uri_set()


def test_no_file_of_a_logged_model_names_its_home(
    logged_files: list[Path], smoke_copy: Home, smoke_home: Home
):
    """MLflow itself writes into MLmodel where the weights lay before: a temporary folder."""
    homes = [str(smoke_copy.root).encode(), str(smoke_home.root).encode()]
    assert not [path for path in logged_files for home in homes if home in path.read_bytes()]


def test_a_version_without_a_logged_model_loads_and_stays_the_same_version(smoke_copy: Home):
    """As registered before versions were made from logged models."""
    before = model_folder(smoke_copy)
    after = smoke_copy.tracking / "artifacts" / NAME / "a run" / "artifacts" / "model"
    after.parent.mkdir(parents=True)
    before.rename(after)
    with closing(sqlite3.connect(smoke_copy.tracking / "mlflow.db")) as connection, connection:
        connection.execute(
            "UPDATE model_versions SET source = :uri, storage_location = :uri", {"uri": after.as_uri()}
        )
        connection.execute("DELETE FROM logged_model_tags")
    assert logged_model_of(open_store(smoke_copy).get_model_version(NAME, "1")) is None
    assert load_version(smoke_copy, f"models:/{NAME}/1")[1]["model_version"] == "1"
    assert verify_home(smoke_copy).findings == []
    assert registered_again(smoke_copy) == Registered("1", is_new=False)


def test_another_model_is_another_version_and_leaves_the_champion(smoke_copy: Home, client: MlflowClient):
    assert registered_again(smoke_copy, threshold=0.123) == Registered("2", is_new=True)
    assert version_of(client, NAME, "challenger") == "2"
    assert champion_version(smoke_copy, NAME) == "1"
    assert load_version(smoke_copy, f"models:/{NAME}@challenger")[1]["model_version"] == "2"


def test_the_same_model_is_the_same_version_with_newer_tags(smoke_copy: Home, client: MlflowClient):
    registered_again(smoke_copy, threshold=0.123)
    assert registered_again(smoke_copy) == Registered("1", is_new=False)
    assert version_of(client, NAME, "challenger") == "1"
    assert client.get_model_version(NAME, "1").tags["profile"] == "again"
    assert len(client.search_model_versions(f"name = '{NAME}'")) == 2


def test_a_changed_config_is_refused_even_with_intact_weights(smoke_copy: Home):
    config = model_folder(smoke_copy) / "artifacts" / "expansion_model" / "config.json"
    config.write_text(config.read_text().replace('"refine": false', '"refine": true', 1) + " ")
    with pytest.raises(
        IntegrityError, match=r"version 1 must match their registration.*its SHA256 is [0-9a-f]{64}"
    ):
        load_version(smoke_copy, f"models:/{NAME}/1")


def test_a_model_whose_files_were_lost_is_registered_again(smoke_copy: Home, client: MlflowClient):
    experiment = experiment_id(client, smoke_copy, NAME)
    run = TrackedRun(client, experiment, client.create_run(experiment).info.run_id)
    model, facts = load_version(smoke_copy, f"models:/{NAME}/1")
    (model_folder(smoke_copy) / "artifacts" / "expansion_model" / "weights.safetensors").unlink()
    assert register(smoke_copy, run, NAME, model, facts, {}) == Registered("2", is_new=True)
    load_version(smoke_copy, f"models:/{NAME}/2")


def test_two_models_count_their_versions_apart(smoke_copy: Home):
    assert registered_again(smoke_copy, "moola-nq") == Registered("1", is_new=True)
    assert champion_version(smoke_copy, "moola-nq") is None
    assert champion_version(smoke_copy, NAME) == "1"


@pytest.mark.parametrize("uri", ["moola-nq", "models:/moola-nq", "models:/a/b", "runs:/1/model", ""])
def test_a_text_that_is_not_a_model_uri_is_refused(uri: str, isolated_home: Path):
    with pytest.raises(BadInput) as fault:
        load_version(Home(isolated_home), uri)
    assert str(fault.value) == (
        f"--model must be models:/NAME@ALIAS or models:/NAME/VERSION, got {uri!r}. "
        "Write it as models:/moola-nq@champion, for example."
    )


@pytest.mark.parametrize(
    "uri", ["models:/moola-nq@champion", f"models:/{NAME}/7", f"models:/{NAME}@no-such-alias"]
)
def test_an_unknown_model_is_named_with_the_known_ones(uri: str, smoke_home: Home):
    with pytest.raises(MissingArtifact) as fault:
        load_version(smoke_home, uri)
    assert str(fault.value) == (
        f"{uri} must be a registered model, but it is not. "
        f"Choose one with --model models:/{NAME}@champion, or train one on your own bars: "
        "moola bars add FILE && moola labels add FILE && moola run"
    )
