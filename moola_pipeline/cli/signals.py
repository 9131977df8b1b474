"""A Ctrl-C that is not lost: Dagster forgets one that falls between two steps of its own."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

TIMEOUT_SECONDS = 4.0
"""How long the work may take to end by itself; each asset then closes its MLflow run."""
ENDING = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def exit_on_second_interrupt(patience_seconds: float = TIMEOUT_SECONDS) -> Iterator[None]:
    """Send SIGINT or SIGTERM, once it has come, again and again until the work inside has ended.

    Whatever handler takes or drops the signal, the interpreter notes each in a pipe of ours. Where
    the interruption falls into a callback, which cannot raise, the interpreter's note of it is not
    shown. Does nothing outside the main thread, where no signal arrives.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ended = threading.Event()
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    watcher = threading.Thread(target=_insist, args=(reader, ended, patience_seconds), daemon=True)
    noted_before, shown_before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False), sys.unraisablehook
    sys.unraisablehook = _all_but_interruptions
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        signal.set_wakeup_fd(noted_before)
        sys.unraisablehook = shown_before
        os.close(writer)
        watcher.join()
        os.close(reader)


def _insist(reader: int, ended: threading.Event, patience_seconds: float) -> None:
    while note := os.read(reader, 1):
        if note[0] in ENDING:
            while not ended.wait(patience_seconds):
                os.kill(os.getpid(), note[0])
            return


def _all_but_interruptions(unraisable: "sys.UnraisableHookArgs") -> None:
    if issubclass(unraisable.exc_type, Exception):
        sys.__unraisablehook__(unraisable)
