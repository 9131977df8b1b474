"""deploy/cluster on one machine: PostgreSQL for Dagster and MLflow, a bucket for artifacts and assets."""

import json
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from moola_pipeline.storage.home import PROJECT_ROOT
from moola_pipeline_tests.homes import run_moola
from moola_pipeline_tests.secrets_found import (
    found_in_bucket,
    found_in_files,
    found_in_postgres,
    found_in_text,
)
from moola_pipeline_tests.servers import KEYS, PASSWORD, bucket_of, bucket_server, postgres

CLUSTER = PROJECT_ROOT / "deploy" / "cluster"
PRINTING = {
    "status": ("status", "--profile", "smoke"),
    "report": ("report",),
    "history": ("registry", "history"),
}


@pytest.fixture(scope="module")
def services() -> Iterator[dict[str, str]]:
    """Environment variables of all machines of the cluster."""
    import psycopg2

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with postgres(port) as server, bucket_server() as address:
        connection = psycopg2.connect(host="127.0.0.1", port=port, user="moola", dbname="postgres")
        connection.autocommit = True
        for name in ("dagster", "mlflow"):
            connection.cursor().execute(f"CREATE DATABASE {name}")
        connection.close()
        yield {
            **KEYS,
            "MOOLA_DAGSTER_URI": f"{server}/dagster",
            "MOOLA_TRACKING_URI": f"{server}/mlflow",
            "MOOLA_ARTIFACTS_URI": "s3://moola/mlflow",
            "MOOLA_STORE_URI": "s3://moola/store",
            "MLFLOW_S3_ENDPOINT_URL": address,
            "AWS_ENDPOINT_URL": address,
        }


def _machine(folder: Path) -> Path:
    folder.mkdir()
    shutil.copyfile(CLUSTER / "dagster.yaml", folder / "dagster.yaml")
    return folder


@pytest.mark.slow
def test_two_machines_share_runs_models_and_assets(
    services: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name, value in services.items():
        monkeypatch.setenv(name, value)
    first, second = _machine(tmp_path / "first"), _machine(tmp_path / "second")
    output = run_moola(first, "run", "--profile", "smoke", "--json")
    outcome = json.loads(output)
    assert outcome["metrics"]["type_f1_macro"]["n"] > 0
    assert not list(first.rglob("*.db")), "no SQLite database is left in the home"

    keys = {entry.key for entry in bucket_of(services["AWS_ENDPOINT_URL"]).objects.all()}
    assert "store/data/store/simulated-smoke/raw_nq_bars.parquet" in keys
    assert "store/data/reports/simulated-smoke/report.html" in keys
    assert any(key.startswith("mlflow/") and key.endswith("weights.safetensors") for key in keys)

    listed = json.loads(run_moola(second, "registry", "list", "--json"))
    assert "moola-simulated" in json.dumps(listed)
    bars = next(first.rglob("data/simulated/*/raw/bars.parquet"))
    model = ("--model", "models:/moola-simulated@champion")
    found = [run_moola(home, "predict", bars, *model, "--json") for home in (first, second)]
    assert json.loads(found[0])["expansions"] == json.loads(found[1])["expansions"]

    from moola_pipeline.storage.asset_checksums import prove
    from moola_pipeline.storage.bucket import pull
    from moola_pipeline.storage.home import Home

    place = Home(second).store / "simulated-smoke" / "finetuned_classifier"
    pull(Home(second), place)
    prove(place)
    assert (place / "training.json").exists()

    secrets = (PASSWORD, KEYS["AWS_SECRET_ACCESS_KEY"])
    printed = {name: run_moola(first, *words, "--json") for name, words in PRINTING.items()}
    run_moola(first, "backup", tmp_path / "first" / "backup.zip")
    assert found_in_text(secrets, run=output, predict=found[0], **printed) == []
    assert found_in_files(secrets, tmp_path) == []
    assert found_in_bucket(secrets, bucket_of(services["AWS_ENDPOINT_URL"])) == []
    for name in ("MOOLA_DAGSTER_URI", "MOOLA_TRACKING_URI"):
        address = services[name].replace("postgresql+psycopg2", "postgresql")
        assert found_in_postgres(secrets, address) == []
        assert found_in_postgres(["simulated"], address), "what is there can be found"
