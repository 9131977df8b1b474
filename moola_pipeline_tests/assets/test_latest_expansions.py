"""New labels that the champion's calibration is checked on."""

from moola_pipeline.assets.latest_expansions import new_windows
from moola_pipeline.labels.placement import place_labels
from moola_pipeline_tests.labels.weekly_market import label_frame, label_row, weekly_bars


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
