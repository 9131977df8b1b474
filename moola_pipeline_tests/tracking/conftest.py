"""An empty store of its own for each test, and an open run in it."""

import shutil
from pathlib import Path

import pytest

from moola_pipeline.storage.home import Home
from moola_pipeline.tracking.runs import experiment_id, open_store
from moola_pipeline.tracking.tracked_run import TrackedRun


@pytest.fixture(scope="session")
def fresh_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an empty store; creating one takes seconds."""
    made = Home(tmp_path_factory.mktemp("store"))
    open_store(made)
    return made.tracking


@pytest.fixture
def home(isolated_home: Path, fresh_store: Path) -> Home:
    """A home with its own empty store."""
    shutil.copytree(fresh_store, Home(isolated_home).tracking)
    return Home(isolated_home)


@pytest.fixture
def tracked(home: Home) -> TrackedRun:
    """An open run of no asset."""
    client = open_store(home)
    experiment = experiment_id(client, home, "market")
    return TrackedRun(client, experiment, client.create_run(experiment).info.run_id)
