"""Drift checks of latest_expansions on new bars that match training and on bars that do not."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from moola_pipeline.evaluation.drift import NAMES, load_reference, session_rates
from moola_pipeline.features.schema import FEATURE_NAMES
from moola_pipeline.inference.hindsight import EXPANSION_COLUMNS
from moola_pipeline.metrics import drift
from moola_pipeline.metrics.drift import MAJOR_SHIFT
from moola_pipeline.storage.home import Home
from moola_pipeline.tracking.registry import load_version
from moola_pipeline.windows.window_geometry import WINDOW_BARS
from moola_pipeline_tests.homes import LATER_BARS, SMOKE, copied, instance_of, moola
from moola_pipeline_tests.made_bars import made_bars

WICK_POINTS = 6.0


def drift_of(home: Home) -> dict:
    return json.loads((home.store / "nq-smoke" / "latest_expansions" / "drift.json").read_text())


def with_long_wicks(bars: pd.DataFrame) -> pd.DataFrame:
    """The same opens and closes with longer wicks."""
    return bars.assign(high=bars["high"] + WICK_POINTS, low=bars["low"] - WICK_POINTS)


@pytest.fixture(scope="module", params=["as in training", "with long wicks"])
def marked(
    request: pytest.FixtureRequest,
    registered_home: Home,
    registered_files: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[str, Home]:
    """The registered home after a run on a new day of bars, with or without long wicks."""
    folder = tmp_path_factory.mktemp("drift")
    home = copied(registered_home, folder / "home")
    bars = pd.read_parquet(registered_files / LATER_BARS)
    changed = with_long_wicks(bars) if request.param == "with long wicks" else bars
    changed.to_parquet(folder / LATER_BARS, index=False)
    moola(home, "bars", "add", folder / LATER_BARS)
    moola(home, *SMOKE)
    return request.param, home


def test_only_shifted_features_are_named(marked: tuple[str, Home]):
    kind, home = marked
    result = drift_of(home)
    assert set(result["population_stability"]) == set(FEATURE_NAMES)
    assert set(result["checks"]) == set(NAMES)
    check = result["checks"]["feature_drift"]
    shifted = {name for name, shift in result["population_stability"].items() if shift >= MAJOR_SHIFT}
    assert check["passed"] == (kind == "as in training")
    assert check["value"] == max(result["population_stability"].values())
    if kind == "as in training":
        assert not shifted
    else:
        assert {"upper_wick_pct", "lower_wick_pct", "body_pct"} <= shifted
        assert all(name in check["said"] for name in shifted)


def test_a_drift_warning_is_recorded_in_dagster_and_stops_nothing(marked: tuple[str, Home]):
    kind, home = marked
    with instance_of(home) as instance:
        records = instance.event_log_storage.get_asset_check_execution_history
        from dagster import AssetCheckKey, AssetKey

        [last] = records(AssetCheckKey(AssetKey("latest_expansions"), "feature_drift"), limit=1)
    assert last.event is not None and last.event.dagster_event is not None
    evaluation = last.event.dagster_event.asset_check_evaluation_data
    assert evaluation.passed == (kind == "as in training")
    assert evaluation.severity.value == "WARN"
    assert "would change nothing" in moola(home, "status", "--profile", "smoke")


def test_the_chart_is_stored_beside_the_numbers(marked: tuple[str, Home]):
    picture = (marked[1].store / "nq-smoke" / "latest_expansions" / "drift.svg").read_bytes()
    assert b"<svg" in picture and b"upper_wick_pct" in picture


def test_without_new_labels_the_calibration_check_passes_without_a_value(marked: tuple[str, Home]):
    check = drift_of(marked[1])["checks"]["new_label_calibration"]
    assert check["passed"] and check["value"] is None
    assert check["said"] == "0 newly labeled expansions: at least 20 are needed"


def test_new_labels_check_the_calibration_of_the_champion(
    registered_home: Home, registered_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    home = copied(registered_home, tmp_path / "home")
    moola(home, "bars", "add", registered_files / LATER_BARS)
    moola(home, *SMOKE)
    marks = pd.read_parquet(home.store / "nq-smoke" / "latest_expansions.parquet")
    labels = labels_of(marks.loc[marks["mode"] == "hindsight"])
    labels.to_csv(tmp_path / "new.csv", index=False)
    moola(home, "labels", "add", tmp_path / "new.csv")
    monkeypatch.setattr(drift, "MIN_EXPANSIONS", len(labels))
    moola(home, *SMOKE)
    check = drift_of(home)["checks"]["new_label_calibration"]
    assert check["value"] is not None and check["limit"] > 0
    assert (
        f" on {len(labels)} newly labeled expansions; limit of a perfectly calibrated model " in check["said"]
    )
    assert check["passed"] == (check["value"] <= check["limit"])


def labels_of(marks: pd.DataFrame) -> pd.DataFrame:
    """Marks as labels, in windows that do not overlap."""
    minute = pd.Timedelta(minutes=1)
    rows, free = [], pd.Timestamp(0, tz="UTC")
    for mark in marks.to_dict("records"):
        start = mark["window_start"]
        if start < free:
            continue
        free = start + WINDOW_BARS * minute
        first, last = ((mark[name] - start) // minute for name in ("started_at", "ended_at"))
        rows.append((f"new{len(rows)}", f"{start:%Y-%m-%dT%H:%MZ}", mark["label"], first, last))
    columns = ["window_id", "window_start", "label", "expansion_start", "expansion_end"]
    return pd.DataFrame(rows, columns=columns)


def test_the_reference_is_stored_with_the_version(registered_home: Home):
    _, facts = load_version(registered_home, "models:/moola-nq@champion")
    reference = load_reference(facts)
    assert reference is not None
    assert set(reference.edges) == set(FEATURE_NAMES)
    assert len(reference.rates) == 15  # of 2 to 20 December
    assert reference.retracement_share > 0
    assert load_reference({}) is None


def test_rates_worked_by_hand():
    opened = pd.date_range("2025-07-01 14:00", periods=600, freq="min", tz="UTC").as_unit("ns")
    market = replace(
        made_bars(1, n_bars=600),
        times=opened,
        session=np.repeat(np.array(["2025-07-01", "2025-07-02"], "datetime64[ns]"), [400, 200]),
        segment=np.repeat([0, 1], [400, 200]),
    )
    marks = pd.DataFrame({"started_at": opened[[80, 120, 300]]}, columns=list(EXPANSION_COLUMNS))
    rates = session_rates(marks, market)
    # bars 70 to 369 of the first session are covered, only 100 of the second
    assert rates.session == ["2025-07-01"]
    assert rates.rate.tolist() == [1.0]
