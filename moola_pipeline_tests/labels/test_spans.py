import numpy as np
import pandas as pd
import pytest

from moola_pipeline.labels.placement import place_labels
from moola_pipeline.labels.second_pass import twice_labeled
from moola_pipeline.labels.spans import labeled_windows
from moola_pipeline.labels.splits import SplitSettings, assign_splits
from moola_pipeline.windows.window_geometry import UNTYPED
from moola_pipeline_tests.labels.weekly_market import label_frame, label_row, weekly_bars


@pytest.fixture(scope="module")
def bars() -> pd.DataFrame:
    return weekly_bars(4)


def split_frame(labels: pd.DataFrame, bars: pd.DataFrame) -> pd.DataFrame:
    return assign_splits(place_labels(labels, bars).frame, bars, SplitSettings())


def second(
    bars: pd.DataFrame, bar0: int, label: str, start: int | None = None, **others: object
) -> dict[str, object]:
    return label_row(bars, bar0, label, start, **{"pass": 2, **others})


def test_both_passes_of_a_window_have_the_same_index(bars):
    labels = label_frame(
        [
            label_row(bars, 360, "retracement", 40),
            label_row(bars, 660, "consolidation", 50),
            label_row(bars, 960, "none"),
            second(bars, 960, "consolidation", 60),
            second(bars, 660, "retracement", 51),
            second(bars, 660, "consolidation", 70),
        ]
    )
    both = twice_labeled(split_frame(labels, bars), labels, bars, "train")
    assert list(both.first.window_id) == list(both.second.window_id) == ["w660", "w960"]
    assert both.first.bar0.tolist() == both.second.bar0.tolist() == [660, 960]
    assert both.first.session.tolist() == both.second.session.tolist()
    assert (both.first.spans.window.tolist(), both.first.spans.start.tolist()) == ([0], [50])
    assert (both.second.spans.window.tolist(), both.second.spans.start.tolist()) == ([0, 0, 1], [51, 70, 60])
    assert both.second.spans.type.tolist() == [1, 0, 0]


def test_the_second_pass_changes_nothing_about_the_first(bars):
    first = [label_row(bars, 360, "retracement", 40), label_row(bars, 660, "none")]
    alone = label_frame(first)
    merged = label_frame([*first, second(bars, 360, "consolidation", 44)])
    pd.testing.assert_frame_equal(split_frame(alone, bars), split_frame(merged, bars))


def test_without_a_second_pass_no_window_is_labeled_twice(bars):
    labels = label_frame([label_row(bars, 360, "retracement", 40)])
    both = twice_labeled(split_frame(labels, bars), labels, bars, "train")
    assert len(both.first.window_id) == len(both.second.window_id) == len(both.second.spans.window) == 0


def test_windows_of_another_split_graded_out_or_elsewhere_are_not_compared(bars):
    labels = label_frame(
        [
            label_row(bars, 360, "retracement", 40),
            label_row(bars, 660, "retracement", 40),
            second(bars, 360, "retracement", 40, grade="D"),
            second(bars, 700, "retracement", 40, window_id="w660"),
        ]
    )
    frame = split_frame(labels, bars)
    assert len(twice_labeled(frame, labels, bars, "train").first.window_id) == 0
    sound = label_frame([label_row(bars, 360, "none"), second(bars, 360, "none")])
    assert len(twice_labeled(split_frame(sound, bars), sound, bars, "train").first.window_id) == 1
    assert len(twice_labeled(split_frame(sound, bars), sound, bars, "test").first.window_id) == 0


def test_windows_come_by_time_and_spans_by_window_and_start(bars):
    labels = label_frame(
        [
            label_row(bars, 660, "retracement", 70),
            label_row(bars, 660, "consolidation", 30),
            label_row(bars, 660, "consolidation", 80),
            label_row(bars, 360, "none"),
        ]
    )
    windows = labeled_windows(split_frame(labels, bars), "train")
    assert windows.window_id.tolist() == ["w360", "w660"]
    assert windows.spans.window.tolist() == [1, 1]
    assert windows.spans.start.tolist() == [30, 70]
    assert windows.spans.type.tolist() == [0, 1]
    assert np.all(np.abs(windows.spans.direction) <= 1)


def test_incomplete_windows_are_told_apart_and_left_out_of_the_complete_ones(bars):
    labels = label_frame(
        [
            label_row(bars, 360, "retracement", 40, complete="no"),
            label_row(bars, 660, "retracement", 50),
            label_row(bars, 960, "none"),
        ]
    )
    windows = labeled_windows(split_frame(labels, bars), "train")
    assert windows.complete.tolist() == [False, True, True]
    complete = windows.complete_windows
    assert complete.window_id.tolist() == ["w660", "w960"]
    assert (complete.spans.window.tolist(), complete.spans.start.tolist()) == ([0], [50])
    assert complete.complete_windows is complete
    assert windows.typed.complete.tolist() == windows.complete.tolist()


@pytest.mark.parametrize("number", [1, 2])
def test_a_window_that_is_incomplete_in_either_pass_is_not_compared(bars, number):
    labels = label_frame([label_row(bars, 360, "retracement", 40), second(bars, 360, "retracement", 41)])
    labels.loc[labels["pass"] == number, "complete"] = "no"
    assert len(twice_labeled(split_frame(labels, bars), labels, bars, "train").first.window_id) == 0


def test_typed_windows_keep_all_windows_and_the_expansions_of_known_type(bars):
    labels = label_frame(
        [
            label_row(bars, 360, "unknown", 40),
            label_row(bars, 660, "unknown", 31),
            label_row(bars, 660, "retracement", 60),
        ]
    )
    windows = labeled_windows(split_frame(labels, bars), "train")
    assert windows.spans.type.tolist() == [UNTYPED, UNTYPED, 1]
    typed = windows.typed
    assert typed.window_id.tolist() == ["w360", "w660"]
    assert (typed.spans.window.tolist(), typed.spans.start.tolist()) == ([1], [60])
    assert typed.typed is typed
