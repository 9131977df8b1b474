"""A first model from few labels: its report is provisional and scores by cross-validation."""

import json
from pathlib import Path

import pandas as pd
import pytest

from moola_pipeline.bars.manifest import read_bars
from moola_pipeline.bars.schema import RAW_COLUMNS
from moola_pipeline.bars.simulated import SMOKE_SETTINGS
from moola_pipeline.bars.store import BarStore
from moola_pipeline.labels.simulated import ensure_simulated, labels_file
from moola_pipeline.storage.home import Home
from moola_pipeline_tests.cli.calls import call

N_WINDOWS = 50


@pytest.mark.slow
def test_a_first_model_is_made_from_few_labels(tmp_path: Path):
    made = BarStore(tmp_path / "market", simulated=True)
    ensure_simulated(made, SMOKE_SETTINGS)
    read_bars(made).loc[:, list(RAW_COLUMNS)].to_parquet(tmp_path / "bars.parquet", index=False)
    labels = pd.read_csv(labels_file(made)).query("`pass` == 1")
    kept = labels["window_id"].drop_duplicates().sample(N_WINDOWS, random_state=1)
    labels = labels.loc[labels["window_id"].isin(kept)]
    labels.to_csv(tmp_path / "labels.csv", index=False)
    home = Home(tmp_path / "home")
    assert call("bars", "add", tmp_path / "bars.parquet", "--instrument", "NQ", home=home.root).exit_code == 0
    added = call("labels", "add", tmp_path / "labels.csv", home=home.root)
    assert "Splits provisional, as there are too few labels for a test split" in added.stdout
    assert json.loads((home.root / "data" / "nq" / "splits.json").read_text())["proposed"]

    ran = call("run", "--profile", "smoke", "--market", "registered", home=home.root)

    assert ran.exit_code == 0, ran.output
    assert "PROVISIONAL: too few labels for a test split." in ran.stdout
    assert "models:/moola-nq/1 is champion" in ran.stdout
    report = json.loads((home.reports / "nq-smoke" / "report.json").read_text())
    windows = labels.groupby("window_id")["window_start"].first()
    assert report["n_folds"] >= 3
    assert report["metrics"]["event_f1_macro"]["n"] <= len(windows)
    assert report["metrics"]["event_f1_macro"]["n"] >= 0.9 * len(windows)  # all but those in the embargo
    assert set(report["ablations"]) == {"teachers", "untrained"}
    assert len(report["baselines"]) > 5 and len(report["trivial_baselines"]) > 5
    assert {"delay_curve", "null", "scratch"} <= set(report["details"]["not_measured"])
    assert "Provisional report" in (home.reports / "nq-smoke" / "report.html").read_text()
