"""Environment of all tests: one thread, no telemetry, no display, no state of the user."""

import gc
import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from hypothesis import settings

from moola_pipeline.cli import RARE_COLLECTIONS
from moola_pipeline.storage.home import HOME_VARIABLE, PROJECT_ROOT, Home
from moola_pipeline_tests.surroundings import surroundings_kept

QUIET = {
    "OMP_NUM_THREADS": "1",
    "MPLBACKEND": "Agg",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "DAGSTER_DISABLE_TELEMETRY": "true",
}
HOMES = frozenset(("smoke_home", "registered_home"))
"""Fixtures that take minutes the first time."""
PRIVATE_DATA_VARIABLE = "MOOLA_PRIVATE_DATA"
for _shared in ("MOOLA_TRACKING_URI", "MOOLA_ARTIFACTS_URI", "MOOLA_STORE_URI"):
    os.environ.pop(_shared, None)  # tests write to no shared store
gc.set_threshold(*RARE_COLLECTIONS)
settings.register_profile("moola", deadline=None)  # a busy machine is no fault of an example
settings.load_profile("moola")
os.environ.update(QUIET)  # must precede imports of numpy, torch and mlflow in test modules


@pytest.fixture(autouse=True)
def isolated_home(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """Set MOOLA_HOME to a new home per test; unset DAGSTER_HOME and MLflow's store variables."""
    home = tmp_path_factory.mktemp("home")
    with surroundings_kept():
        monkeypatch.setenv(HOME_VARIABLE, str(home))
        for name in ("DAGSTER_HOME", "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MLFLOW_RUN_ID"):
            monkeypatch.delenv(name, raising=False)
        yield home


@pytest.hookimpl(trylast=True)  # the items of other marks have left
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the files so that no worker waits while another makes a home.

    One file for each home comes first, then half of the files without one, then the others.
    """
    homes_of: dict[Path, set[str]] = {}
    for item in items:
        homes_of.setdefault(item.path, set()).update(HOMES & set(getattr(item, "fixturenames", ())))
    first = [
        next((path for path, homes in homes_of.items() if homes == {home}), None) for home in sorted(HOMES)
    ]
    needing = [path for path, homes in homes_of.items() if homes]
    others = [path for path, homes in homes_of.items() if not homes]
    half = len(others) // 2
    order = dict.fromkeys([*first, *others[:half], *needing, *others[half:]])
    rank = {path: number for number, path in enumerate(order)}
    items.sort(key=lambda item: rank[item.path])


ANSWER_TO_SIGTERM = signal.getsignal(signal.SIGTERM)


@pytest.fixture(autouse=True)
def terminable() -> None:
    """Answer SIGTERM as at the start, whatever test or library changed it: processes inherit that they ignore
    it, and then do not end when they are told to."""
    signal.signal(signal.SIGTERM, ANSWER_TO_SIGTERM)


@pytest.fixture(scope="session")
def smoke_home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home after one `moola run --profile smoke`; read-only."""
    # here and below, imported late: it imports Dagster, which most tests do not need
    from moola_pipeline_tests.homes import made_once, make_smoke_home

    return Home(made_once(tmp_path_factory, "smoke-home", make_smoke_home))


@pytest.fixture
def smoke_copy(smoke_home: Home, tmp_path: Path) -> Home:
    """A writable copy of `smoke_home`."""
    from moola_pipeline_tests.homes import copied

    return copied(smoke_home, tmp_path / "smoke copy")


@pytest.fixture(scope="session")
def registered_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with vendor bars, bars of a later session, and labels."""
    from moola_pipeline_tests.homes import made_once, make_registered_files

    return made_once(tmp_path_factory, "registered-files", make_registered_files)


@pytest.fixture(scope="session")
def registered_home(tmp_path_factory: pytest.TempPathFactory, registered_files: Path) -> Home:
    """A home with registered bars and labels, after one run; read-only."""
    from moola_pipeline_tests.homes import made_once, make_registered_home

    make = partial(make_registered_home, files=registered_files)
    return Home(made_once(tmp_path_factory, "registered-home", make))


@pytest.fixture
def registered_copy(registered_home: Home, tmp_path: Path) -> Home:
    """A writable copy of `registered_home`."""
    from moola_pipeline_tests.homes import copied

    return copied(registered_home, tmp_path / "registered copy")


@pytest.fixture(scope="session")
def private_data() -> Path:
    """The folder with real/ and vendor_samples/; skips the test on machines without it."""
    chosen = os.environ.get(PRIVATE_DATA_VARIABLE)
    folder = Path(chosen) if chosen else PROJECT_ROOT.parent / "shared"
    if not (folder / "real").is_dir():
        pytest.skip(
            f"needs private bars and labels: set {PRIVATE_DATA_VARIABLE} to the folder that contains real/"
        )
    return folder
