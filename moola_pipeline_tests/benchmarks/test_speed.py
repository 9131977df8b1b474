"""Speed measurements time the intended work, and the report marks exceeded limits."""

from collections import Counter
from typing import NamedTuple

import numpy as np
import pytest
import torch

from moola_pipeline.bars.instruments import NQ
from moola_pipeline.bars.schema import PRICE_COLUMNS
from moola_pipeline.bars.table import build_table
from moola_pipeline.benchmarks import batch_speed
from moola_pipeline.benchmarks.feature_speed import (
    REBUILT_WINDOWS,
    pandas_features,
    rebuilt_windows,
    streaming_bars,
)
from moola_pipeline.benchmarks.job import JobReport
from moola_pipeline.benchmarks.measured_process import memory_of_features
from moola_pipeline.benchmarks.speed import (
    MEASURED,
    SpeedReport,
    _gpu,
    made_bars,
    measure_speed,
)
from moola_pipeline.benchmarks.speed_page import speed_facts, speed_lines, speed_page
from moola_pipeline.features.relativity import compute_features
from moola_pipeline.features.schema import FEATURE_NAMES
from moola_pipeline.windows.window_geometry import WINDOW_BARS


@pytest.fixture(scope="module")
def report() -> SpeedReport:
    torch.backends.cudnn.allow_tf32 = True  # torch's default
    with pytest.MonkeyPatch.context() as once:
        once.setattr(batch_speed, "REPEATS", 1)
        return measure_speed(n_bars=4000, streamed_bars=500, rehearsed=True)


def test_the_alternatives_compute_the_values_of_the_feature_table():
    bars = made_bars(3000)
    prices, segment = bars[list(PRICE_COLUMNS)].to_numpy(), build_table(bars, None)["segment"].to_numpy()
    table = compute_features(prices, segment, NQ.tick_points)
    plain = pandas_features(prices, segment)
    streamed = np.array(streaming_bars(prices))
    warm = table.structure_valid & (np.arange(len(bars)) % 1380 > 300)  # averages have forgotten their start

    assert len(bars) == 3000 and warm.sum() > 1000
    assert plain.to_numpy()[warm, :6] == pytest.approx(table.values[warm, :6], abs=0.01)
    assert streamed[warm, :5] == pytest.approx(table.values[warm, :5], abs=1e-5)
    for column, n_bars in zip((12, 16, 20), (10, 20, 40), strict=True):
        assert "range" in FEATURE_NAMES[column]
        expected = plain[f"range_{n_bars}"].to_numpy()[warm]
        assert np.median(np.abs(table.values[warm, column] - expected)) < 0.01


def test_windows_rebuilt_one_by_one_have_the_values_of_the_whole_table():
    bars = made_bars(400)
    prices = bars[list(PRICE_COLUMNS)].to_numpy()
    last_bars = np.array([150, 399])
    for last, frame in zip(last_bars, rebuilt_windows(prices, last_bars), strict=True):
        rows = slice(last + 1 - WINDOW_BARS, last + 1)
        assert len(frame) == WINDOW_BARS
        assert frame["body_pct"].to_numpy() == pytest.approx(
            (prices[rows, 3] - prices[rows, 0]) / np.maximum(prices[rows, 1] - prices[rows, 2], 0.25)
        )


def test_every_measurement_takes_time_and_ratios_follow_from_them(report: SpeedReport):
    seconds = {name: timing.seconds for name, timing in report.timings.items()}
    assert min(seconds.values()) > 0 and report.windows_a_second > 0
    assert set(seconds) == set(MEASURED)
    assert report.ratios["csv import over pyarrow alone"] == seconds["csv_import"] / seconds["csv_pyarrow"]
    assert report.ratios["streaming loop over features"] == pytest.approx(
        seconds["features_streaming"] * 8 / seconds["features"]
    )
    assert report.ratios["rebuilding each window over features"] == pytest.approx(
        seconds["features_rebuilt"] / (REBUILT_WINDOWS * WINDOW_BARS) * 4000 / seconds["features"]
    )
    assert report.ratios["loading a stored table over computing it from bars"] == pytest.approx(
        seconds["features_loaded"] / seconds["features_from_bars"]
    )


def test_memory_is_measured_in_the_separate_process_only():
    ballast = np.ones(60_000_000)  # 458 MB in this process
    prices = np.tile([100.0, 101.0, 99.0, 100.5], (200_000, 1))
    small = memory_of_features(prices[:2000], np.zeros(2000, np.int32), 0.25)
    large = memory_of_features(prices, np.zeros(len(prices), np.int32), 0.25)

    assert ballast.all()
    assert large.peak < 450
    table_mb = 200_000 * 24 * 4 / 2**20
    assert table_mb < large.rise < 12 * table_mb
    assert small.rise < table_mb


def test_compiling_is_timed_with_an_empty_cache(report: SpeedReport):
    assert report.timings["features_compile"].seconds > 10 * report.timings["features"].seconds


def test_the_page_names_command_machine_and_a_missing_gpu(report: SpeedReport):
    page = speed_page(report)
    assert "`moola bench --out docs/benchmarks.md`" in page and report.machine in page
    assert "4,000 simulated one-minute bars" in page
    assert ("Not measured on a GPU" in page) == (report.gpu is None)


def test_networks_are_measured_in_the_precision_of_training(report: SpeedReport):
    assert report.training and not torch.backends.cudnn.allow_tf32


def test_the_precision_of_a_gpu_includes_the_setting_of_cudnn(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "H100")
    for allowed, precision in ((True, "TF32"), (False, "float32")):
        monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", allowed)
        assert str(_gpu()).startswith(f"GPU: H100, {precision}, CUDA ")


def test_steps_store_or_recompute_states_and_a_larger_batch_takes_more_memory(report: SpeedReport):
    on_cpu = [step for step in report.steps if step.device == "cpu"]
    assert [(step.recomputed, step.windows) for step in on_cpu] == [
        (recomputed, size) for recomputed in (False, True) for size in (8, 64)
    ]
    seconds = {(step.recomputed, step.windows): step.seconds for step in on_cpu}
    assert min(seconds.values()) > 0
    peaks = {(step.recomputed, step.windows): step.peak_mb for step in on_cpu}
    assert peaks[False, 64] > 2 * peaks[False, 8] > 0


def test_the_page_marks_a_job_that_was_not_measured(report: SpeedReport):
    assert "**The main job.** Not measured" in speed_page(report)
    assert speed_facts(report, None)["job"] is None


def test_the_page_lists_the_assets_of_a_job_and_the_functions_of_the_slowest(report: SpeedReport):
    class StageTime(NamedTuple):
        asset: str
        seconds: float
        peak_mb: float | None = 812.4
        cpu_percent: float | None = 97.6

    stages = [StageTime("pretrained_encoder", 30.0), StageTime("labeled_expansions", 10.0, None, None)]
    looks = {"pretrained_encoder": Counter({"training/steps train_epoch": 75, "models/encoder forward": 25})}
    job = JobReport("demo", "simulated", "2026-11-22 21:00 UTC", stages, 52.3, looks)
    page = speed_page(report, job, "moola bench --job --out docs/benchmarks.md")
    assert "Written by `moola bench --job --out docs/benchmarks.md`" in page
    assert "| `pretrained_encoder` | 30.0 | 75% | 29.3 | 812 MB |" in page
    assert "| `labeled_expansions` | 10.0 | 25% |  |  |" in page
    assert "52.3 s for the whole process (limit 90 s: met; goal 60 s: reached)" in page
    assert "`pretrained_encoder`: `training/steps train_epoch` 75%, `models/encoder forward` 25%" in page
    assert any("main job, demo" in line and "40.0 s" in line for line in speed_lines(report, job))
    stages = speed_facts(report, job)["job"]["stages"]
    assert stages["pretrained_encoder"] == {
        "seconds": 30.0,
        "peak_mb": 812.4,
        "core_seconds": pytest.approx(29.28),
    }
    assert stages["labeled_expansions"]["core_seconds"] is None


@pytest.mark.parametrize(
    ("seconds", "verdict"),
    [
        (0.09, "limit 0.3 s: met; goal 0.1 s: reached"),
        (0.2, "limit 0.3 s: met; goal 0.1 s: not reached"),
        (0.31, "limit 0.3 s: EXCEEDED; goal 0.1 s: not reached"),
    ],
)
def test_an_exceeded_limit_or_goal_is_marked(seconds: float, verdict: str, report: SpeedReport):
    timing = report.timings["features"]._replace(seconds=seconds)
    slow = report._replace(timings=report.timings | {"features": timing})
    line = next(line for line in speed_lines(slow, None) if "TA-Lib included" in line)
    assert line.endswith(f"{seconds:.3f} s  ({verdict})")
    assert f"| {seconds:.3f} | 7 | {verdict} |" in speed_page(slow)
