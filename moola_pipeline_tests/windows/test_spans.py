"""Spans in windows: selection, joining, and direction."""

import numpy as np

from moola_pipeline.windows.spans import Spans
from moola_pipeline.windows.window_geometry import UNTYPED


def spans_of(*rows: tuple[int, int, int, int, int]) -> Spans:
    return Spans(*(np.array(column) for column in zip(*rows, strict=True)))


THREE = spans_of((0, 29, 33, -1, 0), (0, 30, 40, 0, 1), (2, 75, 80, 1, 1))


def test_chosen_spans_keep_their_columns_together():
    for chosen in (np.array([False, True, True]), np.array([1, 2]), slice(1, None)):
        assert [part.tolist() for part in THREE.select(chosen).arrays] == [
            [0, 2], [30, 75], [40, 80], [0, 1], [1, 1]
        ]  # fmt: skip


def test_labels_are_complete_for_starts_in_bars_30_to_74():
    assert THREE.in_core.tolist() == [False, True, False]


def test_a_span_that_ends_where_it_began_points_up():
    assert THREE.pointed().direction.tolist() == [-1, 1, 1]
    assert THREE.direction.tolist() == [-1, 0, 1]


def test_joined_spans_come_one_set_after_the_other():
    both = THREE.joined(THREE.select(slice(1)))

    assert both.start.tolist() == [29, 30, 75, 29]
    assert both.type.tolist() == [0, 1, 1, 0]


def test_the_type_of_a_span_without_one_is_unknown():
    window, start, end, direction, _ = THREE.arrays

    assert Spans.untyped(window, start, end, direction).type.tolist() == [UNTYPED] * 3
