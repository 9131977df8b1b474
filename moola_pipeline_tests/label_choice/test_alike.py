"""The nearest windows by measured numbers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moola_pipeline.label_choice.alike import MAX_DEVIATIONS, nearest_windows
from moola_pipeline.windows.window_geometry import WINDOW_BARS


def test_the_nearest_worked_by_hand():
    # one number with mean 2 and deviation 2: candidates at 0 and 4 are one deviation from the mean
    numbers = np.array([[0.0], [4.0], [0.0], [4.0]])
    found = nearest_windows(numbers, np.array([1000, 2000, 3000, 4000]), np.array([3.0]), 0, 3)
    assert found.candidate.tolist() == [1, 3, 0]
    assert found.distance == pytest.approx([0.5, 0.5, 1.5])


def test_the_unit_of_a_number_does_not_matter():
    rng = np.random.default_rng(0)
    numbers, bar0 = rng.normal(size=(50, 3)), np.arange(50) * 200
    other = numbers * [1, 1000, 1e-4] + [5, 0, -3]
    one = nearest_windows(numbers, bar0, numbers[7], 7 * 200)
    two = nearest_windows(other, bar0, other[7], 7 * 200)
    assert one.candidate.tolist() == two.candidate.tolist()
    assert one.distance == pytest.approx(two.distance)


def naive(numbers, bar0, wanted, wanted_bar0, n):
    z = (numbers - numbers.mean(axis=0)) / numbers.std(axis=0)
    goal = (wanted - numbers.mean(axis=0)) / numbers.std(axis=0)
    z, goal = z.clip(-MAX_DEVIATIONS, MAX_DEVIATIONS), goal.clip(-MAX_DEVIATIONS, MAX_DEVIATIONS)
    far = [float(np.sqrt(np.mean((row - goal) ** 2))) for row in z]
    chosen = []
    for i in sorted(range(len(far)), key=lambda i: (far[i], i)):
        taken = [wanted_bar0, *(bar0[j] for j in chosen)]
        if len(chosen) < n and all(abs(int(bar0[i]) - int(row)) >= WINDOW_BARS for row in taken):
            chosen.append(i)
    return chosen


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(3, 40))
def test_the_nearest_equal_a_naive_loop_and_overlap_nothing(seed, n):
    rng = np.random.default_rng(seed)
    numbers, bar0 = rng.normal(size=(n, 4)), rng.integers(0, 3000, n)
    found = nearest_windows(numbers, bar0, numbers[0], int(bar0[0]), 5)
    assert found.candidate.tolist() == naive(numbers, bar0, numbers[0], int(bar0[0]), 5)
    rows = np.append(bar0[found.candidate], bar0[0])
    apart = np.abs(rows[:, None] - rows[None, :])[~np.eye(len(rows), dtype=bool)]
    assert (apart >= WINDOW_BARS).all()
    assert (np.diff(found.distance) >= 0).all()


def test_a_number_that_never_changes_is_no_difference():
    found = nearest_windows(np.ones((2, 1)), np.array([500, 900]), np.ones(1), 0)
    assert found.distance.tolist() == [0.0, 0.0]
    assert len(nearest_windows(np.empty((0, 1)), np.empty(0, int), np.ones(1), 0).candidate) == 0


def test_other_columns_are_refused():
    with pytest.raises(ValueError, match=r"numbers must be \(n, 3\), got \(4, 2\)"):
        nearest_windows(np.ones((4, 2)), np.arange(4), np.ones(3), 0)
