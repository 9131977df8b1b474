"""A clock of the harness's own for the processes that it starts: it can be moved while they run.

Debian's libfaketime 0.9.10 cannot do it: with the counting clock left alone, its clock_nanosleep fails in
every time.sleep of Python 3.11, and with the counting clock moved, waiting for a lock hangs.
"""

import shutil
import struct
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

SOURCE = Path(__file__).with_suffix(".c")
COMPILER = shutil.which("cc") if sys.platform == "linux" else None
"""The C compiler that builds SOURCE; None where the clock cannot be moved."""


class MovedClock:
    """The time of day of processes that are started with `environment`, ahead of the real one or behind."""

    def __init__(self, folder: Path) -> None:
        self._library, self._offset, self._seconds = folder / "moved_clock.so", folder / "offset", 0
        command = [str(COMPILER), "-shared", "-fPIC", "-O2", "-o", str(self._library), str(SOURCE), "-ldl"]
        subprocess.run(command, check=True)
        self._offset.write_bytes(struct.pack("q", 0))

    @property
    def environment(self) -> dict[str, str]:
        """Variables that give a process this clock."""
        return {"LD_PRELOAD": str(self._library), "MOVED_CLOCK": str(self._offset)}

    def set(self, moment: datetime) -> None:
        """Move the clock of all its processes; it goes on at the usual speed."""
        self._seconds = round(moment.timestamp() - time.time())
        with self._offset.open("r+b") as stream:  # the same file: the processes have it mapped
            stream.write(struct.pack("q", self._seconds))

    def now(self) -> datetime:
        """The time of day of its processes."""
        return datetime.fromtimestamp(time.time() + self._seconds, UTC)
