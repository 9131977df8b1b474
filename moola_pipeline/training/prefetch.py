"""Prefetching: make batches in background threads while the training steps run."""

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from moola_pipeline.training.parallel import n_cores

T = TypeVar("T")
C = TypeVar("C")

AHEAD = 3
"""Most batches ready in advance."""
MAX_MAKERS = 4
"""Most threads that make batches; half of the work holds the GIL, so more threads gain nothing."""
_POLL_SECONDS = 0.1
"""Interval at which a thread that waits for room checks whether the loop was left."""


def n_makers(processes: int = 1) -> int:
    """Number of threads that make batches for each of `processes` processes on this machine."""
    return max(1, min(MAX_MAKERS, n_cores() // processes - 1))


def map_in_order(chosen: Iterable[C], make: Callable[[C], T], makers: int = 1) -> Generator[T, None, None]:
    """Apply `make` to each choice, in `makers` threads; results keep their order.

    One thread iterates over the choices, so their random numbers do not depend on `makers`. `make`
    must draw no random numbers.
    """
    if makers == 1:
        yield from map(make, chosen)
        return
    with ThreadPoolExecutor(makers, "maker") as pool:
        futures: deque = deque()
        for choice in chosen:
            futures.append(pool.submit(make, choice))
            if len(futures) > makers:
                yield futures.popleft().result()
        while futures:
            yield futures.popleft().result()


def prefetched(batches: Iterable[T], ahead: int = AHEAD) -> Iterator[T]:
    """The same batches in the same order, made in a background thread.

    Nothing else may use their random generators meanwhile; then the numbers are those of a plain
    loop. An exception is raised at its place in the order. Leaving the loop early stops the thread.

    Args:
        batches: Iterated in one thread.
        ahead: Most batches ready in advance.
    """
    ready: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(ahead)
    stop = threading.Event()

    def make() -> None:
        try:
            for batch in batches:
                if not _put(ready, (batch, None), stop):
                    return
            _put(ready, (None, _End()), stop)
        except BaseException as fault:  # noqa: BLE001 - raised in the consuming thread
            _put(ready, (None, fault), stop)
        finally:
            if isinstance(batches, Generator):
                batches.close()  # also ends the threads of `map_in_order`

    maker = threading.Thread(target=make, name="prefetch", daemon=True)
    maker.start()
    try:
        while True:
            batch, fault = ready.get()
            if isinstance(fault, _End):
                return
            if fault is not None:
                raise fault
            yield batch  # pyright: ignore[reportReturnType]
    finally:
        stop.set()
        maker.join()


class _End(Exception):
    """Marks the end of the batches."""


def _put(ready: queue.Queue, item: object, stop: threading.Event) -> bool:
    """Put an item, waiting for room; False if the loop was left."""
    while not stop.is_set():
        try:
            ready.put(item, timeout=_POLL_SECONDS)
            return True
        except queue.Full:
            continue
    return False
