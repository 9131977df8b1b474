"""Every test's surroundings: one thread, no telemetry, no window system, no state of the user's."""

import os
from pathlib import Path

import pytest

from moola_pipeline.home import HOME_VARIABLE, PROJECT_ROOT

QUIET = {
    "OMP_NUM_THREADS": "1",
    "MPLBACKEND": "Agg",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "DAGSTER_DISABLE_TELEMETRY": "true",
}
PRIVATE_DATA_VARIABLE = "MOOLA_PRIVATE_DATA"
os.environ.update(QUIET)  # before numpy, torch or mlflow are imported by a test module


@pytest.fixture(autouse=True)
def isolated_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of the test's own in MOOLA_HOME, and no DAGSTER_HOME or MLflow store from outside."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv(HOME_VARIABLE, str(home))
    for name in ("DAGSTER_HOME", "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MLFLOW_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    return home


@pytest.fixture(scope="session")
def private_data() -> Path:
    """The folder that holds real/ and vendor_samples/; skips the test on machines without it."""
    chosen = os.environ.get(PRIVATE_DATA_VARIABLE)
    folder = Path(chosen) if chosen else PROJECT_ROOT.parent / "shared"
    if not (folder / "real").is_dir():
        pytest.skip(f"needs private bars and labels: {PRIVATE_DATA_VARIABLE} names the folder above real/")
    return folder
