"""Windows as row numbers of the feature table; rows are copied only when a batch is gathered."""

from typing import NamedTuple

import numpy as np

from moola_pipeline.bars.schema import Column
from moola_pipeline.features.averages import segment_bounds
from moola_pipeline.features.schema import RANGE_HIGH, RANGE_LOW
from moola_pipeline.windows.window_geometry import (
    BARS_BEFORE,
    CORE_BARS,
    CORE_FIRST,
    CORE_LAST,
    LIVE_BARS,
    MAX_WAIT,
    ONSET_COLLAR_BARS,
    PRETRAIN_STRIDE,
    SAME_MOVE_BARS,
    WINDOW_BARS,
)

WINDOW_TABLE = (
    Column("bar0", "int64", "row of the window's first bar in raw_nq_bars and relativity_features"),
    Column("purpose", "str", "pretraining, or the split of a labeled window: train, validation or test"),
)
"""The index of windows: each has 105 bars, and 20 bars of context before them."""


def pretraining_windows(segment: np.ndarray, end_row: int, stride: int = PRETRAIN_STRIDE) -> np.ndarray:
    """Rows of bar 0 of the windows that tile the segments before `end_row`.

    Args:
        segment: (n_bars,) int, non-decreasing.
        end_row: First row that no window may use (the end of the training period).
        stride: Bars from one window to the next, >= 1.

    Returns:
        (n_windows,) int64, increasing; each window and its context lie inside one segment.
    """
    starts, ends = segment_bounds(segment)
    rows = [
        np.arange(start + BARS_BEFORE, min(end, end_row) - WINDOW_BARS + 1, stride)
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True)
    ]
    return np.concatenate([np.empty(0, np.int64), *rows]).astype(np.int64)


def scan_windows(segment: np.ndarray, last_grows: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Windows whose cores (bars 30-74) cover every bar that a core can cover, each bar once.

    They lie one core apart from the start of a segment on, so that later bars do not move them.

    Args:
        segment: (n_bars,) int, non-decreasing.
        last_grows: Whether the last segment may still get bars: it then has no window aligned with
            its end, and later bars only add windows.

    Returns:
        bar0: (n_windows,) int64 rows.
        owned_from: (n_windows,) int64, first core bar whose onsets a window reports: 30, or later
            for the last window of a segment, which ends with the segment.
    """
    bar0, owned_from = [], []
    for start, end in zip(*(bound.tolist() for bound in segment_bounds(segment)), strict=True):
        last = end - WINDOW_BARS
        row = start + BARS_BEFORE
        while row <= last:
            bar0.append(row)
            owned_from.append(CORE_FIRST)
            row += CORE_BARS
        if last_grows and end == len(segment):
            continue
        if bar0 and bar0[-1] >= start and bar0[-1] < last:
            owned_from.append(CORE_FIRST + CORE_BARS - (last - bar0[-1]))
            bar0.append(last)
    return np.array(bar0, np.int64), np.array(owned_from, np.int64)


def uncovered(segment: np.ndarray, last_grows: bool = False) -> np.ndarray:
    """True for bars where no window of `scan_windows` can report an onset: (n_bars,) bool."""
    covered = np.zeros(len(segment), bool)
    for start, end in zip(*(bound.tolist() for bound in segment_bounds(segment)), strict=True):
        first, spare = start + BARS_BEFORE + CORE_FIRST, end - start - BARS_BEFORE - WINDOW_BARS
        if spare < 0:
            continue
        if last_grows and end == len(segment):
            covered[first : first + (spare // CORE_BARS + 1) * CORE_BARS] = True
        else:
            covered[first : end - (WINDOW_BARS - 1 - CORE_LAST)] = True
    return ~covered


def live_windows(segment: np.ndarray) -> np.ndarray:
    """Windows of live inference: one for each bar that can be the last closed one.

    Returns:
        (n_windows,) int64 rows of bar 0, increasing; each window's last bar lies 35 bars later, so
        the first such bar of a segment is its 76th.
    """
    return np.flatnonzero(~too_early_for_live(segment)) - (LIVE_BARS - 1)


def too_early_for_live(segment: np.ndarray) -> np.ndarray:
    """True for bars that cannot be the last one of a live window: (n_bars,) bool."""
    starts, ends = segment_bounds(segment)
    since = np.arange(len(segment)) - np.repeat(starts, ends - starts)
    return since < BARS_BEFORE + LIVE_BARS - 1


def live_windows_of(segment: np.ndarray, bar0: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The live windows whose alarms can affect the core of labeled windows.

    The first one can raise an alarm that suppresses another with an onset in bar 27, the last one
    can report an onset in bar 77.

    Args:
        segment: (n_bars,) int, non-decreasing.
        bar0: (n_windows,) rows of bar 0 of labeled windows.

    Returns:
        Rows of bar 0 of the live windows, and for each the index of its labeled window,
        non-decreasing.
    """
    first, last = CORE_FIRST - ONSET_COLLAR_BARS - SAME_MOVE_BARS, CORE_LAST + ONSET_COLLAR_BARS + MAX_WAIT
    closed = np.asarray(bar0)[:, None] + np.arange(first, last + 1)
    window, place = np.nonzero(~too_early_for_live(segment)[closed])
    return closed[window, place] - (LIVE_BARS - 1), window


def crossing_segments(bar0: np.ndarray, segment: np.ndarray) -> np.ndarray:
    """True for windows that leave the table or their segment, or start too early in it: (B,) bool."""
    bar0 = np.asarray(bar0, np.int64)
    inside = (bar0 >= BARS_BEFORE) & (bar0 + WINDOW_BARS <= len(segment))
    straddles = ~inside
    first, last = bar0[inside] - BARS_BEFORE, bar0[inside] + WINDOW_BARS - 1
    straddles[inside] = segment[first] != segment[last]
    return straddles


class PositionFigures(NamedTuple):
    """Density and spread of each feature at each bar of the windows, (T, F) float64 each.

    Attributes:
        non_zero_share: Share of the windows whose value there is not 0.
        spread_share: 99th minus 1st percentile over the windows, over the declared range.
    """

    non_zero_share: np.ndarray
    spread_share: np.ndarray


def figures_by_position(values: np.ndarray, bar0: np.ndarray) -> PositionFigures:
    """Density and spread as in `gates.feature_table_figures`, for each of the 105 bars of windows.

    Args:
        values: (n_bars, F) feature table.
        bar0: (n_windows,) rows of bar 0, at least one.
    """
    bar0 = np.asarray(bar0)
    dense, spread = np.empty((2, WINDOW_BARS, values.shape[1]))
    for t in range(WINDOW_BARS):
        # One position at a time, so that the bars of all windows are never in memory at once.
        rows = values[bar0 + t]
        dense[t] = np.count_nonzero(rows, axis=0) / len(rows)
        p1, p99 = np.percentile(rows, (1, 99), axis=0)
        spread[t] = (p99 - p1) / (RANGE_HIGH - RANGE_LOW)
    return PositionFigures(dense, spread)
