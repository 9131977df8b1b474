"""`moola ui`: both servers on loopback, in one home, until the user stops them."""

import contextlib
import http.client
import json
import signal
import socket
import threading
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._core.test_utils import create_run_for_test

from moola_pipeline.assets.metadata import LINEAGE
from moola_pipeline.cli.run import run_lock
from moola_pipeline.cli.services import is_free
from moola_pipeline.cli.ui import only_ui, release_runs_of_earlier_ui
from moola_pipeline.errors import BadInput
from moola_pipeline.resources.instance import run_tags
from moola_pipeline.storage.home import Home
from moola_pipeline_tests.cli.calls import call, complaint, start
from moola_pipeline_tests.homes import instance_of

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


def test_a_run_that_ended_with_its_ui_has_failed_and_one_of_a_working_moola_run_is_left_alone(
    isolated_home: Path,
):
    home = Home(isolated_home)
    with instance_of(home) as instance:
        gone = {GRPC_INFO_TAG: json.dumps({"socket": str(isolated_home / "gone")})}
        killed, working = (
            create_run_for_test(instance, "train", status=dg.DagsterRunStatus.STARTED, tags=tags).run_id
            for tags in (gone, run_tags())
        )
        with run_lock(home):
            release_runs_of_earlier_ui(home)
            assert {run.status for run in instance.get_runs()} == {dg.DagsterRunStatus.STARTED}
        instance.delete_run(working)
        release_runs_of_earlier_ui(home)
        run = instance.get_run_by_id(killed)
        assert run is not None and run.status == dg.DagsterRunStatus.FAILURE


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
