"""Ctrl-C ends the work even if a handler drops the first signal."""

import os
import signal
import sys
import threading
import time

import pytest

from moola_pipeline.cli.signals import repeat_interrupt


@pytest.fixture
def dropping_handler():
    """A handler that drops the first signal, as Dagster does between two steps."""
    signals = []

    def handler(number: int, _: object) -> None:
        signals.append(number)
        if len(signals) > 1:
            raise KeyboardInterrupt

    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    yield signals
    for number, handler_before in before.items():
        signal.signal(number, handler_before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_dropped_signal_is_repeated(dropping_handler: list[int], number: signal.Signals):
    with pytest.raises(KeyboardInterrupt), repeat_interrupt(patience_seconds=0.05):
        os.kill(os.getpid(), number)
        time.sleep(5)
    assert dropping_handler == [number, number]


def test_no_signal_is_repeated_after_the_work_ends(dropping_handler: list[int]):
    with repeat_interrupt(patience_seconds=0.2):
        os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.3)
    assert dropping_handler == [signal.SIGINT]


def test_without_a_signal_the_process_is_unchanged():
    threads, hook = threading.active_count(), sys.unraisablehook
    with repeat_interrupt():
        pass
    assert threading.active_count() == threads
    assert sys.unraisablehook is hook
    assert signal.set_wakeup_fd(-1) == -1


def test_sigterm_is_answered_as_before_whatever_the_work_changed():
    before = signal.getsignal(signal.SIGTERM)
    with repeat_interrupt():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    assert signal.getsignal(signal.SIGTERM) == before


def test_it_does_nothing_in_another_thread():
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
