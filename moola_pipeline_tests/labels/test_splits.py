from datetime import date

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from moola_pipeline.bars.rolls import read_rolls
from moola_pipeline.bars.table import build_table
from moola_pipeline.labels.label_rows import read_labels
from moola_pipeline.labels.placement import place_labels
from moola_pipeline.labels.schema import TYPES
from moola_pipeline.labels.split_checks import check_splits, find_leakage, nearest_dates
from moola_pipeline.labels.splits import (
    SplitSettings,
    UnsoundSplit,
    assign_splits,
    proposed_dates,
    resolve_dates,
    training_rows_end,
    used_rows_end,
)
from moola_pipeline_tests.labels.weekly_market import (
    SESSION_BARS,
    label_frame,
    label_row,
)

FIXED = SplitSettings()


def test_windows_are_split_by_the_day_they_start(bars, placed):
    frame = assign_splits(placed, bars, FIXED)
    # 18 Mondays to 2024-12-30, 13 to 2025-03-31, 13 to 2025-06-30
    assert frame["split"].tolist() == ["train"] * 18 + ["validation"] * 13 + ["test"] * 13
    check_splits(frame, bars, FIXED)
    assert find_leakage(frame) == []


@pytest.mark.parametrize("how", ["doubt", "alike", "repeat", "review", "replay"])
@pytest.mark.parametrize("rule", ["fixed", "rolling"])
def test_windows_that_were_chosen_never_enter_validation_or_test(bars, placed, how, rule):
    chosen = placed.assign(chosen=how)
    if rule == "rolling":
        with pytest.raises(UnsoundSplit, match="only 0 are labeled"):
            assign_splits(chosen, bars, SplitSettings(rule=rule))
    else:
        frame = assign_splits(chosen, bars, SplitSettings(rule=rule))
        assert set(frame["split"]) == {"train", "unused"}
    mixed = placed.assign(chosen=np.where(np.arange(len(placed)) % 2, how, "random"))
    frame = assign_splits(mixed, bars, SplitSettings(rule=rule))
    assert set(frame.loc[frame["split"].isin(["validation", "test"]), "chosen"]) == {"random"}
    assert how in set(frame.loc[frame["split"] == "train", "chosen"])


def test_months_with_chosen_windows_only_do_not_move_rolling_splits(placed):
    settings = SplitSettings(rule="rolling", rolling_test_months=2, rolling_validation_months=1)
    newest = placed["window_start"] >= "2025-06-01"
    mixed = placed.assign(chosen=np.where(newest, "doubt", "random"))
    assert resolve_dates(settings, mixed) == resolve_dates(settings, placed.loc[~newest])


def test_proposed_dates_count_no_chosen_window_in_validation_and_test(bars, placed):
    mixed = placed.assign(chosen=np.where(placed["window_start"] >= "2025-01-01", "doubt", "random"))
    with pytest.raises(UnsoundSplit):
        check_splits(assign_splits(mixed, bars, FIXED), bars, FIXED)
    ends = nearest_dates(mixed, bars, FIXED)
    assert ends is not None
    works = SplitSettings(train_end=ends[0], validation_end=ends[1], test_end=ends[2])
    check_splits(assign_splits(mixed, bars, works), bars, works)


def test_no_window_of_a_replayed_session_validates_or_tests(bars):
    rows = [label_row(bars, 40 * SESSION_BARS + 60, "retracement", 40)]
    rows.append(label_row(bars, 40 * SESSION_BARS + 170, "none", chosen="replay"))
    frame = assign_splits(place_labels(label_frame(rows), bars).frame, bars, FIXED)
    assert set(frame["split"]) == {"unused"}


def test_a_rolling_split_does_not_count_months_of_chosen_windows(bars, placed):
    settings = SplitSettings(rule="rolling", rolling_test_months=2, rolling_validation_months=1)
    doubted = placed["window_start"].dt.month == 6  # the newest month holds windows that a model chose
    frame = placed.assign(chosen=np.where(doubted, "doubt", "random"))
    assert resolve_dates(settings, frame).ends[2] == date(2025, 5, 31)


def test_windows_behind_the_last_test_day_are_unused(bars, placed):
    settings = SplitSettings(test_end=date(2025, 6, 16))
    assert assign_splits(placed, bars, settings)["split"].tolist()[-3:] == ["test", "unused", "unused"]


def test_a_rolling_split_takes_the_newest_labeled_months(bars, placed):
    settings = SplitSettings(rule="rolling", rolling_test_months=2, rolling_validation_months=1)
    gone = placed["window_start"].dt.month == 5  # no labels in May: April and June are the newest two
    resolved = resolve_dates(settings, placed.loc[~gone])
    assert resolved.ends == (date(2025, 2, 28), date(2025, 3, 31), date(2025, 6, 30))
    frame = assign_splits(placed.loc[~gone], bars, settings)
    assert frame.loc[frame["split"] == "test", "window_start"].min() == pd.Timestamp("2025-04-07T15:00Z")


def test_a_rolling_split_needs_a_month_for_training(placed):
    settings = SplitSettings(rule="rolling", rolling_test_months=5, rolling_validation_months=5)
    with pytest.raises(UnsoundSplit, match="take 10 months and only 10 are labeled") as caught:
        resolve_dates(settings, placed)
    assert str(caught.value).endswith("Choose 4 at most: moola run --rolling 4")
    resolve_dates(
        settings.model_copy(update={"rolling_test_months": 4, "rolling_validation_months": 4}), placed
    )


def late_window(bars: pd.DataFrame, bars_before_boundary: int) -> pd.DataFrame:
    """One training window whose last bar lies so far before 2025, the bars being one segment."""
    joined = bars.assign(segment=np.int32(0))
    boundary = 18 * SESSION_BARS
    row = label_row(bars, boundary - bars_before_boundary - 104, "none")
    return assign_splits(place_labels(label_frame([row]), joined).frame, joined, FIXED)


def test_a_training_window_stays_an_embargo_away_from_what_validation_may_read(bars):
    assert late_window(bars, 20 + 105 + 1)["split"].tolist() == ["train"]
    assert late_window(bars, 20 + 105)["split"].tolist() == ["unused"]


def test_rows_end_one_embargo_before_the_next_splits_context(bars):
    boundary = 18 * SESSION_BARS
    assert bars["timestamp"].iloc[boundary].date() == date(2025, 1, 6)
    assert training_rows_end(bars, FIXED) == boundary - 20 - 105
    assert used_rows_end(bars, FIXED, "validation") == 31 * SESSION_BARS - 125
    assert used_rows_end(bars, FIXED, "test") == len(bars)
    early = FIXED.model_copy(update={"test_end": date(2025, 6, 15)})
    assert used_rows_end(bars, early, "test") == 41 * SESSION_BARS + 104


def test_bars_that_end_inside_training_may_all_be_trained_on(bars):
    assert training_rows_end(bars[:900], FIXED) == 900


def test_later_bars_never_change_which_rows_are_trained_on(bars):
    ends = {training_rows_end(bars[: 19 * SESSION_BARS + more], FIXED) for more in (0, 1, 500, 5000)}
    assert len(ends) == 1


def test_a_rolling_split_needs_resolved_dates_for_its_rows(bars):
    with pytest.raises(ValueError, match="resolve_dates"):
        training_rows_end(bars, SplitSettings(rule="rolling"))


def test_dates_out_of_order_and_unknown_settings_are_refused():
    with pytest.raises(ValidationError, match="must follow each other"):
        SplitSettings(train_end=date(2025, 6, 1))
    with pytest.raises(ValidationError, match="Extra inputs"):
        SplitSettings.model_validate({"embargo": 3})


def test_the_real_labels_all_find_their_bars_and_split_without_loss(private_data):
    raw = pd.read_parquet(private_data / "real" / "nq_1m_2020-09_2025-06.parquet")
    rolls = read_rolls(private_data / "real" / "nq_rolls.csv")
    bars = build_table(raw.rename(columns={"ts_utc": "timestamp"}), rolls)
    placement = place_labels(read_labels(private_data / "real" / "labels.csv"), bars)
    assert len(placement.refused) == 0
    frame = assign_splits(placement.frame, bars, FIXED)
    check_splits(frame, bars, FIXED)
    assert find_leakage(frame) == []
    windows = frame.drop_duplicates("window_id")
    assert windows["split"].value_counts().to_dict() == {"train": 207, "validation": 100, "test": 140}
    core = frame.loc[frame["in_core"]]
    assert core["split"].value_counts().to_dict() == {"train": 174, "validation": 110, "test": 147}
    assert frame.loc[frame["split"] == "train", "bar0"].max() + 104 < training_rows_end(bars, FIXED)


@pytest.mark.parametrize("rule", ["fixed", "rolling"])
def test_incomplete_windows_never_enter_validation_or_test(bars, placed, rule):
    settings = FIXED if rule == "fixed" else SplitSettings(rule="rolling")
    late = (placed["window_start"] > pd.Timestamp("2024-12-31", tz="UTC")).to_numpy()
    some = placed.assign(complete=np.where(np.arange(len(placed)) % 2, "no", "yes"))
    plain, frame = (assign_splits(it, bars, settings) for it in (placed, some))
    partial = (frame["complete"] == "no").to_numpy()
    assert set(frame["split"][partial]) == {"train", "unused"}
    trained = (plain["split"] == "train").to_numpy()
    assert set(frame["split"][partial & trained]) == {"train"}
    assert set(frame["split"][partial & late & ~trained]) == {"unused"}
    assert frame["split"][~partial].tolist() == plain["split"][~partial].tolist()


def test_a_rolling_split_counts_months_with_complete_windows_only(bars, placed):
    last = placed["window_start"] >= pd.Timestamp("2025-06-01", tz="UTC")
    settings = SplitSettings(rule="rolling", rolling_test_months=1, rolling_validation_months=1)
    assert resolve_dates(settings, placed).test_end == date(2025, 6, 30)
    assert resolve_dates(settings, placed.assign(complete=np.where(last, "no", "yes"))).test_end == date(
        2025, 5, 31
    )


PROPOSED = SplitSettings(proposed=True)


def few(placed: pd.DataFrame, n: int) -> pd.DataFrame:
    """The first n expansions: too few for a test split by the default dates."""
    return placed.head(n).reset_index(drop=True)


def test_too_few_labels_for_a_test_split_are_provisional(bars, placed):
    dates = resolve_dates(PROPOSED, few(placed, 36))
    assert dates.rule == "provisional"
    frame = assign_splits(few(placed, 36), bars, PROPOSED)
    counts = frame["split"].value_counts().to_dict()
    assert set(counts) <= {"train", "validation", "unused"} and counts["validation"] >= 6
    for part in ("train", "validation"):
        assert set(frame.loc[frame["split"] == part, "label"]) == set(TYPES)
    check_splits(frame, bars, PROPOSED)
    assert find_leakage(frame) == []
    assert training_rows_end(bars, dates) <= frame.loc[frame["split"] == "validation", "bar0"].min() - 125


def test_chosen_dates_and_enough_labels_are_not_provisional(bars, placed):
    assert resolve_dates(FIXED, few(placed, 36)).rule == "fixed"
    assert resolve_dates(PROPOSED, placed).rule == "fixed"  # the test split holds enough of each type


def test_fewer_labels_than_a_first_model_needs_are_named(bars, placed):
    rows = few(placed, 29)
    assert resolve_dates(PROPOSED, rows) == PROPOSED
    with pytest.raises(UnsoundSplit, match="With 30 expansions of known type, not 29, a first model"):
        check_splits(assign_splits(rows, bars, PROPOSED), bars, PROPOSED)


def test_windows_that_a_model_chose_do_not_validate_a_provisional_model(bars, placed):
    rows = few(placed, 36)
    rows = rows.assign(chosen=np.where(np.arange(36) % 3 == 0, "doubt", "random"))
    frame = assign_splits(rows, bars, PROPOSED)
    assert set(frame.loc[frame["split"] == "validation", "chosen"]) == {"random"}


@pytest.mark.parametrize("n_sessions", [*range(4, 30), 250])
def test_proposed_dates_part_any_number_of_sessions(n_sessions: int):
    days = pd.bdate_range("2022-01-03", periods=n_sessions)
    dates = proposed_dates(pd.DataFrame({"session": days}), PROPOSED)
    assert dates == SplitSettings.model_validate(dates.model_dump())
    parts = np.searchsorted(np.array(dates.ends, "datetime64[D]"), days.to_numpy("datetime64[D]"))
    counts = np.bincount(parts, minlength=3)
    assert len(counts) == 3 and counts.min() >= 1
    assert np.abs(counts / n_sessions - [0.60, 0.15, 0.25]).max() <= 1 / n_sessions


def test_split_dates_are_shown_as_text():
    assert FIXED.shown == "to 2024-12-31, 2025-03-31, 2025-06-30" == PROPOSED.shown
    others = {
        "train_end": date(2022, 1, 31),
        "validation_end": date(2022, 2, 28),
        "test_end": date(2022, 3, 31),
    }
    moved = PROPOSED.model_copy(update=others)
    assert moved.shown == "to 2022-01-31, 2022-02-28, 2022-03-31 (proposed for these bars)"
    provisional = moved.model_copy(update={"rule": "provisional"})
    assert provisional.shown.startswith(
        "provisional, as there are too few labels for a test split: training to 2022"
    )
    rolling = SplitSettings(rule="rolling", rolling_test_months=2, rolling_validation_months=1)
    assert rolling.shown == "rolling: the newest 2 labeled months for test, 1 before for validation"


@pytest.mark.parametrize(("n_kept", "rule"), [(5, "fixed"), (4, "provisional")])
def test_a_test_split_of_proposed_dates_needs_five_of_each_type(placed, n_kept: int, rule: str):
    late = placed["window_start"] > pd.Timestamp(FIXED.validation_end, tz="UTC") + pd.Timedelta(days=1)
    for kind in TYPES:
        known = placed["in_core"] & (placed["label"] == kind)
        rows = placed.loc[~(late & known) | ((late & known).cumsum() <= n_kept)].reset_index(drop=True)
        n_known = int((rows["in_core"] & rows["label"].isin(TYPES)).sum())
        assert 30 <= n_known < 80, n_known
        assert resolve_dates(PROPOSED, rows).rule == rule


def test_dates_are_proposed_where_a_default_split_has_no_bars(bars):
    assert proposed_dates(bars, PROPOSED) == PROPOSED
    early = bars.loc[bars["timestamp"] < pd.Timestamp("2024-12-01", tz="UTC")]
    dates = proposed_dates(early, PROPOSED)
    sessions = np.unique(early["session"])
    assert dates.proposed and dates.ends[2] == pd.Timestamp(sessions[-1]).date()
    parts = np.searchsorted(np.array(dates.ends, "datetime64[ns]"), sessions)
    assert np.bincount(parts).tolist() == [8, 2, 3]  # 60, 15 and 25 % of 13
    assert proposed_dates(early, FIXED) == FIXED  # somebody chose them
