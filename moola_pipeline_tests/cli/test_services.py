"""Servers beside each other: ports, waiting, early ends, and no process left behind."""

import os
import signal
import socket
import sys
import time
from pathlib import Path

import pytest

from moola_pipeline.cli import services
from moola_pipeline.cli.services import (
    Service,
    ServiceEnded,
    is_free,
    next_free,
    running,
    wait_until_up,
    wait_while_up,
)

STUBBORN_CHILD = """
import os, signal, time
if os.fork():
    os.wait()
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up")
time.sleep(60)
"""


def web_server(port: int) -> Service:
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"]
    return Service("Web", command, port, "/")


def script(code: str) -> Service:
    return Service("Script", [sys.executable, "-c", code], next_free(40_000), "/")


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONUNBUFFERED": "1"}


def group_is_empty(leader: int) -> bool:
    try:
        os.killpg(leader, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_taken_port_gives_way_to_the_next_free_one():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert not is_free(port)
        assert next_free(port) > port
    assert is_free(port)
    assert next_free(port) == port
    assert next_free(port, frozenset({port})) > port


def test_no_free_port_is_an_error_with_the_range():
    with pytest.raises(OSError, match="a port from 65535 to 65535 must be free, but none is"):
        next_free(65_535, frozenset({65_535}))


def test_servers_answer_while_they_run_and_are_gone_afterwards(tmp_path: Path):
    first = next_free(40_100)
    wanted = [web_server(first), web_server(next_free(first + 1))]
    with running(wanted, environment(), tmp_path) as started:
        wait_until_up(started)
        assert all(one.answers() for one in started)
    assert [is_free(service.port) for service in wanted] == [True, True]
    assert all(group_is_empty(one.process.pid) for one in started)


def test_a_server_that_ends_early_stops_the_others_and_leaves_its_last_lines(tmp_path: Path):
    dying = script("print('no database'); raise SystemExit(3)")
    web = web_server(next_free(40_200))
    with (
        pytest.raises(ServiceEnded, match=r"^Script must keep running, but ended with exit code 3\.$"),
        running([web, dying], environment(), tmp_path) as started,
    ):
        wait_until_up(started)
    assert list(started[1].lines) == ["no database\n"]
    assert is_free(web.port)


def test_a_server_that_ends_later_is_noticed(tmp_path: Path):
    web = web_server(next_free(40_300))
    with (
        pytest.raises(ServiceEnded, match="^Web must keep running"),
        running([web], environment(), tmp_path) as started,
    ):
        wait_until_up(started)
        os.kill(started[0].process.pid, signal.SIGKILL)
        wait_while_up(started)


def test_a_server_that_never_answers_times_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(services, "START_SECONDS", 0.5)
    with (
        pytest.raises(ServiceEnded, match=r"^Script must answer within 0\.5 s, but did not\."),
        running([script("import time; time.sleep(60)")], environment(), tmp_path) as started,
    ):
        wait_until_up(started)


def test_a_child_that_ignores_sigterm_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(services, "GRACE_SECONDS", 0.5)
    with running([script(STUBBORN_CHILD)], environment(), tmp_path) as started:
        while not started[0].lines:
            time.sleep(0.05)
    deadline = time.monotonic() + 5
    while not group_is_empty(started[0].process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert group_is_empty(started[0].process.pid)


def test_only_the_last_lines_are_kept(tmp_path: Path):
    with running([script("for n in range(100): print(n)")], environment(), tmp_path) as started:
        started[0].reader.join(timeout=30)
    assert list(started[0].lines) == [f"{n}\n" for n in range(85, 100)]
