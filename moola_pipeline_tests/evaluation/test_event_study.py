import numpy as np
import pytest

from moola_pipeline.evaluation.event_study import BARS, event_study, paths_around
from moola_pipeline.metrics.breakdowns import LabeledStarts
from moola_pipeline.windows.context import paths_before
from moola_pipeline_tests.evaluation.made_answers import made_events, made_ground


def test_paths_worked_by_hand():
    close, atr = np.arange(200.0) ** 2, np.full(200, 2.0)
    atr[99] = 4.0
    [up, down] = paths_around(close, atr, np.array([100, 100]), np.array([1, -1]))
    assert BARS[0] == -45
    assert BARS[-1] == 20
    assert up[44] == 0
    assert up[45] == (100**2 - 99**2) / 4
    assert up[0] == (55**2 - 99**2) / 4
    np.testing.assert_array_equal(down, -up)


def test_the_path_before_the_start_equals_the_baseline_input():
    rng = np.random.default_rng(0)
    close, atr = rng.normal(0, 5, 300).cumsum(), rng.uniform(1, 2, 300)
    rows, directions = rng.integers(60, 250, 9), rng.choice([-1, 1], 9)
    np.testing.assert_allclose(
        paths_around(close, atr, rows, directions)[:, :45], paths_before(close, atr, rows, directions)
    )


def test_means_and_bands_of_each_type_and_source():
    resampled = made_ground(resamples=300)
    rng = np.random.default_rng(1)
    spans = resampled.windows.spans
    close, atr = rng.normal(0, 5, 60_000).cumsum(), rng.uniform(1, 2, 60_000)
    labeled = LabeledStarts(resampled.windows.bar0[spans.window] + spans.start, spans.direction)
    paths = event_study(resampled, labeled, made_events(resampled, rng), close, atr)
    assert {(path.type, path.source) for path in paths} == {
        (kind, source) for kind in ("consolidation", "retracement") for source in ("labeled", "predicted")
    }
    first = paths[0]
    of_type = spans.type == 0
    expected = paths_around(close, atr, labeled.row[of_type], labeled.direction[of_type]).mean(axis=0)
    np.testing.assert_allclose(first.mean, expected)
    assert first.n == of_type.sum()
    assert all(low <= mid <= high for low, mid, high in zip(first.low, first.mean, first.high, strict=True))
    assert first.mean[first.bars.index(-1)] == pytest.approx(0)
