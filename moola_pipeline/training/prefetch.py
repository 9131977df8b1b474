"""Batches made in a thread beside the steps that learn from them: neither waits for the other."""

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

AHEAD = 3
"""Batches made at most before they are asked for."""
_LOOK_SECONDS = 0.1
"""How often a maker that waits for room looks whether anyone still wants its batches."""


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
