"""`moola ui`: both servers on loopback, in one home, until the user stops them."""

import contextlib
import http.client
import json
import signal
import socket
import threading
from pathlib import Path

import pytest

from moola_pipeline.assets.metadata import LINEAGE
from moola_pipeline.cli.services import is_free
from moola_pipeline.cli.ui import only_ui
from moola_pipeline.errors import BadInput
from moola_pipeline.storage.home import Home
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


def test_a_second_ui_in_a_home_names_the_first_one(isolated_home: Path):
    home = Home(isolated_home)
    with only_ui(home) as addresses:
        for written, where in (
            (None, "it has no address yet"),
            (
                {"dagster": "http://127.0.0.1:3000", "mlflow": "http://127.0.0.1:5000"},
                "dagster http://127.0.0.1:3000",
            ),
        ):
            if written:
                addresses.write_text(json.dumps(written))
            with pytest.raises(BadInput, match=f"{isolated_home} has one already: {where}"), only_ui(home):
                raise AssertionError("a second one must not start")
    assert not addresses.exists()
    with only_ui(home):
        pass


def test_a_ui_that_was_killed_does_not_block_the_next_one(isolated_home: Path):
    home = Home(isolated_home)
    home.dagster.mkdir()
    (home.dagster / "ui.json").write_text('{"dagster": "http://127.0.0.1:1"}')
    with only_ui(home) as addresses:
        assert addresses == home.dagster / "ui.json"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_both_servers_run_on_loopback_and_end_with_the_command(number: signal.Signals, tmp_path: Path):
    home = tmp_path / "home"
    home.mkdir()
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
    dagster, mlflow = (
        urls["dagster"].removesuffix(LINEAGE),
        urls["mlflow"].removesuffix("/#/experiments?workflowType=machine_learning"),
    )
    assert status_of(dagster, "/server_info") == 200
    assert status_of(mlflow, "/health") == 200
    assert len({dagster, mlflow, f"http://127.0.0.1:{port}"}) == 3
    second = call("ui", home=home)
    assert second.exit_code == 2
    assert complaint(second) == (
        f"A home must have one moola ui at a time, but {home} has one already: dagster {dagster} and mlflow "
        f"{mlflow}. Open it, or stop it first."
    )
    assert (home / "dagster.yaml").is_file()
    assert (home / ".dagster" / "storage").is_dir()
    process.send_signal(number)
    process.communicate(timeout=120)
    watchdog.cancel()
    assert process.returncode == 130
    assert all(is_free(int(url.rpartition(":")[2])) for url in (dagster, mlflow))
