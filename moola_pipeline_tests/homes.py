"""Homes after a `moola run`: made once per test session, copied before changes."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest
from filelock import FileLock

from moola_pipeline.bars.schema import RAW_COLUMNS
from moola_pipeline.bars.sessions import session_of
from moola_pipeline.bars.simulated import LabelPeriod, SimulationSettings, simulate
from moola_pipeline.labels.simulated_annotator import draw_labels
from moola_pipeline.resources.instance import prepare_instance
from moola_pipeline.storage.home import PROJECT_ROOT, Home
from moola_pipeline_tests.cli.calls import call
from moola_pipeline_tests.surroundings import surroundings_kept

SMOKE = ("run", "--profile", "smoke")
BARS, LATER_BARS, LABELS = "bars.parquet", "later.parquet", "labels.csv"
OUTCOME = "outcome.json"
CREATES_HOME = "does not exist yet: it will be created."
"""How the line ends that a command prints before it creates a home."""
LATER_SESSION = date(2025, 7, 1)
"""The first session after the default test period."""
LABELED = (
    LabelPeriod(first_session=date(2024, 12, 2), last_session=date(2024, 12, 20), windows=60),
    LabelPeriod(first_session=date(2025, 1, 2), last_session=date(2025, 1, 17), windows=40),
    LabelPeriod(first_session=date(2025, 4, 1), last_session=date(2025, 4, 16), windows=50),
)
"""Some weeks in each split of the default dates."""


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that the first test worker to need it makes."""
    own = factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    folder, done = shared / name, shared / f"{name}.done"
    with FileLock(shared / f"{name}.lock"):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            done.touch()
    return folder


def make_smoke_home(folder: Path) -> None:
    """Run once without own data: simulated bars."""
    (folder / OUTCOME).write_text(run_moola(folder, *SMOKE, "--json"))


def make_registered_files(folder: Path) -> None:
    """Write made-up vendor bars around LABELED, bars of a later session, and labels."""
    settings = SimulationSettings(
        seed=1,
        first_session=LABELED[0].first_session,
        last_session=LATER_SESSION,
        pause_bars=100,
        label_periods=LABELED,
    )
    market = simulate(settings)
    session = session_of(pd.DatetimeIndex(market.bars["timestamp"])).to_numpy("datetime64[D]")
    labeled = [(np.datetime64(it.first_session), np.datetime64(it.last_session)) for it in LABELED]
    chosen = np.logical_or.reduce([(session >= first) & (session <= last) for first, last in labeled])
    bars, later = market.bars.loc[:, list(RAW_COLUMNS)], session == np.datetime64(LATER_SESSION)
    bars.loc[chosen].to_parquet(folder / BARS, index=False)
    bars.loc[later].to_parquet(folder / LATER_BARS, index=False)
    draw_labels(market, settings).to_csv(folder / LABELS, index=False)


def make_registered_home(folder: Path, files: Path) -> None:
    """Register bars and labels, and run once, in processes that close Dagster's database when they end."""
    run_moola(folder, "bars", "add", files / BARS)
    run_moola(folder, "labels", "add", files / LABELS)
    (folder / OUTCOME).write_text(run_moola(folder, *SMOKE, "--json"))


def run_moola(home: Path, *words: str | Path) -> str:
    """Run `moola WORDS` in a new process and return its output; it must succeed."""
    command = [sys.executable, "-m", "moola_pipeline", "--home", str(home), *map(str, words)]
    done = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    complaints = [line for line in done.stderr.splitlines() if not line.endswith(CREATES_HOME)]
    assert not complaints, done.stderr
    return done.stdout


def moola(home: Home, *words: str | Path) -> str:
    """Run `moola WORDS` in this process and return its output; it must succeed."""
    with surroundings_kept():
        done = call(*words, home=home.root)
    assert done.exit_code == 0, done.stderr
    said = [line for line in done.stderr.splitlines() if not line.endswith(CREATES_HOME)]
    assert not said, done.stderr
    return done.stdout


def outcome(home: Home) -> dict[str, Any]:
    """The JSON output of a home's first run."""
    return json.loads((home.root / OUTCOME).read_text())


def copied(home: Home, target: Path) -> Home:
    """A writable copy of a home, without what SQLite keeps while another test reads the original."""
    shutil.copytree(home.root, target, ignore=shutil.ignore_patterns("*.db-wal", "*.db-shm"))
    return Home(target)


@contextmanager
def instance_of(home: Home) -> Iterator[dg.DagsterInstance]:
    """Dagster's instance of a home."""
    with surroundings_kept():
        prepare_instance(home)
        with dg.DagsterInstance.get() as instance:
            yield instance


def last_materialization(instance: dg.DagsterInstance, asset: str) -> dg.AssetMaterialization:
    """Dagster's record of an asset's last materialization."""
    event = instance.get_latest_materialization_event(dg.AssetKey(asset))
    assert event is not None
    assert event.asset_materialization is not None
    return event.asset_materialization
