"""The repeated market of the scaling benchmark, its table and its picture."""

from xml.etree import ElementTree

import numpy as np
import pytest

from moola_pipeline.benchmarks import scaling
from moola_pipeline.benchmarks.scaling import (
    EPOCH_WINDOWS,
    Scaled,
    measure_scaling,
    scaling_picture,
    scaling_table,
    tiled_market,
)
from moola_pipeline.features.averages import segment_bounds

MADE = Scaled(
    bars=2**20, windows=2048, features=0.1, tiled=0.01, gathered=0.2, epoch=3.0,
    before_mb=500.0, arrays_mb=130.0, peak_mb=800.0,
)  # fmt: skip


def test_a_repeated_tile_has_another_price_level_and_its_own_segments(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(scaling, "TILE_BARS", 3000)
    prices, segment = tiled_market(7000)
    assert prices.shape == (7000, 4) and len(segment) == 7000
    assert np.unique(prices[3000:6000] - prices[:3000]).tolist() == [10.0]
    assert np.unique(prices[6000:] - prices[:1000]).tolist() == [20.0]
    assert (np.diff(segment) >= 0).all() and segment[3000] > segment[2999]
    lengths = [
        np.diff(np.append(segment_bounds(segment[a:b])[0], b - a)).tolist()
        for a, b in ((0, 3000), (3000, 6000))
    ]
    assert lengths[0] == lengths[1]


def test_memory_excludes_the_code_and_the_whole_epoch_is_proportional():
    assert MADE.bytes_a_bar == 300
    assert MADE.whole_epoch == 3.0 * 2048 / EPOCH_WINDOWS


def test_the_table_marks_the_estimate_and_the_picture_shows_every_size():
    larger = MADE._replace(bars=10 * 2**20, features=1.0)
    head, _, *rows = scaling_table([MADE, larger])
    assert "epoch of all windows, s (*estimate*)" in head
    assert rows[0].startswith("| 1,048,576 | 2,048 | 0.10 | 0.010 | 0.20 | 3.0 | 6 | 130 | 300 | 300 |")
    texts = {it.text for it in ElementTree.fromstring(scaling_picture([MADE, larger])).iter()}
    assert {"1.04858M", "10.4858M", "processor seconds", "MB, without the code"} <= texts


@pytest.mark.slow
def test_memory_grows_by_the_size_of_the_arrays():
    small, large = measure_scaling((100_000, 1_000_000))
    grown = (large.peak_mb - small.peak_mb) / (large.arrays_mb - small.arrays_mb)
    assert 0.7 < grown < 1.4
    assert 9 < large.windows / small.windows < 11
