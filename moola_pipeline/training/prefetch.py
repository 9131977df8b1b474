"""Batches made in a thread beside the steps that learn from them: neither waits for the other."""

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
"""Batches made at most before they are asked for."""
MAX_MAKERS = 4
"""Threads at most that make batches: half of the work holds the interpreter, so more gain nothing."""
_LOOK_SECONDS = 0.1
"""How often a maker that waits for room looks whether anyone still wants its batches."""


def n_makers(processes: int = 1) -> int:
    """Threads that make batches beside the one that learns, on a machine shared by so many processes."""
    return max(1, min(MAX_MAKERS, n_cores() // processes - 1))


def map_in_order(chosen: Iterable[C], make: Callable[[C], T], makers: int = 1) -> Generator[T, None, None]:
    """What `make` makes of each, in their order; several at a time where there are several makers.

    Choosing stays in one thread, one after the other, so that what it draws does not depend on
    the number of makers; `make` must draw nothing.
    """
    if makers == 1:
        yield from map(make, chosen)
        return
    with ThreadPoolExecutor(makers, "maker") as pool:
        coming: deque = deque()
        for one in chosen:
            coming.append(pool.submit(make, one))
            if len(coming) > makers:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()


def prefetched(batches: Iterable[T], ahead: int = AHEAD) -> Iterator[T]:
    """The same batches in the same order, the next ones made while one is in use.

    Whatever they draw random numbers from must not be used elsewhere until they are through:
    then the numbers are those of a plain loop. A fault in making one is raised where it would
    have been raised. A loop left early stops the thread before it goes on.

    Args:
        batches: Made one by one, in one thread.
        ahead: Batches kept ready at most.
    """
    ready: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(ahead)
    left = threading.Event()

    def make() -> None:
        try:
            for batch in batches:
                if not _hand_over(ready, (batch, None), left):
                    return
            _hand_over(ready, (None, _End()), left)
        except BaseException as fault:  # noqa: BLE001 it is raised in the thread that asked
            _hand_over(ready, (None, fault), left)
        finally:
            if isinstance(batches, Generator):
                batches.close()  # what it holds, threads of its own included, ends with it

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
        left.set()
        maker.join()


class _End(Exception):
    """All batches were made."""


def _hand_over(ready: queue.Queue, item: object, left: threading.Event) -> bool:
    """Wait for room; False once nobody takes batches any more."""
    while not left.is_set():
        try:
            ready.put(item, timeout=_LOOK_SECONDS)
            return True
        except queue.Full:
            continue
    return False
