"""`moola verify` finds one flipped byte in any file of a home, and names the remedy."""

import json
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from moola_pipeline.bars.store import registered_store
from moola_pipeline.labels.annotators import LabelChoice, write_label_choice
from moola_pipeline.labels.definitions import add_definition
from moola_pipeline.selftest.verify import verify_home
from moola_pipeline.storage.home import Home
from moola_pipeline_tests.cli.calls import call, facts
from moola_pipeline_tests.counts import record
from moola_pipeline_tests.homes import copied

MARKET, STORE, REPORT = "data/simulated/smoke", "data/store/simulated-smoke", "data/reports/simulated-smoke"
MODEL = "data/mlflow/artifacts/moola-simulated/models/*/artifacts"
ARTEFACTS = {
    "raw bars": f"{MARKET}/raw/bars.parquet",
    "manifest": f"{MARKET}/manifest.json",
    "labels": f"{MARKET}/labels.csv",
    "rolls": f"{MARKET}/rolls.csv",
    "canonical table": f"{STORE}/raw_nq_bars.parquet",
    "placed labels": f"{STORE}/labeled_expansions.parquet",
    "features": f"{STORE}/relativity_features.json",
    "windows": f"{STORE}/densified_windows.parquet",
    "encoder weights": f"{STORE}/pretrained_encoder/weights.safetensors",
    "encoder config": f"{STORE}/pretrained_encoder/config.json",
    "classifier weights": f"{STORE}/finetuned_classifier/seed-0/weights.safetensors",
    "training facts": f"{STORE}/finetuned_classifier/training.json",
    "predictions": f"{STORE}/latest_expansions.parquet",
    "registered version": f"{STORE}/registered_model.json",
    "checksums": f"{STORE}/raw_nq_bars.checksums.json",
    "report data": f"{REPORT}/report.json",
    "report page": f"{REPORT}/report.html",
    "promotions": "data/mlflow/promotions.jsonl",
    "registry weights": f"{MODEL}/artifacts/expansion_model/weights.safetensors",
    "registry config": f"{MODEL}/artifacts/expansion_model/config.json",
    "registry code": f"{MODEL}/pyfunc.py",
    "registry model": f"{MODEL}/MLmodel",
    "report in MLflow": "data/mlflow/artifacts/moola-simulated/*/artifacts/report.json",
}
REMEDIES = ("moola run", "moola restore", "Delete the folder", "from a backup")
FLIPS = 3


@pytest.fixture(scope="module")
def changed(smoke_home: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A copy in which tests change files and restore them."""
    yield copied(smoke_home, tmp_path_factory.mktemp("verified") / "home")


def test_an_unchanged_home_is_verified_and_counted(smoke_home: Home):
    result = verify_home(smoke_home)
    assert result.findings == []
    assert result.counts["checksum files"] == 9
    assert result.counts["files of models"] >= 7
    assert result.counts["databases"] >= 4


@pytest.mark.parametrize("artefact", ARTEFACTS)
def test_one_flipped_byte_is_found_wherever_it_stands(artefact: str, changed: Home):
    [path] = changed.root.glob(ARTEFACTS[artefact])
    content, began = path.read_bytes(), time.monotonic()
    offsets = {0, len(content) - 1, *random.Random(artefact).choices(range(len(content)), k=FLIPS)}
    for offset in offsets:
        flipped = bytearray(content)
        flipped[offset] ^= 1 << random.Random(offset).randrange(8)
        path.write_bytes(flipped)
        try:
            result = verify_home(changed).findings
        finally:
            path.write_bytes(content)
        assert path.relative_to(changed.root).as_posix() in {one.file for one in result}, offset
        assert all(any(remedy in one.what for remedy in REMEDIES) for one in result)
        assert all("\n" not in one.what for one in result)
    record(
        f"bytes flipped and found by verify: {artefact}",
        flips=len(offsets),
        missed=0,
        seconds=time.monotonic() - began,
    )


@pytest.mark.parametrize(
    "artefact",
    ["raw bars", "canonical table", "encoder weights", "checksums", "manifest", "report in MLflow"],
)
def test_truncated_is_distinguished_from_changed(artefact: str, changed: Home):
    [path] = changed.root.glob(ARTEFACTS[artefact])
    content = path.read_bytes()
    kinds = {}
    for kind, damaged in {
        "truncated": content[:-7],
        "changed": content[:-9] + b"7654321" + content[-2:],
    }.items():
        path.write_bytes(damaged)
        result = verify_home(changed).findings
        path.write_bytes(content)
        kinds[kind] = {one.kind for one in result if path.name in one.file}
    assert kinds["truncated"] == {"truncated"}
    assert kinds["changed"] <= {"changed", "unreadable"} and kinds["changed"]


def test_a_missing_file_is_named_as_missing(changed: Home):
    path = changed.root / ARTEFACTS["predictions"]
    content = path.read_bytes()
    path.unlink()
    [result] = verify_home(changed).findings
    path.write_bytes(content)
    assert (result.file, result.kind) == (ARTEFACTS["predictions"], "missing")
    assert result.what.endswith("Rebuild it: moola run --market simulated --profile smoke")


def test_a_file_that_is_not_a_database_is_reported(changed: Home):
    path = changed.dagster / "storage" / "schedules" / "schedules.db"
    content = path.read_bytes()
    path.write_bytes(bytes(4096) + content[4096:])
    result = verify_home(changed).findings
    path.write_bytes(content)
    assert [(one.file, one.kind) for one in result] == [
        (".dagster/storage/schedules/schedules.db", "unreadable")
    ]


def test_the_command_ends_with_1_and_names_file_and_remedy(changed: Home):
    path = changed.root / ARTEFACTS["features"]
    content = path.read_bytes()
    path.write_bytes(content.replace(b"0", b"1", 1))
    done, as_json = call("verify", home=changed.root), call("verify", "--json", home=changed.root)
    path.write_bytes(content)
    assert done.exit_code == as_json.exit_code == 1
    assert f"CHANGED  {ARTEFACTS['features']}" in done.stdout
    assert "Rebuild it: moola run" in done.stdout
    assert facts(as_json)["findings"][0]["file"] == ARTEFACTS["features"]


def test_the_command_ends_with_0_and_counts(changed: Home, tmp_path: Path):
    done = call("verify", "--json", home=changed.root)
    assert done.exit_code == 0
    assert facts(done)["sound"] is True
    assert facts(done)["proven"]["files of assets"] >= 13
    empty = call("verify", home=tmp_path)
    assert (empty.exit_code, empty.stdout) == (0, "This home holds no files to check yet.\n")


def test_temporary_files_of_killed_writers_are_counted_and_harmless(changed: Home):
    left = changed.store / ".raw_nq_bars.parquet.abc.tmp"
    left.write_bytes(b"half")
    os.utime(left, (0, 0))
    result = verify_home(changed)
    left.unlink()
    assert result.findings == []
    assert result.counts["unfinished temporary files, harmless"] == 1


def test_registered_labels_and_bars_are_verified(registered_copy: Home):
    assert verify_home(registered_copy).findings == []
    nq = registered_copy.data / "nq"
    add_definition(nq / "labels", "An expansion moves twice the ATR.")
    write_label_choice(nq, LabelChoice(definition=1))
    assert verify_home(registered_copy).findings == []
    names = ("raw/labels.csv", "ledger.json", "labels.csv", "judgments.jsonl", "definitions/1.json")
    names = ("label_choice.json", "raw/bars.parquet", *(f"labels/{name}" for name in names))
    [parsed] = registered_store(registered_copy).parsed_folder.iterdir()
    for path in (*(registered_copy.data / "nq" / name for name in names), parsed):
        content = path.read_bytes()
        path.write_bytes(content[:40] + bytes([content[40] ^ 1]) + content[41:])
        result = verify_home(registered_copy).findings
        path.write_bytes(content)
        assert result, path
        assert all("moola" in one.what or "backup" in one.what for one in result)
    ledger = json.loads((registered_copy.data / "nq" / "labels" / "ledger.json").read_bytes())
    assert "own_sha256" in ledger


def test_a_run_without_stale_assets_still_verifies_the_champion(smoke_copy: Home):
    [weights] = smoke_copy.root.glob(ARTEFACTS["registry weights"])
    flipped = bytearray(weights.read_bytes())
    flipped[-1] ^= 1
    weights.write_bytes(flipped)
    ran = call("run", "--profile", "smoke", home=smoke_copy.root)
    assert ran.exit_code == 1
    assert "is champion" in ran.stdout
    assert "models:/moola-simulated@champion, weights.safetensors: SHA256 is " in ran.stderr
    assert [one.kind for one in verify_home(smoke_copy).findings] == ["changed"]
    weights.unlink()
    gone = call("run", "--profile", "smoke", home=smoke_copy.root)
    assert (gone.exit_code, gone.stderr.count("\n")) == (1, 1)
    assert "must exist, but it is gone. Restore it from a backup" in gone.stderr
