"""Repeat Ctrl-C until the work ends: Dagster drops a signal that arrives between two steps."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

TIMEOUT_SECONDS = 4.0
"""Time for the work to end before the signal is repeated; assets close their MLflow runs in it."""
ENDING = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def repeat_interrupt(patience_seconds: float = TIMEOUT_SECONDS) -> Iterator[None]:
    """After the first SIGINT or SIGTERM, repeat it until the work inside has ended.

    Afterwards SIGTERM is answered as before: Dagster answers it as it answers SIGINT, which a command that
    a script started in the background ignores.

    The interpreter writes each signal to a wakeup pipe, whatever its handler does. A KeyboardInterrupt
    in a callback cannot propagate; the interpreter's message about it is hidden. Outside the main
    thread, which receives no signals, and on Windows this does nothing.
    """
    if sys.platform == "win32" or threading.current_thread() is not threading.main_thread():
        yield
        return
    ended = threading.Event()
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    watcher = threading.Thread(target=_repeat, args=(reader, ended, patience_seconds), daemon=True)
    wakeup_fd_before, hook_before = (
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False),
        sys.unraisablehook,
    )
    sys.unraisablehook = _hide_interrupts
    answer_before = signal.getsignal(signal.SIGTERM)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        signal.signal(signal.SIGTERM, answer_before)
        signal.set_wakeup_fd(wakeup_fd_before)
        sys.unraisablehook = hook_before
        os.close(writer)
        watcher.join()
        os.close(reader)


def _repeat(reader: int, ended: threading.Event, patience_seconds: float) -> None:
    """Ends without a word if the pipe is gone: the main thread may be interrupted while it closes it."""
    with suppress(OSError):
        while received := os.read(reader, 1):
            if received[0] in ENDING:
                while not ended.wait(patience_seconds):
                    os.kill(os.getpid(), received[0])
                return


def _hide_interrupts(unraisable: "sys.UnraisableHookArgs") -> None:
    if issubclass(unraisable.exc_type, Exception):
        sys.__unraisablehook__(unraisable)
