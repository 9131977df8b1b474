"""Batches made ahead: the same ones, in order, and nothing left running."""

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from moola_pipeline.training.prefetch import prefetched


def _running() -> int:
    return sum(thread.name == "prefetch" for thread in threading.enumerate())


def _drawn(rng: np.random.Generator, n_batches: int) -> Iterator[np.ndarray]:
    for _ in range(n_batches):
        yield rng.random(3)


def test_the_batches_are_those_of_a_plain_loop_and_the_generator_ends_where_it_would():
    plain, ahead = np.random.default_rng(0), np.random.default_rng(0)
    wanted, got = list(_drawn(plain, 50)), list(prefetched(_drawn(ahead, 50)))
    np.testing.assert_array_equal(got, wanted)
    assert plain.bit_generator.state == ahead.bit_generator.state


@pytest.mark.parametrize("ahead", [1, 2, 5])
def test_no_more_are_made_than_may_wait(ahead: int):
    made = []

    def batches() -> Iterator[int]:
        for number in range(20):
            made.append(number)
            yield number

    taken = prefetched(batches(), ahead)
    assert next(taken) == 0
    time.sleep(0.3)
    assert len(made) <= 1 + ahead + 1  # one in use, some ready, one in hand
    assert list(taken) == list(range(1, 20))


def test_the_next_batch_is_made_while_one_is_in_use():
    second_made = threading.Event()

    def batches() -> Iterator[int]:
        yield 1
        second_made.set()
        yield 2

    taken = prefetched(batches())
    assert next(taken) == 1
    assert second_made.wait(timeout=30), "the second batch was not made before it was asked for"
    assert next(taken) == 2


def test_a_fault_is_raised_after_the_batches_before_it():
    def batches() -> Iterator[int]:
        yield 1
        raise FloatingPointError("window 7")

    taken = prefetched(batches())
    assert next(taken) == 1
    with pytest.raises(FloatingPointError, match="window 7"):
        next(taken)
    assert _running() == 0


def test_a_loop_left_early_leaves_no_thread():
    for number in prefetched(iter(range(1000)), 2):
        if number == 3:
            break
    del number
    deadline = time.monotonic() + 5
    while _running() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert _running() == 0


def test_no_batches_are_no_batches():
    assert list(prefetched([])) == []
