"""Servers on loopback ports that run together until one ends or the user stops them."""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from moola_pipeline.errors import MoolaError

LOOPBACK = "127.0.0.1"
LAST_PORT = 65_535


def is_free(port: int) -> bool:
    """True if nothing listens on the port and a server could bind it."""
    with socket.socket() as caller:
        caller.settimeout(1)
        if caller.connect_ex((LOOPBACK, port)) == 0:
            return False
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: ignore TIME_WAIT
        try:
            server.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def next_free(port: int, taken: frozenset[int] = frozenset()) -> int:
    """The first free port from `port` on that is not in `taken`.

    Raises:
        OSError: If there is none.
    """
    for candidate in range(port, LAST_PORT + 1):
        if candidate not in taken and is_free(candidate):
            return candidate
    raise OSError(f"a port from {port} to {LAST_PORT} must be free, but none is")


KEPT_LINES = 15
START_SECONDS = 180
GRACE_SECONDS = 20
POLL_SECONDS = 0.25


class ServiceEnded(MoolaError):
    """A server ended, or did not answer, while it was needed."""


@dataclass(frozen=True)
class Service:
    """A server to start; once it is up it answers on the path `probe`."""

    name: str
    command: Sequence[str]
    port: int
    probe: str

    @property
    def url(self) -> str:
        """Address on this machine."""
        return f"http://{LOOPBACK}:{self.port}"


@dataclass
class RunningService:
    """A server in its own process group, and its last lines of output."""

    service: Service
    process: subprocess.Popen[str]
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=KEPT_LINES))

    def __post_init__(self) -> None:
        # Read continuously: a full pipe would block the server.
        self.reader = threading.Thread(target=self.lines.extend, args=(self.process.stdout,), daemon=True)
        self.reader.start()

    def require_alive(self) -> None:
        """Raise ServiceEnded if the server has ended; `lines` then holds its last output."""
        code = self.process.poll()
        if code is not None:
            self.reader.join(timeout=1)
            raise ServiceEnded(f"{self.service.name} must keep running, but ended with exit code {code}.")

    def answers(self) -> bool:
        """True if the server answers its probe."""
        connection = http.client.HTTPConnection(LOOPBACK, self.service.port, timeout=5)
        try:
            connection.request("GET", self.service.probe)
            return connection.getresponse().status < http.client.INTERNAL_SERVER_ERROR
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def finish(self) -> None:
        """Wait for the server to end, then send SIGTERM to the rest of its process group and wait again."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(GRACE_SECONDS)
        deadline = time.monotonic() + GRACE_SECONDS
        self._signal_group(signal.SIGTERM)
        while self._signal_group(0) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)

    def kill(self) -> None:
        """Kill what is left of the server's process group."""
        self._signal_group(signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL)
        self.process.wait()
        self.reader.join(timeout=1)
        if self.process.stdout and not self.reader.is_alive():
            self.process.stdout.close()

    def _signal_group(self, number: int) -> bool:
        """Signal all processes of the group; False if no process is left."""
        self.process.poll()  # reap a server that has ended: a zombie still counts
        if sys.platform == "win32":  # no process groups: the server alone is ended
            if number:
                self.process.terminate()
            return self.process.poll() is None
        try:
            os.killpg(self.process.pid, number)
        except (ProcessLookupError, PermissionError):  # PermissionError: a group of zombies on macOS
            return False
        return True


@contextlib.contextmanager
def running(
    services: Sequence[Service], environment: Mapping[str, str], folder: Path
) -> Iterator[list[RunningService]]:
    """Start the servers in `folder` and stop them at the end; a second interrupt kills them."""
    started: list[RunningService] = []
    try:
        for service in services:
            started.append(_start(service, environment, folder))
        yield started
    finally:
        try:
            for server in started:
                server.process.terminate()
            for server in started:
                server.finish()
        finally:
            for server in started:
                server.kill()


def _start(service: Service, environment: Mapping[str, str], folder: Path) -> RunningService:
    process = subprocess.Popen(
        service.command,
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,  # own process group: Ctrl-C reaches it only through us
    )
    return RunningService(service, process)


def wait_until_up(started: Sequence[RunningService]) -> None:
    """Wait until every server answers.

    Raises:
        ServiceEnded: If one ends first, or does not answer in START_SECONDS.
    """
    deadline = time.monotonic() + START_SECONDS
    waiting = list(started)
    while waiting:
        for server in started:
            server.require_alive()
        waiting = [server for server in waiting if not server.answers()]
        if waiting and time.monotonic() > deadline:
            names = " and ".join(server.service.name for server in waiting)
            raise ServiceEnded(f"{names} must answer within {START_SECONDS} s, but did not. Try again.")
        time.sleep(POLL_SECONDS)


def wait_while_up(started: Sequence[RunningService]) -> None:
    """Wait until a server ends.

    Raises:
        ServiceEnded: When one does.
    """
    while True:
        for server in started:
            server.require_alive()
        time.sleep(POLL_SECONDS)
