"""Work beside the page: in a thread, one piece at a time."""

import threading
from collections.abc import Callable


class BackgroundWork:
    """A thread that does one piece of work after the other."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None

    def start(self, work: Callable[[], None]) -> bool:
        """Start a piece of work; False if the one before is still going on."""
        if self._thread is not None and self._thread.is_alive():
            return False
        self._thread = threading.Thread(target=work, daemon=True)
        self._thread.start()
        return True

    def wait(self) -> None:
        """Wait until the work that is going on is done."""
        if self._thread is not None:
            self._thread.join()
