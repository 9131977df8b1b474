"""One `moola run` at a time in a home; servers on loopback alone."""

import ipaddress
import threading
from pathlib import Path

import pytest

from moola_pipeline.cli.ports import LOOPBACK
from moola_pipeline.cli.run import alone_in, run_lock
from moola_pipeline.home import Home


def test_the_second_waits_says_for_what_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    home, entered = Home(tmp_path), threading.Event()
    home.dagster.mkdir(parents=True)

    def second() -> None:
        with alone_in(home):
            entered.set()

    with run_lock(home):
        waiting = threading.Thread(target=second)
        waiting.start()
        assert not entered.wait(0.5)
    assert entered.wait(10)
    waiting.join()
    assert capsys.readouterr().err == "Another moola run is at work in this home; waiting for it to end ...\n"


def test_servers_are_bound_to_this_machine_alone():
    assert ipaddress.ip_address(LOOPBACK).is_loopback
