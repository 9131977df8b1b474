"""Independent trainings in parallel threads: torch releases Python's lock while it computes."""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeVar

import torch


def n_cores() -> int:
    """Cores that this process may use: those of its affinity mask, where the system has one."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


T = TypeVar("T")


class _OwnOfThread(threading.local):
    """For each block that the thread works for, the outermost first: whether it was left early."""

    def __init__(self) -> None:
        self.left: list[threading.Event] = []


_own = _OwnOfThread()


class Halted(Exception):
    """Raised in a training that nobody waits for any more."""


def check_halt() -> None:
    """End a training here whose result is no longer wanted; called once a step.

    Raises:
        Halted: In a thread of `run_in_parallel` that was left early.
    """
    if any(left.is_set() for left in _own.left):
        raise Halted


def n_workers(device: torch.device | str, wanted: int = 0) -> int:
    """Trainings that run at once: as many as wanted; if 0, one for each core, and one on a GPU.

    Args:
        device: Where networks run.
        wanted: What the user asked for; 0 leaves it to this machine.
    """
    if wanted:
        return wanted
    if torch.device(device).type != "cpu":
        return 1
    return n_cores()


class LazyResult(Future[T]):
    """A result that a thread of the pool makes, or, where none has begun it, the one who asks for it."""

    def __init__(self, work: Callable[[], T], left: threading.Event) -> None:
        super().__init__()
        self._work, self._left, self._begun = work, left, threading.Lock()

    def result(self, timeout: float | None = None) -> T:
        """Make it or wait for it; what went wrong in its making is raised here."""
        self.make()
        # in short turns: on some systems a thread that waits without end hears no signal
        while timeout is None and not self.done():
            wait([self], 0.2)
        return super().result(timeout)

    def make(self) -> None:
        """Do the work in the thread that calls, unless another one has begun it."""
        if not self._begun.acquire(blocking=False):
            return
        _own.left.append(self._left)
        try:
            check_halt()
            self.set_result(self._work())
        except BaseException as fault:  # noqa: BLE001 it is raised in the thread that asks
            self.set_exception(fault)
            self._left.set()  # without it the others are worth nothing
        finally:
            _own.left.pop()


@contextmanager
def run_in_parallel(works: Sequence[Callable[[], T]], workers: int) -> Iterator[list[LazyResult[T]]]:
    """Begin works in their order, `workers` at once; with one worker, each when it is asked for.

    The results do not depend on `workers`, as long as no work draws from a generator that another
    one draws from. Leaving the block early, by an exception, ends them at their next `check_halt`.

    Args:
        works: Each makes one result.
        workers: Threads at most.

    Yields:
        A promise for each, in the same order.
    """
    left = threading.Event()
    promised = [LazyResult(work, left) for work in works]
    pool = ThreadPoolExecutor(max(workers, 1), "training-thread")
    try:
        for one in promised if workers > 1 else []:
            pool.submit(one.make)
        yield promised
        pool.shutdown()
    finally:
        left.set()
        pool.shutdown()


def all_in_parallel(works: Sequence[Callable[[], T]], workers: int) -> list[T]:
    """The results of all works, in their order; the first fault ends the others and is raised."""
    with run_in_parallel(works, workers if len(works) > 1 else 1) as promised:
        try:
            return [one.result() for one in promised]
        except Halted as halted:
            faults = [one.exception() for one in promised if one.done()]
            raise next((one for one in faults if one and not isinstance(one, Halted)), halted) from None
