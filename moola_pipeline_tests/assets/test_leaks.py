"""Planted leaks: each must fail the run in its check."""

import json

import numpy as np
import pandas as pd
import pytest

from moola_pipeline.assets import densified_windows
from moola_pipeline.cli.exit_codes import FAILED
from moola_pipeline.labels import placement
from moola_pipeline.storage.home import Home
from moola_pipeline.windows.window_geometry import WINDOW_BARS
from moola_pipeline_tests.cli.calls import call, complaint
from moola_pipeline_tests.homes import LABELS, SMOKE, moola


def test_a_pretraining_window_one_bar_beyond_the_training_period_fails_the_run(
    smoke_copy: Home, monkeypatch: pytest.MonkeyPatch
):
    honest = densified_windows.pretraining_windows

    def leaking(segment: np.ndarray, end: int, stride: int) -> np.ndarray:
        return np.append(honest(segment, end, stride), _whole_window(segment, end + 1))

    monkeypatch.setattr(densified_windows, "pretraining_windows", leaking)
    result = call(*SMOKE, "--force", home=smoke_copy.root)
    assert result.exit_code == FAILED
    assert complaint(result).startswith("pretrained_encoder: check training_period_only failed (value ")


def _whole_window(segment: np.ndarray, end: int) -> int:
    """Bar 0 of the first window in one segment whose last bar is row `end` - 1 or a later one."""
    bar0 = end - WINDOW_BARS
    while segment[bar0] != segment[bar0 + WINDOW_BARS - 1]:
        bar0 += 1
    return bar0


def test_a_test_window_in_training_fails_the_run(smoke_copy: Home, monkeypatch: pytest.MonkeyPatch):
    honest = placement.assign_splits

    def leaking(placed: pd.DataFrame, bars: pd.DataFrame, settings: object) -> pd.DataFrame:
        frame = honest(placed, bars, settings)  # type: ignore[arg-type]
        last = frame["window_id"] == frame["window_id"].iloc[-1]
        return frame.assign(split=frame["split"].mask(last, "train"))

    monkeypatch.setattr(placement, "assign_splits", leaking)
    result = call(*SMOKE, "--force", home=smoke_copy.root)
    assert result.exit_code == FAILED
    assert complaint(result).startswith("labeled_expansions: check no_leakage failed (value ")


@pytest.mark.slow
def test_a_second_pass_rebuilds_the_report_and_trains_nothing(
    registered_copy: Home, registered_files, tmp_path
):
    labels = pd.read_csv(registered_files / LABELS).drop(columns="pass", errors="ignore")
    again = labels.loc[labels["window_start"] >= "2025-04-01"]
    again.to_csv(tmp_path / "second.csv", index=False)
    moola(registered_copy, "labels", "add", tmp_path / "second.csv", "--pass", "2")
    output = json.loads(moola(registered_copy, *SMOKE, "--json"))
    assert output["made"] == ["labeled_expansions", "bootstrap_ci_report", "registered_model"]
    assert output["second_pass"]["event_f1_macro"]["estimate"] == pytest.approx(1)  # the same labels again
