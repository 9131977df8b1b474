import numpy as np
import pandas as pd
import pytest

from moola_pipeline.labels.placement import GRADED_OUT, place_labels
from moola_pipeline_tests.labels.weekly_market import label_frame, label_row, weekly_bars


@pytest.fixture(scope="module")
def bars() -> pd.DataFrame:
    return weekly_bars(4)


def test_a_window_is_found_with_session_direction_and_core(bars):
    rows = [
        label_row(bars, 360, "retracement", 40),
        label_row(bars, 360, "consolidation", 75),
        label_row(bars, 700, "none"),
    ]
    placement = place_labels(label_frame(rows), bars)
    frame = placement.frame
    assert len(placement.refused) == 0
    assert frame["bar0"].tolist() == [360, 360, 700]
    assert frame["bar0"].dtype == np.int64
    assert frame["session"].tolist() == [pd.Timestamp("2024-09-09")] * 2 + [pd.Timestamp("2024-09-16")]
    close, opened = bars["close"].to_numpy(), bars["open"].to_numpy()
    moves = [close[360 + end] - opened[360 + start] for start, end in ((40, 45), (75, 80))]
    assert frame["direction"].tolist() == [*np.sign(moves), 0]
    assert frame["direction"].dtype == np.int8
    assert frame["in_core"].tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("bar0", "reason"),
    [
        (339, "too early in its segment"),
        (340, None),
        (495, None),
        (496, "window leaves its segment"),
        (39, "too early in its segment"),
        (1096, "window leaves its segment"),
    ],
)
def test_a_window_needs_forty_bars_before_it_and_its_own_inside_one_segment(bars, bar0, reason):
    placement = place_labels(label_frame([label_row(bars, bar0, "none")]), bars)
    assert placement.refused["reason"].tolist() == ([] if reason is None else [reason])
    assert len(placement.frame) == (reason is None)


@pytest.mark.parametrize("moment", ["2024-09-09T14:59:30Z", "2024-09-10T14:00:00Z", "2030-01-01T00:00:00Z"])
def test_a_time_between_bars_or_beyond_them_is_no_bar(bars, moment):
    row = label_row(bars, 360, "none", window_start=pd.Timestamp(moment))
    refused = place_labels(label_frame([row]), bars).refused
    assert refused["reason"].tolist() == ["window_start is no bar"]
    assert refused["detail"].iloc[0].startswith(f"window w360 at {moment} does not start at")


def test_a_d_grade_leaves_out_its_whole_window(bars):
    rows = [
        label_row(bars, 360, "retracement", 40, grade="A"),
        label_row(bars, 360, "retracement", 60, grade="D"),
        label_row(bars, 700, "none", grade="C"),
    ]
    placement = place_labels(label_frame(rows), bars)
    assert placement.frame["window_id"].tolist() == ["w700"]
    assert placement.refused["reason"].tolist() == [GRADED_OUT] * 2


def test_only_the_given_pass_is_placed(bars):
    rows = [label_row(bars, 360, "retracement", 40), label_row(bars, 360, "retracement", 41, **{"pass": 2})]
    labels = label_frame(rows)
    assert place_labels(labels, bars).frame["expansion_start"].tolist() == [40]
    assert place_labels(labels, bars, pass_number=2).frame["expansion_start"].tolist() == [41]


def test_the_callers_frames_are_left_as_they_were(bars):
    labels = label_frame([label_row(bars, 360, "retracement", 40)])
    before = labels.copy()
    place_labels(labels, bars)
    pd.testing.assert_frame_equal(labels, before)
