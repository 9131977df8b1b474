"""What is timed is the work it claims to be, and a missed floor says so."""

import numpy as np
import pytest

from moola_pipeline.bars.schema import NQ, PRICE_COLUMNS
from moola_pipeline.bars.table import build_table
from moola_pipeline.bench.plain_features import pandas_features, streaming_bars
from moola_pipeline.bench.speed import SpeedReport, Timing, made_bars, measure_speed, speed_lines, speed_page
from moola_pipeline.features.relativity import compute_features
from moola_pipeline.features.schema import FEATURE_NAMES


@pytest.fixture(scope="module")
def report() -> SpeedReport:
    return measure_speed(n_bars=4000, streamed_bars=500)


def test_the_plain_ways_compute_the_same_as_the_feature_table():
    bars = made_bars(3000)
    prices, segment = bars[list(PRICE_COLUMNS)].to_numpy(), build_table(bars, None)["segment"].to_numpy()
    table = compute_features(prices, segment, NQ.tick_points)
    plain = pandas_features(prices, segment)
    streamed = np.array(streaming_bars(prices))
    warm = table.structure_valid & (np.arange(len(bars)) % 1380 > 300)  # averages forget how they began

    assert len(bars) == 3000 and warm.sum() > 1000
    assert plain.to_numpy()[warm, :6] == pytest.approx(table.values[warm, :6], abs=0.01)
    assert streamed[warm, :5] == pytest.approx(table.values[warm, :5], abs=1e-5)
    for column, n_bars in zip((12, 16, 20), (10, 20, 40), strict=True):
        assert "range" in FEATURE_NAMES[column]
        ours, theirs = table.values[warm, column], plain[f"range_{n_bars}"].to_numpy()[warm]
        assert np.median(np.abs(ours - theirs)) < 0.01


def test_every_measurement_takes_time_and_ratios_follow_from_them(report: SpeedReport):
    seconds = {name: timing.seconds for name, timing in report.timings.items()}
    assert min(seconds.values()) > 0
    assert report.ratios["csv import over pyarrow alone"] == seconds["csv_import"] / seconds["csv_pyarrow"]
    assert report.ratios["streaming loop over features"] == pytest.approx(
        seconds["features_streaming"] * 8 / seconds["features"]
    )


def test_a_page_says_how_where_and_that_no_gpu_was_measured(report: SpeedReport):
    page = speed_page(report)
    assert "`moola bench --out docs/benchmarks.md`" in page and report.machine in page
    assert "Not measured on a GPU" in page and "4,000 simulated one-minute bars" in page


def test_a_missed_floor_says_so(report: SpeedReport):
    slow = report._replace(timings=report.timings | {"rehash": Timing(2.5, 3, 1.0)})
    line = next(line for line in speed_lines(slow) if "SHA256" in line)
    assert line.endswith("2.500 s  (floor 1 s: MISSED)")
