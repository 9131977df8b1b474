"""Folds of a cross-validation: each window is scored once, by what learned from other sessions."""

import numpy as np
import pandas as pd
import pytest

from moola_pipeline.evaluation.folds import by_fold, cross_validation, single_fold
from moola_pipeline.labels.placement import place_labels
from moola_pipeline.labels.splits import UnsoundSplit
from moola_pipeline_tests.labels.weekly_market import SESSION_BARS, label_frame, label_row, weekly_bars

BARS = weekly_bars(20)
APART = 105 + 20 + 105


def labeled(**columns: object) -> pd.DataFrame:
    """A window a session: both types in turn, a few empty; the newest quarter validates."""
    rows = []
    for week in range(20):
        kind = "none" if week % 7 == 6 else ("retracement", "consolidation")[week % 2]
        start = None if kind == "none" else 40
        rows.append(label_row(BARS, week * SESSION_BARS + 60, kind, start))
    placed = place_labels(label_frame(rows), BARS).frame
    return placed.assign(split=np.where(np.arange(20) < 15, "train", "validation"), **columns)


def test_each_window_is_scored_once_and_learned_from_by_others_only():
    windows, folds = cross_validation(labeled())
    assert len(folds) == 5
    assert sorted(np.concatenate([fold.scored for fold in folds]).tolist()) == list(range(20))
    for fold in folds:
        scored = windows.bar0[fold.scored]
        for learned in (fold.train, fold.validation):
            assert np.abs(learned.bar0[:, None] - scored[None, :]).min() >= APART
            assert set(learned.spans.type.tolist()) == {0, 1}
        assert np.abs(fold.train.bar0[:, None] - fold.validation.bar0[None, :]).min() >= APART


def test_windows_that_a_model_chose_train_and_are_not_scored():
    chosen = np.arange(20) % 5 == 0
    frame = labeled(chosen=np.where(chosen, "doubt", "random"))
    windows, folds = cross_validation(frame)
    assert set(windows.window_id) == set(frame.loc[~chosen, "window_id"])
    doubted = set(frame.loc[chosen, "window_id"])
    assert any(doubted & set(fold.train.window_id) for fold in folds)
    assert not any(doubted & set(fold.validation.window_id) for fold in folds)


def test_windows_near_a_scored_one_are_not_learned_from():
    frame = labeled()
    near = frame.loc[[7]].assign(window_id="near", bar0=frame["bar0"].iloc[8] - 200)
    near["session"] = frame["session"].iloc[7]
    windows, folds = cross_validation(pd.concat([frame, near], ignore_index=True))
    for fold in folds:
        if frame["window_id"].iloc[8] in windows.window_id[fold.scored]:
            assert "near" not in {*fold.train.window_id, *fold.validation.window_id}


def test_blocks_without_both_types_make_fewer_folds_or_are_refused():
    types = np.where(np.arange(20) < 12, "consolidation", "retracement")
    frame = labeled()
    with pytest.raises(UnsoundSplit, match="must part the labels into 3 blocks of sessions"):
        cross_validation(frame.assign(label=np.where(frame["in_core"], types, "none")))
    few = np.where(np.isin(np.arange(20), [2, 9, 16]), "retracement", "consolidation")
    _, folds = cross_validation(frame.assign(label=np.where(frame["in_core"], few, "none")))
    assert len(folds) == 3


def test_predictions_come_from_the_fold_of_their_window():
    _, folds = cross_validation(labeled())
    window = np.repeat(np.arange(20), 2)
    numbers = by_fold(folds, window, lambda fold, mine: np.full(mine.sum(), fold))
    for number, fold in enumerate(folds):
        assert set(window[numbers == number]) == set(fold.scored.tolist())
    whole = single_fold(20, *[cross_validation(labeled())[0]] * 2)
    assert by_fold(whole, window, lambda fold, mine: window[mine] * 1.0).tolist() == window.tolist()
