"""Files logged by runs are verified in the home and in a bucket with a shared database."""

import socket
import time
from collections.abc import Iterator

import pytest

from moola_pipeline.selftest.verify import verify_home
from moola_pipeline.storage.home import Home
from moola_pipeline.tracking.recorded_files import recorded_files
from moola_pipeline.tracking.runs import experiment_id, open_store
from moola_pipeline.tracking.tracked_run import TrackedRun
from moola_pipeline_tests.cli.calls import call
from moola_pipeline_tests.counts import record
from moola_pipeline_tests.servers import KEYS, bucket_of, bucket_server, postgres

CONTENT = "type,n\nretracement,40\n"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with bucket_server() as server:
        yield server


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with postgres(port) as server:
        yield f"{server}/postgres"


@pytest.fixture(params=["SQLite in the home", "PostgreSQL"], scope="module")
def logged(
    request: pytest.FixtureRequest, address: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Home]:
    """A home of one run whose file is in the bucket."""
    settings = {**KEYS, "MLFLOW_S3_ENDPOINT_URL": address, "MOOLA_ARTIFACTS_URI": "s3://moola/mlflow"}
    if request.param == "PostgreSQL":
        settings["MOOLA_TRACKING_URI"] = request.getfixturevalue("database")
    with pytest.MonkeyPatch.context() as patched:
        for name, value in settings.items():
            patched.setenv(name, value)
        home = Home(tmp_path_factory.mktemp("logged"))
        client = open_store(home)
        experiment = experiment_id(client, home, "market")
        run = TrackedRun(client, experiment, client.create_run(experiment).info.run_id)
        run.log_text(CONTENT, "class_counts.csv")
        yield home


@pytest.fixture
def home(logged: Home, address: str) -> Home:
    """The same home with its file restored."""
    [one] = recorded_files(logged)
    bucket_of(address).Object(one.location.removeprefix("s3://moola/")).put(Body=CONTENT.encode())
    return logged


def test_a_file_in_a_bucket_is_read_and_verified(home: Home):
    [one] = recorded_files(home)
    assert one.path is None
    assert one.location.startswith("s3://moola/mlflow/market/")
    assert one.location.endswith("/artifacts/class_counts.csv")
    result = verify_home(home)
    assert (result.findings, result.counts["files of runs"]) == ([], 1)


def test_every_byte_changed_in_a_bucket_is_found_and_named(home: Home, address: str):
    [one], began = recorded_files(home), time.monotonic()
    stored = bucket_of(address).Object(one.location.removeprefix("s3://moola/"))
    for place in range(len(CONTENT)):
        changed = bytearray(CONTENT.encode())
        changed[place] ^= 1 << place % 8
        stored.put(Body=bytes(changed))
        [result] = verify_home(home).findings
        assert (result.file, result.kind) == (one.location, "changed")
        assert "MLflow's database records" in result.what
        assert result.what.endswith("Restore the object, or log a new one: moola run --force")
    record("bytes flipped in a bucket", flips=len(CONTENT), missed=0, seconds=time.monotonic() - began)


def test_truncated_and_missing_are_distinguished_from_changed(home: Home, address: str):
    [one] = recorded_files(home)
    stored = bucket_of(address).Object(one.location.removeprefix("s3://moola/"))
    stored.put(Body=CONTENT.encode()[:-3])
    [result] = verify_home(home).findings
    assert (
        result.kind == "truncated"
        and f"it ends after {len(CONTENT) - 3} of {len(CONTENT)} bytes" in result.what
    )
    stored.delete()
    [result] = verify_home(home).findings
    assert (result.file, result.kind) == (one.location, "missing")


def test_a_database_that_does_not_respond_is_reported_as_unreadable(
    home: Home, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MOOLA_TRACKING_URI", "postgresql+psycopg2://moola:hunter2@127.0.0.1:9/mlflow")
    done = call("verify", home=home.root)
    assert done.exit_code == 1
    assert "MOOLA_TRACKING_URI must name an MLflow database" in done.stdout
    assert "hunter2" not in done.stdout
