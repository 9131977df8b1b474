"""One `moola run` at a time in a home; servers on loopback alone."""

import ipaddress
import threading
from pathlib import Path

import pytest

from moola_pipeline.cli.run import exclusive_run, run_lock
from moola_pipeline.cli.services import LOOPBACK
from moola_pipeline.selftest.verify import verify_home
from moola_pipeline.storage.asset_checksums import write_checksums
from moola_pipeline.storage.atomic_write import atomic_write_bytes
from moola_pipeline.storage.home import Home
from moola_pipeline_tests.cli.calls import call

WAITS = "Another moola command is using this home. Waiting for it to finish ...\n"


def test_a_second_command_prints_a_line_waits_and_continues(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    home, entered = Home(tmp_path), threading.Event()
    home.dagster.mkdir(parents=True)

    def second() -> None:
        with exclusive_run(home):
            entered.set()

    with run_lock(home):
        waiting = threading.Thread(target=second)
        waiting.start()
        assert not entered.wait(0.5)
    assert entered.wait(10)
    waiting.join()
    assert capsys.readouterr().err == WAITS


def test_verify_waits_for_a_run_that_has_not_written_its_checksums(tmp_path: Path):
    home, done = Home(tmp_path), []
    home.dagster.mkdir(parents=True)
    place = home.store / "simulated-smoke" / "raw_nq_bars"
    file = place.with_suffix(".parquet")
    atomic_write_bytes(file, b"made")
    write_checksums(place)
    with run_lock(home):
        atomic_write_bytes(file, b"made anew")
        assert [one.kind for one in verify_home(home).findings] == ["changed"]
        waiting = threading.Thread(target=lambda: done.append(call("verify", home=tmp_path)))
        waiting.start()
        waiting.join(1)
        assert waiting.is_alive()
        write_checksums(place)
    waiting.join(20)
    assert (done[0].exit_code, done[0].stderr) == (
        0,
        WAITS,
    )
    assert done[0].stdout.endswith("All files match their checksums.\n")


def test_verify_leaves_an_empty_home_empty(tmp_path: Path):
    done = call("verify", home=tmp_path)
    assert (done.exit_code, done.stdout) == (0, "This home holds no files to check yet.\n")
    assert list(tmp_path.iterdir()) == []


def test_servers_listen_on_loopback_only():
    assert ipaddress.ip_address(LOOPBACK).is_loopback
