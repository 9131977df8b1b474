import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from moola_pipeline.bars.manifest import add_bars
from moola_pipeline.bars.schema import RAW_COLUMNS
from moola_pipeline.bars.store import registered_store
from moola_pipeline.bars.vendor_options import VendorOptions
from moola_pipeline.labeler.opening import LabelRequest
from moola_pipeline.storage.home import Home
from moola_pipeline_tests.labeler.served import Served, browser, serving
from moola_pipeline_tests.labels.weekly_market import weekly_bars

BARS = weekly_bars()
ANN = LabelRequest("ann")


@pytest.fixture(scope="session")
def made_home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with one session of bars a week in each split."""
    folder = tmp_path_factory.mktemp("labeler")
    path = folder / "bars.parquet"
    BARS.loc[:, list(RAW_COLUMNS)].to_parquet(path, index=False)
    home = Home(folder / "home")
    add_bars(registered_store(home), path, VendorOptions(instrument="NQ"))
    return home


@pytest.fixture
def home(made_home: Home, tmp_path: Path) -> Home:
    """A home of its own."""
    shutil.copytree(made_home.root, tmp_path / "home")
    return Home(tmp_path / "home")


@pytest.fixture
def served(home: Home) -> Iterator[Served]:
    """The labeler of a home, opened by ann."""
    with serving(home, ANN) as running:
        yield running


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A browser, closed after the file: meanwhile its thread can start neither another nor an event loop."""
    with browser() as running:
        yield running
