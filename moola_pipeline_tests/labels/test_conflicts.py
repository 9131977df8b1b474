import pandas as pd
import pytest

from moola_pipeline.labels.conflicts import clashing_windows, near_duplicates
from moola_pipeline.labels.placement import place_labels
from moola_pipeline_tests.labels.weekly_market import label_frame, label_row, weekly_bars

BARS = weekly_bars(4)


def placed(*rows: dict) -> pd.DataFrame:
    return place_labels(label_frame(list(rows)), BARS).frame


def test_windows_that_share_most_of_their_bars_are_a_pair_and_their_shared_expansions_counted():
    frame = placed(
        label_row(BARS, 360, "retracement", 60),
        label_row(BARS, 380, "retracement", 40),
        label_row(BARS, 380, "consolidation", 60),
        label_row(BARS, 700, "none"),
    )
    assert near_duplicates(frame).to_dict("records") == [
        {"window_a": "w360", "window_b": "w380", "shared_bars": 85, "shared_expansions": 1}
    ]


@pytest.mark.parametrize(("distance", "n_pairs"), [(0, 1), (52, 1), (53, 0), (105, 0)])
def test_windows_are_near_duplicates_above_half_of_their_bars(distance, n_pairs):
    frame = placed(label_row(BARS, 345, "none"), label_row(BARS, 345 + distance, "none", window_id="other"))
    pairs = near_duplicates(frame)
    assert len(pairs) == n_pairs
    assert pairs["shared_bars"].tolist() == [105 - distance] * n_pairs


def test_an_incomplete_window_is_near_another_only_by_an_expansion_in_both():
    other, both, apart = (
        label_row(BARS, 360, "retracement", 60),
        label_row(BARS, 380, "retracement", 40, complete="no"),
        label_row(BARS, 380, "retracement", 70, complete="no"),
    )
    assert near_duplicates(placed(other, both))["shared_expansions"].tolist() == [1]
    assert near_duplicates(placed(other, apart)).empty


def test_one_window_with_many_rows_is_no_pair():
    frame = placed(label_row(BARS, 360, "retracement", 40), label_row(BARS, 360, "retracement", 60))
    assert near_duplicates(frame).empty
    assert clashing_windows(frame) == {}


def test_bars_labeled_with_both_types_under_two_ids_clash():
    frame = placed(
        label_row(BARS, 360, "retracement", 60),
        label_row(BARS, 380, "consolidation", 42),
        label_row(BARS, 440, "retracement", 70),
    )
    assert clashing_windows(frame) == {"w360": "w380", "w380": "w360"}


def test_expansions_that_share_half_their_bars_or_less_do_not_clash():
    frame = placed(label_row(BARS, 360, "retracement", 60), label_row(BARS, 380, "consolidation", 43))
    assert clashing_windows(frame) == {}


@pytest.mark.parametrize("kind", ["consolidation", "retracement", "unknown"])
def test_an_unknown_type_clashes_with_none_under_another_id(kind: str):
    frame = placed(label_row(BARS, 360, "unknown", 60), label_row(BARS, 380, kind, 40))
    assert clashing_windows(frame) == {}
    assert near_duplicates(frame)["shared_expansions"].tolist() == [1]
