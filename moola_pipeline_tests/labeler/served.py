"""A labeler that is served in this process or in one of its own, and a browser to use it."""

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from moola_pipeline.cli.services import next_free
from moola_pipeline.labeler.current import CurrentLabeler
from moola_pipeline.labeler.opening import LabelRequest, OpenedLabeler, open_labeler
from moola_pipeline.labeler.server import LabelerServer, make_app
from moola_pipeline.storage.home import PROJECT_ROOT, Home

TOKEN, TAB = "token-of-a-test", "tab-of-a-test"
PORT = 18_400 + 100 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
"""Each process that runs tests looks for a free port from its own on: two would find the same one."""
NAMES = ("chromium", "chromium-browser", "google-chrome")


class NoRun:
    """In place of the run that learns: counts how often it was started."""

    started = 0

    def facts(self) -> dict[str, Any]:
        return {"state": "running" if self.started else "idle", "text": "moola run rebuilds 3 of 9 assets"}

    def start(self) -> None:
        self.started += 1


def opened_labeler(home: Home, request: LabelRequest) -> OpenedLabeler:
    return open_labeler(home, request, NoRun())


@dataclass
class Served:
    """A server in this process.

    Attributes:
        labeler: What it serves.
        port: On loopback.
    """

    labeler: CurrentLabeler
    port: int
    token: str = TOKEN

    @property
    def opened(self) -> OpenedLabeler:
        return self.labeler.opened

    @property
    def link(self) -> str:
        return f"http://127.0.0.1:{self.port}/{self.token}/"

    def get(self, path: str, **headers: str) -> tuple[int, str, dict[str, str]]:
        return self.request("GET", path, None, headers)

    def request(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[int, str, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, given)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, text, {name.lower(): value for name, value in answer.getheaders()}

    def send(self, message: Any, **headers: str) -> tuple[int, dict[str, Any]]:
        body = message if isinstance(message, bytes) else json.dumps(message).encode()
        status, text, _ = self.request(
            "POST", f"/{self.token}/message", body, {"content-type": "application/json", **headers}
        )
        return status, json.loads(text) if text.startswith("{") else {"error": text}

    def act(self, kind: str, **more: Any) -> dict[str, Any]:
        """Send a message of the page that works; it must be accepted."""
        session = self.opened.session
        message: dict[str, Any] = {"kind": kind, "tab": TAB}
        if kind != "open":
            message |= {"revision": session.revision, "window": session.current}
        status, answer = self.send(message | more)
        assert status == 200, answer
        return answer


@contextmanager
def serving(home: Home, request: LabelRequest) -> Iterator[Served]:
    """Serve the labeler of a home in a thread."""
    labeler, port = CurrentLabeler(home, request, NoRun()), next_free(PORT)
    app = make_app(labeler.answering, TOKEN, port)
    server = LabelerServer(app, port)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        time.sleep(0.01)
    try:
        yield Served(labeler, port)
    finally:
        server.should_exit = True
        thread.join()
        labeler.close()
        labeler.opened.ranking.wait()


class LabelerProcess:
    """`moola label` in a process of its own."""

    def __init__(self, home: Path, *words: str) -> None:
        command = [
            sys.executable,
            "-m",
            "moola_pipeline",
            "--home",
            str(home),
            "label",
            "--no-open",
            "--json",
        ]
        self.process = subprocess.Popen(
            [*command, *words], cwd=PROJECT_ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        read = ""
        while not read.endswith("}\n"):
            line = self.process.stdout.readline()
            assert line, self.process.communicate()[1]
            read += line
        self.link: str = json.loads(read)["link"]

    def kill(self) -> None:
        """End it at once, as a power failure would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()

    def stop(self) -> str:
        """End it by Ctrl-C; what it said on stderr."""
        self.process.send_signal(signal.SIGINT)
        return self.process.communicate(timeout=120)[1]


def chromium_path() -> str:
    """The installed browser; skips if there is none."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("needs chromium (apt-get install chromium)")
    return found


def sandbox() -> list[str]:
    """Arguments of the browser: it has no sandbox for root."""
    return ["--no-sandbox"] if os.getuid() == 0 else []


@contextmanager
def browser(*arguments: str) -> Iterator[Any]:
    """A browser, started with these arguments; skips if playwright or chromium is not installed."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: install the extra test")
    path = chromium_path()
    with playwright.sync_playwright() as running:
        started = running.chromium.launch(executable_path=path, args=[*sandbox(), *arguments])
        try:
            yield started
        finally:
            started.close()
