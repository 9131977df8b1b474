"""Parallel works: the same results in the same order, exceptions raised, and no thread left running."""

import threading
import time
from functools import partial

import pytest

from moola_pipeline.training.parallel import all_in_parallel, check_halt, n_workers, run_in_parallel


def named(threads: str = "training-") -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith(threads)]


@pytest.mark.parametrize("workers", [0, 1, 2, 7])
def test_results_come_in_the_order_of_the_works(workers: int):
    def work(number: int) -> int:
        time.sleep(0.01 * (3 - number))
        return number

    assert all_in_parallel([partial(work, number) for number in range(4)], workers) == [0, 1, 2, 3]
    assert named() == []


def test_two_works_run_at_the_same_time():
    meeting = threading.Barrier(2, timeout=20)
    all_in_parallel([meeting.wait, meeting.wait], workers=2)


def test_no_more_works_run_at_once_than_workers():
    n_running, most, lock = 0, 0, threading.Lock()

    def work() -> None:
        nonlocal n_running, most
        with lock:
            n_running += 1
            most = max(most, n_running)
        time.sleep(0.0005)
        with lock:
            n_running -= 1

    for _ in range(200):  # whether the calling thread would be one more depends on the timing
        all_in_parallel([work] * 6, workers=2)
    assert most == 2


def test_one_worker_computes_each_result_on_demand_in_the_calling_thread():
    made = []
    with run_in_parallel([partial(made.append, number) for number in range(3)], 1) as results:
        assert made == []
        results[2].result()
        results[0].result()
        results[0].result()
    assert made == [2, 0]


def test_the_first_exception_is_raised_and_ends_the_others_at_their_next_step():
    steps = []

    def broken() -> None:
        raise ArithmeticError("a loss is not finite")

    def endless() -> None:
        while True:
            check_halt()
            steps.append(1)
            time.sleep(0.001)

    for works in ([broken, endless], [endless, broken]):
        with pytest.raises(ArithmeticError, match="a loss is not finite"):
            all_in_parallel(works, workers=2)
        assert named() == []


def test_an_interrupt_in_the_block_ends_all_works():
    def endless() -> None:
        while True:
            check_halt()
            time.sleep(0.001)

    with pytest.raises(KeyboardInterrupt), run_in_parallel([endless, endless, endless], 2):
        raise KeyboardInterrupt
    assert named() == []


def test_nested_works_are_halted_with_their_parent():
    inner = partial(all_in_parallel, [lambda: 1, lambda: 2], 1)
    assert all_in_parallel([inner, inner], 2) == [[1, 2], [1, 2]]

    def endless() -> None:
        while True:
            check_halt()
            time.sleep(0.001)

    with pytest.raises(KeyboardInterrupt), run_in_parallel([partial(all_in_parallel, [endless], 1)] * 2, 2):
        raise KeyboardInterrupt
    assert named() == []


def test_outside_works_check_halt_does_nothing():
    check_halt()


def test_a_gpu_trains_one_at_a_time_by_default():
    assert n_workers("cuda") == 1
    assert n_workers("cuda", 3) == 3
    assert n_workers("cpu", 5) == 5
    assert n_workers("cpu") >= 1
