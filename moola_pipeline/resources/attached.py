"""Processes that end with the one that started them, however that one ended."""

import os
import threading
import time
from pathlib import Path

LOOK_SECONDS = 0.25


def stay_with(parent: int, folder: Path) -> None:
    """End this process, at once and without a word, when its parent is gone or has removed the folder.

    A process whose parent dies is given another one; a thread looks for that, so that it works on
    every system, and while the others compute or wait.

    Args:
        parent: Number of the process that started this one; told by it, since it may be gone already.
        folder: What both work in.
    """

    def watch() -> None:
        while os.getppid() == parent and folder.is_dir():
            time.sleep(LOOK_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, name="attached", daemon=True).start()
