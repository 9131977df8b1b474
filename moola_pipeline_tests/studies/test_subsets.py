"""Subsets of the labels: nested, whole windows, in the proportions of the data."""

from itertools import pairwise

import numpy as np
import pytest

from moola_pipeline.studies.cell_runs import nested_subset
from moola_pipeline_tests.made_bars import made_market

WINDOWS = made_market(40).windows
N_LABELS = len(WINDOWS.spans.window)
COUNTS = (5, 11, 22, 44, N_LABELS)


@pytest.mark.parametrize("seed", range(5))
def test_fewer_labels_are_among_more(seed: int):
    subsets = [nested_subset(WINDOWS, count, seed) for count in COUNTS]
    for small, large in pairwise(subsets):
        assert set(small.window_id) < set(large.window_id)


@pytest.mark.parametrize("seed", range(5))
def test_a_subset_holds_what_was_asked_or_what_one_window_brings_more(seed: int):
    for count in COUNTS:
        held = nested_subset(WINDOWS, count, seed)
        assert count <= len(held.spans.window) <= count + 1
        assert (np.diff(held.bar0) > 0).all()


def test_windows_come_whole_with_all_their_expansions():
    held = nested_subset(WINDOWS, 20, 0)
    for i, name in enumerate(held.window_id):
        j = int(np.flatnonzero(WINDOWS.window_id == name)[0])
        theirs, ours = WINDOWS.spans.window == j, held.spans.window == i
        assert WINDOWS.spans.start[theirs].tolist() == held.spans.start[ours].tolist()
        assert WINDOWS.spans.type[theirs].tolist() == held.spans.type[ours].tolist()


def test_types_and_empty_windows_keep_their_proportion():
    share = WINDOWS.spans.type.mean()
    empty = 1 - len(np.unique(WINDOWS.spans.window)) / len(WINDOWS.bar0)
    for seed in range(5):
        held = nested_subset(WINDOWS, 40, seed)
        assert abs(held.spans.type.mean() - share) < 0.1
        assert abs(1 - len(np.unique(held.spans.window)) / len(held.bar0) - empty) < 0.06


def test_all_labels_are_all_windows():
    assert np.array_equal(nested_subset(WINDOWS, N_LABELS, 3).window_id, WINDOWS.window_id)


def test_the_seed_decides_the_subset():
    first, same, other = (nested_subset(WINDOWS, 10, seed) for seed in (0, 0, 1))
    assert np.array_equal(first.window_id, same.window_id)
    assert set(first.window_id) != set(other.window_id)


def test_a_part_numbers_its_windows_afresh():
    part = WINDOWS.select(np.array([2, 5]))
    assert part.window_id.tolist() == WINDOWS.window_id[[2, 5]].tolist()
    assert set(part.spans.window) <= {0, 1}


@pytest.mark.parametrize("count", [0, N_LABELS + 1])
def test_more_or_fewer_labels_than_there_are_are_refused(count: int):
    with pytest.raises(ValueError, match=f"1 to {N_LABELS} expansions, got {count}"):
        nested_subset(WINDOWS, count, 0)
