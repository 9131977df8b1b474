import numpy as np
import pandas as pd

from moola_pipeline.labels.placement import place_labels
from moola_pipeline.labels.review import LabelReview, one_expansion_each, review_labels
from moola_pipeline_tests.labels.weekly_market import label_frame, label_row, weekly_bars

BARS = weekly_bars(80)
WINDOWS = range(60, len(BARS), 300)


def review(labels: pd.DataFrame, **arrived: object) -> LabelReview:
    rng = np.random.default_rng(0)
    return review_labels(labels, place_labels(labels, BARS).frame, rng, **arrived)  # type: ignore[arg-type]


def random_labels(share: float, places: range, seed: int = 0, **others: object) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    kinds = np.where(rng.random(len(places)) < share, "retracement", "consolidation")
    rows = [label_row(BARS, bar0, kind, 40, **others) for bar0, kind in zip(places, kinds, strict=True)]
    return label_frame(rows)


def test_labels_without_a_fault_give_no_warning():
    found = review(random_labels(0.5, WINDOWS))
    assert found.warnings == []
    assert [group.name for group in found.shift.batches] == ["no batch named"]


def test_a_file_whose_mix_differs_from_the_registered_labels_gives_a_warning():
    known, new = random_labels(0.2, WINDOWS[::2]), random_labels(0.95, WINDOWS[1::2], seed=1)
    merged = pd.concat([known, new], ignore_index=True)
    found = review(merged, arrived=new.set_axis(range(2, len(new) + 2)), source="new.csv")
    assert [group.name for group in found.shift.batches] == ["new.csv", "no batch named"]
    [warning] = [text for text in found.warnings if text.startswith("batch ")]
    assert "% of its expansions are retracements, " in warning
    assert warning.endswith("differently? A model learns the class mix of its labels.")


def test_the_batch_column_names_the_batch():
    found = review(random_labels(0.5, WINDOWS, batch="march"))
    assert [group.name for group in found.shift.batches] == ["march"]


def test_a_file_of_second_passes_is_no_batch_of_the_first():
    known = random_labels(0.5, WINDOWS)
    again = random_labels(0.95, WINDOWS[::2], seed=1, **{"pass": 2})
    merged = pd.concat([known, again], ignore_index=True)
    found = review(merged, arrived=again.set_axis(range(2, len(again) + 2)), source="second.csv")
    assert [group.name for group in found.shift.batches] == ["no batch named"]


def test_a_file_sorted_by_type_gives_a_warning():
    labels = random_labels(0.5, WINDOWS)
    in_file = labels.sort_values("label", kind="stable").set_axis(range(2, len(labels) + 2))
    found = review(labels, arrived=in_file, source="sorted.csv")
    assert any(text.startswith("in file order, ") for text in found.warnings)
    assert not any(text.startswith("in time order, ") for text in found.warnings)


def test_windows_cut_one_after_another_raise_no_warning():
    bars = weekly_bars(4)
    labels = label_frame([label_row(bars, bar0, "none") for bar0 in (360, 405, 450)])
    found = review_labels(labels, place_labels(labels, bars).frame, np.random.default_rng(0))
    assert [pair["shared_bars"] for pair in found.near_duplicates] == [60, 60]
    assert not [text for text in found.warnings if "share more than half" in text]


def test_near_duplicates_are_counted_with_the_expansions_that_count_twice():
    labels = label_frame([label_row(BARS, 360, "retracement", 60), label_row(BARS, 370, "retracement", 50)])
    found = review(labels)
    assert found.near_duplicates == [
        {"window_a": "w360", "window_b": "w370", "shared_bars": 95, "shared_expansions": 1}
    ]
    assert found.warnings == [
        "windows that share more than half their bars: 1 pairs, the first w360 and w370 with 95 bars; "
        "expansions marked in both, which count twice: 1. Keep one window of each pair."
    ]


def test_a_second_pass_without_a_first_gives_a_warning():
    labels = label_frame(
        [
            label_row(BARS, 360, "none"),
            label_row(BARS, 360, "none", **{"pass": 2}),
            label_row(BARS, 660, "none", **{"pass": 2}),
        ]
    )
    [warning] = review(labels).warnings
    assert warning.startswith("windows with a second pass but no first pass: 1 (first w660). ")


def test_files_with_at_most_one_expansion_per_window_are_recognized():
    one = label_frame([label_row(BARS, 360, "retracement", 40), label_row(BARS, 660, "none")])
    two = label_frame([label_row(BARS, 360, "retracement", 40), label_row(BARS, 360, "retracement", 60)])
    assert one_expansion_each(one)
    assert not one_expansion_each(two)


def test_windows_that_a_model_chose_raise_no_alarm():
    drawn = random_labels(0.3, WINDOWS[::2], batch="drawn")
    doubted = random_labels(0.95, WINDOWS[1::2], seed=1, batch="doubted")
    as_drawn = review(pd.concat([drawn, doubted], ignore_index=True))
    assert any(text.startswith("batch ") for text in as_drawn.warnings)
    found = review(pd.concat([drawn, doubted.assign(chosen="doubt")], ignore_index=True))
    assert found.warnings == []
    assert [group.name for group in found.shift.batches] == ["drawn"]


def test_incomplete_windows_are_in_no_share_and_raise_no_alarm():
    whole, partial = random_labels(0.4, WINDOWS[::2]), random_labels(1.0, WINDOWS[1::2], batch="spans")
    merged = pd.concat([whole, partial.assign(complete="no")], ignore_index=True)
    found = review(merged)
    assert found.shift == review(whole).shift
    assert found.warnings == []
    assert any(text.startswith("batch spans") for text in review(merged.assign(complete="yes")).warnings)
