"""Windows as rows of the feature table: inside one segment, and each core bar covered once."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moola_pipeline.features.averages import segment_bounds
from moola_pipeline.features.schema import N_FEATURES
from moola_pipeline.windows.dense import (
    crossing_segments,
    figures_by_position,
    pretraining_windows,
    scan_windows,
    uncovered,
)
from moola_pipeline.windows.window_geometry import BARS_BEFORE, CORE_FIRST, CORE_LAST, WINDOW_BARS, view_rows

QUICK = settings(deadline=None, derandomize=True, max_examples=60)
segments = st.lists(st.integers(1, 420), min_size=1, max_size=6).map(
    lambda lengths: np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
)
strides = st.integers(1, 130)


def test_windows_of_two_segments_worked_by_hand():
    segment = np.repeat([0, 1], [400, 250])

    # 40 bars lie before bar 0 and 105 from it on, so bar 0 is at most 295 and 145 bars into them.
    assert pretraining_windows(segment, 650, stride=52).tolist() == [40, 92, 144, 196, 248, 440, 492, 544]


def test_windows_end_before_the_end_row():
    segment = np.zeros(400, np.int32)

    assert pretraining_windows(segment, 249, stride=52).tolist() == [40, 92, 144]
    assert pretraining_windows(segment, 248, stride=52).tolist() == [40, 92]
    assert pretraining_windows(segment, 0, stride=52).tolist() == []


@QUICK
@given(segments, strides, st.integers(0, 2600))
def test_no_window_straddles_a_segment(segment: np.ndarray, stride: int, end_row: int):
    bar0 = pretraining_windows(segment, end_row, stride)

    for row in bar0.tolist():
        assert len(np.unique(segment[row - BARS_BEFORE : row + WINDOW_BARS])) == 1
        assert row >= BARS_BEFORE
        assert row + WINDOW_BARS <= min(len(segment), end_row)


@QUICK
@given(segments, strides)
def test_windows_tile_a_segment_until_none_fits(segment: np.ndarray, stride: int):
    bar0 = pretraining_windows(segment, len(segment), stride)

    for first, end in zip(*segment_bounds(segment), strict=True):
        in_segment = bar0[(bar0 >= first) & (bar0 < end)]
        n_bars = end - first
        assert len(in_segment) == max((n_bars - BARS_BEFORE - WINDOW_BARS) // stride + 1, 0)
        assert in_segment.tolist() == [first + BARS_BEFORE + i * stride for i in range(len(in_segment))]


@settings(QUICK, max_examples=12)
@given(segments)
def test_straddling_marks_what_a_plain_loop_marks(segment: np.ndarray):
    bar0 = np.arange(-60, len(segment) + 60)

    expected = []
    for row in bar0.tolist():
        rows = range(row - BARS_BEFORE, row + WINDOW_BARS)
        inside = rows[0] >= 0 and rows[-1] < len(segment)
        expected.append(not inside or len({int(segment[r]) for r in rows}) > 1)
    assert crossing_segments(bar0, segment).tolist() == expected


def test_cores_of_a_segment_worked_by_hand():
    bar0, owned_from = scan_windows(np.zeros(200, np.int32))

    # Cores of 45 bars from 70 on: 70-114, 115-159; the last window ends with the segment at bar
    # 199, and reports 160-169 only.
    assert bar0.tolist() == [40, 85, 95]
    assert owned_from.tolist() == [30, 30, 65]


def test_a_segment_of_exactly_two_cores_has_no_third_window():
    bar0, owned_from = scan_windows(np.zeros(190, np.int32))

    assert bar0.tolist() == [40, 85]
    assert owned_from.tolist() == [30, 30]


@QUICK
@given(segments)
def test_scan_cores_cover_each_bar_once(segment: np.ndarray):
    bar0, owned_from = scan_windows(segment)

    times = np.zeros(len(segment), int)
    for row, first in zip(bar0.tolist(), owned_from.tolist(), strict=True):
        times[row + first : row + CORE_LAST + 1] += 1
    assert not crossing_segments(bar0, segment).any()
    assert (owned_from >= CORE_FIRST).all()
    assert np.array_equal(times, (~uncovered(segment)).astype(int))


@QUICK
@given(segments)
def test_only_the_first_70_and_last_30_bars_of_a_long_segment_are_uncovered(segment: np.ndarray):
    missing = uncovered(segment)

    for first, end in zip(*segment_bounds(segment), strict=True):
        n_bars = end - first
        at = np.arange(n_bars)
        expected = (at < 70) | (at >= n_bars - 30) if n_bars >= 145 else np.ones(n_bars, bool)
        assert np.array_equal(missing[first:end], expected)


def test_a_view_holds_20_bars_of_context_and_the_105_of_the_window():
    rows = view_rows(np.array([40, 300]))

    assert rows.shape == (2, 125)
    assert rows[:, 0].tolist() == [20, 280]
    assert rows[:, -1].tolist() == [144, 404]
    assert (np.diff(rows, axis=1) == 1).all()


def test_five_years_of_windows_take_less_memory_than_the_bars():
    segment = np.repeat(np.arange(1300, dtype=np.int32), 1380)
    tracemalloc.start()
    bar0 = pretraining_windows(segment, len(segment))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert len(bar0) > 30_000
    assert peak < len(segment) * 4 * 8  # four prices a bar


def test_the_figures_of_all_windows_are_read_without_copying_them():
    values = np.ones((100_000, N_FEATURES), np.float32)
    bar0 = pretraining_windows(np.zeros(len(values), np.int32), len(values))
    tracemalloc.start()
    figures_by_position(values, bar0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < values.nbytes / 2


def test_a_column_written_at_one_bar_of_the_window_is_empty_at_the_others():
    values = np.zeros((400, N_FEATURES), np.float32)
    bar0 = np.array([40, 145])
    values[:, 0] = 1
    values[bar0 + 7, 2] = 0.5
    values[145 + 90, 2] = -0.5

    density, _ = figures_by_position(values, bar0)

    assert density.shape == (WINDOW_BARS, N_FEATURES)
    assert (density[:, 0] == 1).all()
    assert density[7, 2] == 1
    assert density[90, 2] == 0.5
    assert density[:, 2].sum() == pytest.approx(1.5)


def test_a_feature_that_moves_along_the_window_and_not_between_windows_has_no_spread_at_any_bar():
    bar0 = 40 + WINDOW_BARS * np.arange(200)
    values = np.zeros((40 + WINDOW_BARS * 200, N_FEATURES), np.float32)
    values[40:, 5] = np.tile(np.linspace(0, 3, WINDOW_BARS), 200)  # the same in every window
    values[40:, 6] = np.repeat(np.linspace(-8, 8, 200), WINDOW_BARS)  # another in each

    _, spread = figures_by_position(values, bar0)

    assert np.ptp(values[:, 5]) == 3
    assert not spread[:, 5].any()
    assert spread[:, 6] == pytest.approx(0.98, abs=0.01)
