"""Ctrl-C ends the work even where a handler drops the first."""

import os
import signal
import sys
import threading
import time

import pytest

from moola_pipeline.cli.signals import repeat_interrupt


@pytest.fixture
def forgetful():
    """A handler that drops the first signal, as one between two steps of Dagster's is dropped."""
    came = []

    def handler(number: int, _: object) -> None:
        came.append(number)
        if len(came) > 1:
            raise KeyboardInterrupt

    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    yield came
    for number, kept in before.items():
        signal.signal(number, kept)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_dropped_signal_comes_again(forgetful: list[int], number: signal.Signals):
    with pytest.raises(KeyboardInterrupt), repeat_interrupt(patience_seconds=0.05):
        os.kill(os.getpid(), number)
        time.sleep(5)
    assert forgetful == [number, number]


def test_work_that_ends_in_time_is_left_in_peace(forgetful: list[int]):
    with repeat_interrupt(patience_seconds=0.2):
        os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.3)
    assert forgetful == [signal.SIGINT]


def test_without_a_signal_nothing_is_left_behind():
    threads, hook = threading.active_count(), sys.unraisablehook
    with repeat_interrupt():
        pass
    assert threading.active_count() == threads
    assert sys.unraisablehook is hook
    assert signal.set_wakeup_fd(-1) == -1


def test_another_thread_may_work_without_it():
    worked = []

    def work() -> None:
        with repeat_interrupt():
            worked.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert worked == [True]


def test_an_interruption_in_a_callback_shows_no_traceback(capsys: pytest.CaptureFixture[str]):
    class Ending:
        def __init__(self, fault: BaseException) -> None:
            self.fault = fault

        def __del__(self) -> None:
            raise self.fault

    with repeat_interrupt():
        Ending(KeyboardInterrupt())
        assert capsys.readouterr().err == ""
        Ending(ValueError("a real one"))
        assert "a real one" in capsys.readouterr().err
