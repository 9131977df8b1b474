"""`moola ui`: both servers on loopback, in one home, until the user stops them."""

import contextlib
import http.client
import json
import signal
import socket
import threading
from pathlib import Path

import pytest

from moola_pipeline.cli.services import is_free
from moola_pipeline_tests.cli.calls import call, complaint, start

UP_SECONDS = 240


def status_of(url: str, path: str) -> int:
    host, _, port = url.removeprefix("http://").partition("/")[0].partition(":")
    with contextlib.closing(http.client.HTTPConnection(host, int(port), timeout=30)) as connection:
        connection.request("GET", path)
        return connection.getresponse().status


@pytest.mark.parametrize("port", ["0", "65536", "web"])
def test_an_invalid_port_exits_2(port: str):
    result = call("ui", "--port", port)
    assert result.exit_code == 2
    assert "'--port'" in complaint(result)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_both_servers_run_on_loopback_and_end_with_the_command(number: signal.Signals, tmp_path: Path):
    home = tmp_path / "home"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code = "from moola_pipeline.cli import main; main()"
        words = ["--home", home, "ui", "--json", "--port", port, "--mlflow-port", port]
        process = start(code, *words)
        watchdog = threading.Timer(UP_SECONDS, process.kill)
        watchdog.start()
        assert process.stdout is not None
        shown = "".join(iter(process.stdout.readline, "}\n")) + "}"
    urls = json.loads(shown)
    dagster, mlflow = urls["dagster"], urls["mlflow"].removesuffix("/#/experiments")
    assert status_of(dagster, "/server_info") == 200
    assert status_of(mlflow, "/health") == 200
    assert len({dagster, mlflow, f"http://127.0.0.1:{port}"}) == 3
    assert (home / "dagster.yaml").is_file()
    assert (home / ".dagster" / "storage").is_dir()
    process.send_signal(number)
    process.communicate(timeout=120)
    watchdog.cancel()
    assert process.returncode == 130
    assert all(is_free(int(url.rpartition(":")[2])) for url in (dagster, mlflow))
