"""Run independent trainings in parallel threads: torch releases the GIL while it computes."""

import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

import torch


def n_cores() -> int:
    """Number of cores this process may use: those of its affinity mask, where the system has one."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


P = ParamSpec("P")
T = TypeVar("T")


class _ThreadState(threading.local):
    """Halt events of the blocks that the thread runs in, outermost first."""

    def __init__(self) -> None:
        self.halts: list[threading.Event] = []


_thread = _ThreadState()


class Halted(Exception):
    """Raised in a training whose result is no longer needed."""


def check_halt() -> None:
    """End a training whose result is no longer needed; called once a step.

    Raises:
        Halted: In a thread of `run_in_parallel`, once its block was left early.
    """
    if any(halt.is_set() for halt in _thread.halts):
        raise Halted


def n_workers(device: torch.device | str, setting: int = 0) -> int:
    """Number of trainings that run at the same time.

    Args:
        device: Device of the networks.
        setting: Value of the user; 0: one for each core, or one on a GPU.
    """
    if setting:
        return setting
    if torch.device(device).type != "cpu":
        return 1
    return n_cores()


class LazyResult(Future[T]):
    """A future computed by a thread of the pool, or by the thread that needs it first."""

    def __init__(self, work: Callable[[], T], halt: threading.Event) -> None:
        super().__init__()
        self._work, self._halt, self._started = work, halt, threading.Lock()

    def result(self, timeout: float | None = None) -> T:
        """Compute the result or wait for it; raise the exception of its computation."""
        self.make()
        if timeout is None:
            self.wait()
        return super().result(timeout)

    def wait(self) -> None:
        """Wait until another thread has computed the result."""
        # Short waits: on some systems a thread in an endless wait receives no signal.
        while not self.done():
            wait([self], 0.2)

    def make(self) -> None:
        """Compute in the calling thread, unless another thread has started."""
        if not self._started.acquire(blocking=False):
            return
        _thread.halts.append(self._halt)
        try:
            check_halt()
            self.set_result(self._work())
        except BaseException as fault:  # noqa: BLE001 - result() raises it
            self.set_exception(fault)
            self._halt.set()  # the other results are useless without this one
        finally:
            _thread.halts.pop()


def one_at_a_time(call: Callable[P, T]) -> Callable[P, T]:
    """The function, called by one thread at a time."""
    lock = threading.Lock()

    def locked(*args: P.args, **kwargs: P.kwargs) -> T:
        with lock:
            return call(*args, **kwargs)

    return locked


@contextmanager
def run_in_parallel(works: Sequence[Callable[[], T]], workers: int) -> Iterator[list[LazyResult[T]]]:
    """Start works in their order, `workers` at the same time; with one worker, each on demand.

    Results do not depend on `workers` as long as works share no random generator. An exception in
    the block ends the works at their next `check_halt`.

    Args:
        works: Functions without arguments, one a result.
        workers: Most threads.

    Yields:
        A future for each work, in the same order.
    """
    halt = threading.Event()
    results = [LazyResult(work, halt) for work in works]
    pool = ThreadPoolExecutor(max(workers, 1), "training-thread")
    try:
        for result in results if workers > 1 else []:
            pool.submit(result.make)
        yield results
        pool.shutdown()
    finally:
        halt.set()
        pool.shutdown()


def all_in_parallel(works: Sequence[Callable[[], T]], workers: int) -> list[T]:
    """Results of all works, in their order; the first exception ends the others and is raised.

    With one worker the calling thread computes, with more it waits: it would be one more.
    """
    workers = workers if len(works) > 1 else 1
    with run_in_parallel(works, workers) as results:
        for result in results if workers > 1 else []:
            result.wait()
        try:
            return [result.result() for result in results]
        except Halted as halted:
            faults = [result.exception() for result in results if result.done()]
            raise next(
                (fault for fault in faults if fault and not isinstance(fault, Halted)), halted
            ) from None
