"""A version of another home is imported and tagged, or refused for a single changed byte."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from moola_pipeline.errors import BadInput, IntegrityError
from moola_pipeline.storage.atomic_write import file_sha256
from moola_pipeline.storage.checksums import OWN_SHA256, read_checksummed, write_checksummed
from moola_pipeline.storage.home import Home
from moola_pipeline.tracking.registry import (
    DIGEST_TAGS,
    Registered,
    champion_version,
    load_version,
    version_of,
)
from moola_pipeline.tracking.runs import open_store
from moola_pipeline.tracking.version_import import find_champion, import_champion

NAME = "moola-simulated"


@pytest.fixture
def home(isolated_home: Path) -> Home:
    return Home(isolated_home)


def files_of(home: Home) -> dict[str, str]:
    registry = home.tracking
    return {str(path): file_sha256(path) for path in sorted(registry.rglob("*")) if path.is_file()}


def refused(home: Home, other: Home) -> str:
    with pytest.raises(IntegrityError) as fault:
        import_champion(home, other, None)
    assert not (home.tracking / "mlflow.db").exists()
    return str(fault.value)


def test_an_imported_champion_is_challenger_here_and_loads(home: Home, smoke_home: Home):
    done = import_champion(home, smoke_home, None)
    assert (done.model, done.registered) == (NAME, Registered("1", is_new=True))
    assert version_of(open_store(home), NAME, "challenger") == "1"
    assert champion_version(home, NAME) is None
    here, facts = load_version(home, f"models:/{NAME}/1")
    there, known = load_version(smoke_home, f"models:/{NAME}@champion")
    assert (here.proposer, here.thresholds) == (there.proposer, there.thresholds)
    assert facts["last_bar_seen"] == known["last_bar_seen"]


def test_an_imported_version_is_tagged_with_its_origin_s_digests_and_no_path(home: Home, smoke_home: Home):
    import_champion(home, smoke_home, NAME)
    there = open_store(smoke_home).get_model_version(NAME, "1").tags
    version = open_store(home).get_model_version(NAME, "1")
    assert (version.tags["imported"], version.tags["imported.version"]) == ("True", "1")
    assert all(version.tags[f"imported.{name}"] == there[name] for name in DIGEST_TAGS)
    assert version.tags["weights.sha256"] == there["weights.sha256"]
    _, facts = load_version(home, f"models:/{NAME}/1")
    assert facts["imported"] == {"version": "1", **{name: there[name] for name in DIGEST_TAGS}}
    assert str(smoke_home.root) not in json.dumps([facts, version.tags])


def test_the_other_home_is_not_changed(home: Home, smoke_copy: Home):
    before = files_of(smoke_copy)
    import_champion(home, smoke_copy, None)
    assert files_of(smoke_copy) == before


def test_a_model_that_is_already_registered_keeps_its_version_and_gets_no_import_tag(
    smoke_copy: Home, smoke_home: Home
):
    assert import_champion(smoke_copy, smoke_home, None).registered == Registered("1", is_new=False)
    assert "imported" not in open_store(smoke_copy).get_model_version(NAME, "1").tags
    assert champion_version(smoke_copy, NAME) == "1"


def test_changed_weights_are_refused_with_both_digests(home: Home, smoke_copy: Home):
    weights = find_champion(smoke_copy, None).folder / "weights.safetensors"
    before = file_sha256(weights)
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x07")
    assert refused(home, smoke_copy) == (
        f"version 1 of {NAME} must be in HOME as registered, but expansion_model/weights.safetensors: "
        f"SHA256 is {file_sha256(weights)}, config.json records {before}. "
        "Import from a backup of that home, or train it there again."
    )


def test_a_changed_threshold_is_refused_even_with_intact_weights(home: Home, smoke_copy: Home):
    path = find_champion(smoke_copy, None).folder / "config.json"
    config = json.loads(path.read_text())
    config["thresholds"]["expansion_threshold"] = 0.0
    path.write_text(json.dumps(config))
    assert "config.json of expansion_model must describe the model, but it was changed" in refused(
        home, smoke_copy
    )
    del config[OWN_SHA256]  # written again with a valid digest
    write_checksummed(path, config)
    assert "but model.sha256 is " in refused(home, smoke_copy)


def test_a_model_of_other_features_is_refused(home: Home, smoke_copy: Home):
    path = find_champion(smoke_copy, None).folder / "config.json"
    config = read_checksummed(path, "must be whole", "Train it again.")
    write_checksummed(path, config | {"features": [*config["features"], "moon_phase"]})
    assert "they differ in moon_phase. Import from a backup of that home" in refused(home, smoke_copy)


def test_files_outside_the_home_are_not_fetched(home: Home, smoke_copy: Home):
    with closing(sqlite3.connect(smoke_copy.tracking / "mlflow.db")) as connection, connection:
        connection.execute("UPDATE model_versions SET storage_location = 'file:///elsewhere/model'")
    assert refused(home, smoke_copy) == (
        "The champion's files must lie in HOME, but its registry names another folder. "
        "Import from the home itself."
    )


def test_a_registry_that_cannot_be_read_is_refused(home: Home, smoke_copy: Home):
    (smoke_copy.tracking / "mlflow.db").write_bytes(b"no database" * 1000)
    assert refused(home, smoke_copy).startswith(
        "HOME must hold a readable registry, but mlflow.db is not readable (file is not a database). "
    )


def test_a_home_without_a_registry_and_the_home_itself_are_refused(home: Home, tmp_path: Path):
    with pytest.raises(BadInput) as fault:
        import_champion(home, Home(tmp_path), None)
    assert str(fault.value) == (
        f"HOME must hold a registry (data/mlflow/mlflow.db), but {tmp_path} does not. "
        "Name the --home folder in which the model was trained."
    )
    with pytest.raises(BadInput, match="HOME must not be the home in use, got the same"):
        import_champion(home, home, None)


def test_a_name_without_a_champion_is_refused_with_the_names_that_have_one(home: Home, smoke_home: Home):
    with pytest.raises(BadInput) as fault:
        import_champion(home, smoke_home, "moola-es")
    assert str(fault.value) == (
        "--model must name one of HOME's champions, got moola-es. "
        f"HOME has champions of: {NAME}. Name one of these."
    )
