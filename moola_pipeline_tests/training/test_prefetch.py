"""Prefetching: the same batches in the same order, and no thread left running."""

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from moola_pipeline.training.prefetch import MAX_MAKERS, map_in_order, n_makers, prefetched


def _running() -> int:
    return sum(thread.name.startswith(("prefetch", "maker")) for thread in threading.enumerate())


def _drawn(rng: np.random.Generator, n_batches: int) -> Iterator[np.ndarray]:
    for _ in range(n_batches):
        yield rng.random(3)


def test_batches_and_generator_state_are_those_of_a_plain_loop():
    plain, ahead = np.random.default_rng(0), np.random.default_rng(0)
    expected, batches = list(_drawn(plain, 50)), list(prefetched(_drawn(ahead, 50)))
    np.testing.assert_array_equal(batches, expected)
    assert plain.bit_generator.state == ahead.bit_generator.state


@pytest.mark.parametrize("ahead", [1, 2, 5])
def test_no_more_batches_are_made_ahead_than_allowed(ahead: int):
    made = []

    def batches() -> Iterator[int]:
        for number in range(20):
            made.append(number)
            yield number

    stream = prefetched(batches(), ahead)
    assert next(stream) == 0
    time.sleep(0.3)
    assert len(made) <= 1 + ahead + 1  # one in use, `ahead` ready, one waiting for room
    assert list(stream) == list(range(1, 20))


def test_the_next_batch_is_made_while_one_is_in_use():
    second_made = threading.Event()

    def batches() -> Iterator[int]:
        yield 1
        second_made.set()
        yield 2

    stream = prefetched(batches())
    assert next(stream) == 1
    assert second_made.wait(timeout=30), "the second batch was not made in advance"
    assert next(stream) == 2


def test_an_exception_is_raised_after_the_batches_before_it():
    def batches() -> Iterator[int]:
        yield 1
        raise FloatingPointError("window 7")

    stream = prefetched(batches())
    assert next(stream) == 1
    with pytest.raises(FloatingPointError, match="window 7"):
        next(stream)
    assert _running() == 0


def test_a_loop_left_early_leaves_no_thread():
    numbers = prefetched(iter(range(1000)), 2)
    assert next(number for number in numbers if number == 3) == 3
    del numbers
    deadline = time.monotonic() + 5
    while _running() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert _running() == 0


def test_no_batches_give_no_batches():
    assert list(prefetched([])) == []


@pytest.mark.parametrize("makers", [1, 2, 4])
def test_several_makers_keep_the_order_and_the_random_numbers(makers: int):
    rng, plain = np.random.default_rng(0), np.random.default_rng(0)

    def slowest_first(drawn: np.ndarray) -> np.ndarray:
        time.sleep(0.01 * drawn[0])
        return drawn * 2

    batches = list(prefetched(map_in_order(_drawn(rng, 30), slowest_first, makers)))
    np.testing.assert_array_equal(batches, [2 * drawn for drawn in _drawn(plain, 30)])
    assert rng.bit_generator.state == plain.bit_generator.state
    assert _running() == 0


def test_makers_work_at_the_same_time():
    meeting = threading.Barrier(2, timeout=30)

    def make(number: int) -> int:
        meeting.wait()
        return number

    assert list(map_in_order(range(4), make, 2)) == [0, 1, 2, 3]


def test_an_exception_of_a_maker_is_raised_in_its_place():
    def make(number: int) -> int:
        if number == 2:
            raise FloatingPointError("window 7")
        return number

    stream = prefetched(map_in_order(range(100), make, 3))
    assert [next(stream), next(stream)] == [0, 1]
    with pytest.raises(FloatingPointError, match="window 7"):
        next(stream)
    assert _running() == 0


def test_a_loop_left_early_leaves_no_maker():
    stream = prefetched(map_in_order(range(1000), lambda number: number, 3), 2)
    assert next(stream) == 0
    stream.close()  # pyright: ignore[reportAttributeAccessIssue] - a generator
    assert _running() == 0


@pytest.mark.parametrize(
    ("cores", "processes", "makers"), [(1, 1, 1), (2, 1, 1), (4, 1, 3), (64, 1, 4), (64, 32, 1)]
)
def test_makers_leave_each_process_a_core_for_training(
    monkeypatch: pytest.MonkeyPatch, cores: int, processes: int, makers: int
):
    monkeypatch.setattr("moola_pipeline.training.prefetch.n_cores", lambda: cores)
    assert n_makers(processes) == makers <= MAX_MAKERS
