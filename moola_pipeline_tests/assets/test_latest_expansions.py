"""Which labeled windows drift is measured on."""

import numpy as np

from moola_pipeline.assets.latest_expansions import new_windows
from moola_pipeline.labels.placement import place_labels
from moola_pipeline_tests.labels.weekly_market import label_frame, label_row, weekly_bars

BARS = weekly_bars(12)
PLACES = range(60, len(BARS), 300)


def test_drift_is_measured_on_new_windows_that_were_drawn():
    rows = [label_row(BARS, bar0, "retracement", 40) for bar0 in PLACES]
    placed = place_labels(label_frame(rows), BARS).frame
    first_new = PLACES[3]
    drawn = new_windows(placed, first_new)
    assert drawn.bar0.tolist() == [bar0 for bar0 in PLACES if bar0 > first_new]
    doubted = placed.assign(chosen=np.where(np.arange(len(placed)) % 2, "doubt", "random"))
    assert new_windows(doubted, first_new).bar0.tolist() == drawn.bar0[drawn.bar0 % 600 == 60].tolist()


def test_only_complete_windows_that_read_new_bars_alone_are_checked():
    bars = weekly_bars(4)
    rows = [
        label_row(bars, 360, "retracement", 40),
        label_row(bars, 660, "retracement", 40),
        label_row(bars, 960, "retracement", 40, complete="no"),
    ]
    placed = place_labels(label_frame(rows), bars).frame
    assert new_windows(placed, 640).window_id.tolist() == ["w660"]
    assert len(new_windows(placed, 641).window_id) == 0
