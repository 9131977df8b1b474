"""`moola verify` reports every deleted file of a home, unless nothing is lost with it."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from moola_pipeline.bars.store import registered_store
from moola_pipeline.selftest.verify import verify_home
from moola_pipeline.storage.backup import backed_up_files
from moola_pipeline.storage.home import Home
from moola_pipeline_tests.cli.calls import call
from moola_pipeline_tests.counts import record
from moola_pipeline_tests.homes import OUTCOME, copied

ROLLS = "time,old,new\n2024-03-15T22:00:00.000000Z,NQH4,NQM4\n"
RECREATED = (
    "dagster.yaml",
    "data/format.json",
    "data/mlflow/place.txt",
    "data/simulated/*/manifest.json",
    "data/simulated/*/settings.json",
)
"""Files that the next command writes again with the same content."""
NOT_RECORDED = (".dagster/compute_logs/*/*/*", ".dagster/storage/history/runs/[!i]*.db")
"""Outputs and events of runs: history, on which nothing depends."""
REMEDIES = (
    "moola run",
    "moola restore",
    "moola bars add",
    "moola bars rolls add",
    "moola labels add",
    "Delete",
)


@pytest.fixture(params=["simulated", "registered"])
def home(
    request: pytest.FixtureRequest, smoke_home: Home, registered_home: Home, tmp_path: Path
) -> Iterator[Home]:
    """A copy to delete files from, with rolls if its bars are registered."""
    shared = smoke_home if request.param == "simulated" else registered_home
    made, made_at = copied(shared, tmp_path / "home"), (shared.root / OUTCOME).stat().st_mtime
    for path in list(backed_up_files(made)):
        if path.suffix != ".db" and path.stat().st_mtime > made_at:
            path.unlink()  # written by MLflow or Dagster when another test read the shared home
    if request.param == "registered":
        (tmp_path / "rolls.csv").write_text(ROLLS)
        assert call("bars", "rolls", "add", tmp_path / "rolls.csv", home=made.root).exit_code == 0
    yield made


def test_every_deleted_file_is_reported_or_written_again(home: Home):
    began, n_missed = time.monotonic(), 0
    assert verify_home(home).findings == []
    for path in list(backed_up_files(home)):
        name, content = path.relative_to(home.root), path.read_bytes()
        path.unlink()
        found = verify_home(home).findings
        path.write_bytes(content)
        if not any(name.match(pattern) for pattern in (*RECREATED, *NOT_RECORDED)):
            n_missed += 1
            assert name.name in " ".join(f"{finding.file} {finding.what}" for finding in found), name
            assert all(any(remedy in finding.what for remedy in REMEDIES) for finding in found), found
    assert n_missed >= 30
    kind = "registered" if registered_store(home).rolls.exists() else "simulated"
    record(
        f"files deleted: {kind}",
        files=n_missed,
        unnoticed=0,
        seconds=time.monotonic() - began,
    )


def test_an_asset_whose_checksums_were_deleted_is_made_again(smoke_copy: Home):
    checksums = smoke_copy.store / "simulated-smoke" / "labeled_expansions.checksums.json"
    checksums.unlink()
    ran = call("run", "--profile", "smoke", home=smoke_copy.root)
    assert ran.exit_code == 0, ran.output
    assert "its checksum file is gone" in ran.stdout
    assert verify_home(smoke_copy).findings == []
