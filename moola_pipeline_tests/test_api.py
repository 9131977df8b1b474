"""The functions for notebooks give what the commands give."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.patches import Rectangle

from moola_pipeline import api as moola
from moola_pipeline.bars.schema import BAR_COLUMNS
from moola_pipeline.errors import BadInput
from moola_pipeline.features.schema import FEATURE_NAMES
from moola_pipeline.inference.hindsight import EXPANSION_COLUMNS
from moola_pipeline.staleness.fingerprints import package_code
from moola_pipeline.staleness.stages import STAGES
from moola_pipeline.storage.home import HOME_VARIABLE, PROJECT_ROOT, Home
from moola_pipeline_tests.cli.calls import call, facts

URI = "models:/moola-simulated@champion"


@pytest.fixture(scope="module")
def bar_file(smoke_home: Home, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A session of the simulated market and most of the next."""
    [path] = smoke_home.simulated.rglob("raw/bars.parquet")
    target = tmp_path_factory.mktemp("bars") / "two.parquet"
    pd.read_parquet(path).iloc[:2600].to_parquet(target, index=False)
    return target


@pytest.fixture(scope="module")
def bars(bar_file: Path) -> pd.DataFrame:
    return moola.read_bars(bar_file)


def test_bars_are_the_canonical_table(bars: pd.DataFrame, bar_file: Path):
    assert list(bars) == list(BAR_COLUMNS)
    assert len(bars) == len(pd.read_parquet(bar_file))


def test_swings_are_those_of_the_command(bars: pd.DataFrame, bar_file: Path):
    shown = facts(call("zigzag", bar_file, "--json"))["swings"]
    swings = moola.zigzag(bars)
    assert swings["price"].tolist() == [one["price"] for one in shown]
    assert swings["kind"].tolist() == [one["kind"] for one in shown]
    assert (swings["time"].to_numpy() < swings["confirmed_at"].to_numpy()).all()


def test_features_of_a_bar_do_not_depend_on_later_bars(bars: pd.DataFrame):
    whole, part = moola.compute_features(bars), moola.compute_features(bars.iloc[:700])
    assert [*FEATURE_NAMES, "valid"] == list(whole)
    pd.testing.assert_frame_equal(whole.iloc[:700], part)
    assert np.flatnonzero(whole["valid"])[0] == 40


@pytest.mark.parametrize("mode", ["hindsight", "live"])
def test_predictions_are_those_of_the_command(
    smoke_home: Home, bars: pd.DataFrame, bar_file: Path, mode: str
):
    words = ("predict", bar_file, "--model", URI, "--mode", mode, "--json")
    shown = facts(call(*words, home=smoke_home.root))["expansions"]
    marks = moola.predict(moola.load_model(URI, smoke_home.root), bars, mode)  # pyright: ignore[reportArgumentType]
    assert list(marks) == list(EXPANSION_COLUMNS)
    assert marks["probability"].tolist() == [one["probability"] for one in shown]
    assert [f"{moment:%Y-%m-%dT%H:%M:%SZ}" for moment in marks["started_at"]] == [
        one["started_at"] for one in shown
    ]


def test_the_last_session_with_marks_is_drawn(smoke_home: Home, bars: pd.DataFrame):
    marks = moola.predict(moola.load_model(URI, smoke_home.root), bars)
    [axes] = moola.plot_marks(bars, marks).axes
    day = (marks["started_at"].iloc[-1].tz_convert("America/New_York") + pd.Timedelta(hours=6)).date()
    assert axes.get_title(loc="left") == f"session {day}"
    frames = [it for it in axes.patches if isinstance(it, Rectangle) and not it.get_fill()]
    started = marks["started_at"].dt.tz_convert("America/New_York") + pd.Timedelta(hours=6)
    assert len(frames) == int((started.dt.date == day).sum()) > 0
    [axes] = moola.plot_marks(bars, marks.iloc[:0], zone="UTC").axes
    assert axes.get_xlabel().startswith("UTC time")


def test_what_does_not_exist_is_refused(smoke_home: Home, bars: pd.DataFrame, tmp_path: Path):
    with pytest.raises(BadInput, match="must hold a registered model, but it does not. Run: moola run"):
        moola.load_model(URI, tmp_path)
    with pytest.raises(BadInput, match="models:/moola-nq@champion must be a registered model"):
        moola.load_model(home=smoke_home.root)
    with pytest.raises(BadInput, match="session must be a trading day of the bars, got 2030-01-01"):
        moola.plot_marks(bars, pd.DataFrame({"started_at": pd.DatetimeIndex([], tz="UTC")}), "2030-01-01")


def test_no_asset_depends_on_it():
    package = package_code()
    assert all("api.py" not in package.of_asset(asset).files for asset in STAGES)


def test_importing_it_imports_nothing_slow():
    slow = "{'torch', 'mlflow', 'dagster', 'matplotlib'} & set(sys.modules)"
    code = f"import sys; from moola_pipeline import api; print({slow})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


NOTEBOOK = PROJECT_ROOT / "examples" / "first_hour.ipynb"


@pytest.mark.slow
def test_the_notebook_runs_from_top_to_bottom(smoke_home: Home, tmp_path: Path):
    cells = [cell for cell in json.loads(NOTEBOOK.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] or cell["execution_count"] for cell in cells)
    script = tmp_path / "first_hour.py"
    check = "assert figure.axes and len(marks) and len(alarms) and len(swings) and features['valid'].any()"
    script.write_text("\n".join(["".join(cell["source"]) for cell in cells] + [check, "print('done')"]))
    environment = {**os.environ, HOME_VARIABLE: str(smoke_home.root), "PYTHONPATH": str(PROJECT_ROOT)}
    done = subprocess.run(
        [sys.executable, script],
        env=environment,
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("done\n")


def test_the_notebook_uses_every_function():
    text = NOTEBOOK.read_text("utf-8")
    assert all(f"moola.{name}(" in text for name in moola.__all__ if name != "LoadedModel")
