"""Every test's surroundings: one thread, no telemetry, no window system, no state of the user's."""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from moola_pipeline.storage.home import HOME_VARIABLE, PROJECT_ROOT, Home
from moola_pipeline_tests.surroundings import surroundings_kept

QUIET = {
    "OMP_NUM_THREADS": "1",
    "MPLBACKEND": "Agg",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "DAGSTER_DISABLE_TELEMETRY": "true",
}
PRIVATE_DATA_VARIABLE = "MOOLA_PRIVATE_DATA"
for _shared in ("MOOLA_TRACKING_URI", "MOOLA_ARTIFACTS_URI", "MOOLA_STORE_URI"):
    os.environ.pop(_shared, None)  # what tests make is registered in no store that machines share
os.environ.update(QUIET)  # before numpy, torch or mlflow are imported by a test module


@pytest.fixture(autouse=True)
def isolated_home(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """A home of the test's own in MOOLA_HOME, and no DAGSTER_HOME or MLflow store from outside."""
    home = tmp_path_factory.mktemp("home")
    with surroundings_kept():
        monkeypatch.setenv(HOME_VARIABLE, str(home))
        for name in ("DAGSTER_HOME", "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MLFLOW_RUN_ID"):
            monkeypatch.delenv(name, raising=False)
        yield home


@pytest.fixture(scope="session")
def smoke_home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home in which `moola run --profile smoke` ran once; not to be changed."""
    # here and below: it imports Dagster, which most tests do without
    from moola_pipeline_tests.homes import made_once, make_smoke_home

    return Home(made_once(tmp_path_factory, "smoke-home", make_smoke_home))


@pytest.fixture
def smoke_copy(smoke_home: Home, tmp_path: Path) -> Home:
    """A copy of `smoke_home` to change."""
    from moola_pipeline_tests.homes import copied

    return copied(smoke_home, tmp_path / "smoke copy")


@pytest.fixture(scope="session")
def registered_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with bars, bars of a later session, and labels, as a vendor and a person have them."""
    from moola_pipeline_tests.homes import made_once, make_registered_files

    return made_once(tmp_path_factory, "registered-files", make_registered_files)


@pytest.fixture(scope="session")
def registered_home(tmp_path_factory: pytest.TempPathFactory, registered_files: Path) -> Home:
    """A home whose bars and labels were registered, and which ran once; not to be changed."""
    from moola_pipeline_tests.homes import made_once, make_registered_home

    make = partial(make_registered_home, files=registered_files)
    return Home(made_once(tmp_path_factory, "registered-home", make))


@pytest.fixture
def registered_copy(registered_home: Home, tmp_path: Path) -> Home:
    """A copy of `registered_home` to change."""
    from moola_pipeline_tests.homes import copied

    return copied(registered_home, tmp_path / "registered copy")


@pytest.fixture(scope="session")
def private_data() -> Path:
    """The folder that holds real/ and vendor_samples/; skips the test on machines without it."""
    chosen = os.environ.get(PRIVATE_DATA_VARIABLE)
    folder = Path(chosen) if chosen else PROJECT_ROOT.parent / "shared"
    if not (folder / "real").is_dir():
        pytest.skip(f"needs private bars and labels: {PRIVATE_DATA_VARIABLE} names the folder above real/")
    return folder
