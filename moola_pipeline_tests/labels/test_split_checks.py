import contextlib
from datetime import date
from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from moola_pipeline.errors import BadInput
from moola_pipeline.labels.placement import place_labels
from moola_pipeline.labels.schema import TYPES
from moola_pipeline.labels.split_checks import check_splits, class_counts, find_leakage, nearest_dates
from moola_pipeline.labels.splits import (
    SPLITS,
    SplitSettings,
    UnsoundSplit,
    assign_splits,
)
from moola_pipeline_tests.labels.weekly_market import (
    SESSION_BARS,
    label_frame,
    label_row,
    weekly_bars,
    weekly_labels,
)

FIXED = SplitSettings()


def test_the_nearest_dates_do_not_rest_on_chosen_windows(bars, placed):
    late = placed["window_start"] >= pd.Timestamp("2025-04-01T00:00Z")
    frame = placed.assign(chosen=np.where(late, "doubt", "random"))
    ends = nearest_dates(frame, bars, FIXED)
    assert ends is not None and ends[1] < date(2025, 3, 31)  # the default dates test on doubted windows only
    settings = SplitSettings(train_end=ends[0], validation_end=ends[1], test_end=ends[2])
    check_splits(assign_splits(frame, bars, settings), bars, settings)


def test_an_empty_validation_split_stops_and_names_months_and_dates_that_work(bars, placed):
    without = placed[~placed["window_start"].dt.strftime("%Y-%m").between("2025-01", "2025-03")]
    with pytest.raises(UnsoundSplit) as caught:
        check_splits(assign_splits(without, bars, FIXED), bars, FIXED)
    message = str(caught.value)
    assert isinstance(caught.value, BadInput)
    assert "\n" not in message
    assert "The validation split (2025-01-01 to 2025-03-31)" in message
    assert "holds 0 consolidation and 0 retracement" in message
    assert "2024-12 2/3, 2025-04 2/2" in message
    assert "2025-02" not in message
    assert message.endswith(
        "Nearest dates that work: "
        "moola run --train-end 2024-12-31 --validation-end 2025-04-30 --test-end 2025-06-30"
    )
    advised = FIXED.model_copy(update={"validation_end": date(2025, 4, 30)})
    check_splits(assign_splits(without, bars, advised), bars, advised)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_a_one_class_split_stops(bars, placed, split):
    frame = assign_splits(placed, bars, FIXED)
    frame.loc[frame["split"] == split, "label"] = "consolidation"
    with pytest.raises(UnsoundSplit, match=rf"The {split} split .* 0 retracement"):
        check_splits(frame, bars, FIXED)


def test_the_error_states_when_no_dates_work(bars, placed):
    frame = assign_splits(placed.assign(label="retracement"), bars, FIXED)
    with pytest.raises(UnsoundSplit, match="No dates give every split both types: add labels"):
        check_splits(frame, bars, FIXED)


def test_labels_of_two_months_are_advised_days_since_there_is_no_third_month_end(bars, placed):
    few = placed.loc[placed["window_start"].dt.strftime("%Y-%m").isin(["2024-09", "2024-10"])]
    assert nearest_dates(few, bars, FIXED) == (date(2024, 9, 30), date(2024, 10, 14), date(2024, 10, 28))


def sound_ends(placed: pd.DataFrame, bars: pd.DataFrame, cuts: list[date]) -> list[tuple[date, date, date]]:
    """All ends that `check_splits` accepts, by trying each."""
    found = []
    for ends in combinations(cuts, 3):
        train, validation, test = ends
        tried = SplitSettings(train_end=train, validation_end=validation, test_end=test)
        with contextlib.suppress(UnsoundSplit):
            _require_sound(assign_splits(placed, bars, tried))
            found.append(ends)
    return found


def _require_sound(frame: pd.DataFrame) -> None:
    core = frame.loc[frame["in_core"]]
    if any(set(core.loc[core["split"] == split, "label"]) != {*TYPES} for split in SPLITS):
        raise UnsoundSplit


@pytest.mark.parametrize("seed", range(12))
def test_advised_dates_are_the_nearest_of_all_that_work(bars, seed):
    rng = np.random.default_rng(seed)
    joined = bars.iloc[: 24 * SESSION_BARS].assign(segment=np.int32(0))  # one segment: purging bites
    bar0 = np.sort(rng.choice(np.arange(40, len(joined) - 105, 20), 14, replace=False))
    rows = [label_row(joined, int(row), str(rng.choice(TYPES)), 40) for row in bar0]
    placed = place_labels(label_frame(rows), joined).frame
    wanted = SplitSettings(
        train_end=date(2024, 9, 30), validation_end=date(2024, 11, 11), test_end=date(2025, 1, 20)
    )
    days = placed["window_start"].dt.date
    months = sorted({end.date() for end in pd.PeriodIndex(days, freq="M").end_time})
    works = sound_ends(placed, joined, months) or sound_ends(placed, joined, sorted(set(days)))

    def away(ends: tuple[date, ...]) -> int:
        return sum(abs((end - want).days) for end, want in zip(ends, wanted.ends, strict=True))

    advised = nearest_dates(placed, joined, wanted)
    assert (advised is None) == (not works)
    if advised is not None:
        assert advised in works
        assert away(advised) == min(map(away, works))


def test_expansions_outside_the_core_do_not_make_a_split_sound(bars, placed):
    frame = assign_splits(placed, bars, FIXED)
    with pytest.raises(UnsoundSplit, match="test split"):
        check_splits(frame.assign(in_core=frame["in_core"] & (frame["split"] != "test")), bars, FIXED)


def test_a_planted_leak_is_found(bars, placed):
    frame = assign_splits(placed, bars, FIXED)
    leak = frame.iloc[[-1]].assign(window_id="copy", split="train", bar0=frame["bar0"].iloc[-1] + 200)
    found = find_leakage(pd.concat([frame, leak], ignore_index=True))
    assert f"window copy (train) lies 75 bars from window {frame['window_id'].iloc[-1]} (test)" in found[-2]
    assert found[-1] == "a window of train starts after one of test"


def test_a_window_on_both_sides_is_found(bars, placed):
    frame = assign_splits(placed, bars, FIXED)
    both = pd.concat([frame, frame.iloc[[20]].assign(split="train")])
    assert f"window {frame['window_id'].iloc[20]} is in train and in validation" in find_leakage(both)


def test_a_random_split_is_found(bars, placed):
    shuffled = np.random.default_rng(0).permutation(assign_splits(placed, bars, FIXED)["split"])
    assert find_leakage(placed.assign(split=shuffled))


def test_splits_that_only_touch_are_found_without_an_embargo(bars, placed):
    pair = placed.iloc[:2].assign(split=["train", "test"], bar0=[1000, 1125])
    assert find_leakage(pair, embargo_bars=0) == []
    assert len(find_leakage(pair.assign(bar0=[1000, 1124]), embargo_bars=0)) == 1
    assert len(find_leakage(pair, embargo_bars=1)) == 1


def test_class_counts_add_up_to_the_rows(bars, placed):
    frame = assign_splits(placed, bars, FIXED)
    counts = class_counts(frame)
    assert counts.loc[("train", pd.Period("2024-09", "M"))].to_dict() == {
        "consolidation": 3,
        "retracement": 2,
        "unknown": 0,
        "none": 0,
        "windows": 5,
    }
    assert counts[["consolidation", "retracement", "none"]].to_numpy().sum() == len(frame)


def test_an_unknown_type_is_no_type_of_a_split():
    bars = weekly_bars()
    labels = weekly_labels(bars)
    labels["label"] = labels["label"].where(labels["label"] != "retracement", "unknown")
    frame = assign_splits(place_labels(labels, bars).frame, bars, SplitSettings())
    with pytest.raises(UnsoundSplit, match="both types, but holds 9 cons.* and 0 retr"):
        check_splits(frame, bars, SplitSettings())
    assert class_counts(frame).loc["train", "unknown"].sum() == 9


def test_incomplete_windows_make_no_split_sound_and_are_in_no_count(bars, placed):
    last = placed["window_start"] >= pd.Timestamp("2025-04-01", tz="UTC")
    frame = assign_splits(placed.assign(complete=np.where(last, "no", "yes")), bars, FIXED)
    with pytest.raises(UnsoundSplit) as caught:
        check_splits(frame, bars, FIXED)
    assert "The test split (2025-04-01 to 2025-06-30) must hold expansions of both types" in str(caught.value)
    assert f"{last.sum()} windows do not count, because they are incomplete. Nearest dates" in str(
        caught.value
    )
    assert "2025-05" not in str(caught.value)
    months = class_counts(frame).index.get_level_values("month").astype(str)
    assert max(months) == "2025-03"
    chosen = nearest_dates(frame, bars, FIXED)
    assert chosen is not None
    advised = SplitSettings(**dict(zip(("train_end", "validation_end", "test_end"), chosen, strict=True)))
    check_splits(assign_splits(frame, bars, advised), bars, advised)
