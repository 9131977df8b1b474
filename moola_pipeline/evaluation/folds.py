"""Folds of evaluation: one with a test split, or blocks of sessions in turn while labels are few."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from moola_pipeline.labels.folds import N_FOLDS, session_folds
from moola_pipeline.labels.schema import TYPES
from moola_pipeline.labels.spans import LabeledWindows, labeled_windows
from moola_pipeline.labels.splits import SPLITS, UnsoundSplit, is_drawn
from moola_pipeline.windows.window_geometry import CONTEXT_BARS, WINDOW_BARS

MIN_FOLDS = 3
"""One block is scored, one validates, one trains."""
_USED = "used"


@dataclass(frozen=True)
class EvaluationFold:
    """Windows that are scored, and those that their models and baselines learned from.

    Attributes:
        scored: (n,) int64 indices of the scored windows, increasing.
        train, validation: The labeled windows learned from.
    """

    scored: np.ndarray
    train: LabeledWindows
    validation: LabeledWindows


def single_fold(n_windows: int, train: LabeledWindows, validation: LabeledWindows) -> list[EvaluationFold]:
    """All windows of a test split, scored by what learned from the other splits."""
    return [EvaluationFold(np.arange(n_windows), train, validation)]


def cross_validation(
    labels: pd.DataFrame, embargo_bars: int = WINDOW_BARS, most_folds: int = N_FOLDS
) -> tuple[LabeledWindows, list[EvaluationFold]]:
    """Blocks of sessions in turn: one is scored, the next validates, the others train.

    The windows of training and validation are scored if they were drawn at random or imported. Windows
    within the embargo of a scored one leave its training. There are `most_folds` blocks, or fewer so that
    each part holds both types.

    Args:
        labels: The frame of `assign_splits`.
        embargo_bars: Bars between scored windows and those that are learned from.
        most_folds: Most blocks.

    Returns:
        The scored windows, and the folds.

    Raises:
        UnsoundSplit: If even three blocks do not hold both types each.
    """
    rows = labels.loc[labels["split"].isin(SPLITS[:2])]
    windows = labeled_windows(rows.assign(split=_USED), _USED)
    drawn = np.isin(windows.window_id, rows.loc[is_drawn(rows), "window_id"].to_numpy(object))
    most = min(most_folds, len(np.unique(windows.session)))
    for n_folds in range(most, MIN_FOLDS - 1, -1):
        folds = [_fold(windows, drawn, n_folds, number, embargo_bars) for number in range(n_folds)]
        scored = [windows.select(drawn).select(fold.scored) for fold in folds]
        parts = [*scored, *(fold.train for fold in folds), *(fold.validation for fold in folds)]
        if all(_has_both_types(part) for part in parts):
            return windows.select(drawn), folds
    raise UnsoundSplit(
        f"Cross-validation must part the labels into {MIN_FOLDS} blocks of sessions with expansions of both "
        "types, but they do not part so. Label windows of more days, then run: moola labels add FILE"
    )


def by_fold(
    folds: Sequence[EvaluationFold], window: np.ndarray, predict: Callable[[int, np.ndarray], np.ndarray]
) -> np.ndarray:
    """Predictions for items of the scored windows, each by its fold.

    Args:
        folds: The folds.
        window: (n,) index of each item's window.
        predict: From the number of a fold and the (n,) bool mask of its items to a number for each of them.

    Returns:
        (n,) float64.
    """
    predicted = np.empty(len(window))
    for number, fold in enumerate(folds):
        mine = np.isin(window, fold.scored)
        predicted[mine] = predict(number, mine)
    return predicted


def _fold(
    windows: LabeledWindows, drawn: np.ndarray, n_folds: int, number: int, embargo_bars: int
) -> EvaluationFold:
    block = session_folds(windows.session, n_folds)
    scored = drawn & (block == number)
    validation = drawn & (block == (number + 1) % n_folds) & _apart(windows, scored, embargo_bars)
    train = ~np.isin(block, [number, (number + 1) % n_folds])
    train &= _apart(windows, scored | validation, embargo_bars)
    return EvaluationFold(
        np.flatnonzero(scored[drawn]).astype(np.int64), windows.select(train), windows.select(validation)
    )


def _apart(windows: LabeledWindows, others: np.ndarray, embargo_bars: int) -> np.ndarray:
    """Whether at least the embargo lies between the bars that each window and the others may read."""
    distance = np.abs(windows.bar0[:, None] - windows.bar0[others][None, :])
    return np.all(distance >= CONTEXT_BARS + WINDOW_BARS + embargo_bars, axis=1)


def _has_both_types(windows: LabeledWindows) -> bool:
    return set(range(len(TYPES))) <= set(windows.spans.type.tolist())
