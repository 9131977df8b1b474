"""Progress of a run: share, elapsed and left by hand, a live terminal, and lines elsewhere."""

import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moola_pipeline.cli.progress import RunProgress, busy, run_progress, shown_duration
from moola_pipeline_tests.cli.calls import start

EXPECTED = {"one": 10.0, "two": 20.0, "three": 30.0}
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def at_work() -> tuple[RunProgress, Clock, list[str]]:
    lines: list[str] = []
    clock = Clock()
    return RunProgress(EXPECTED, lines.append, clock), clock, lines


def test_share_elapsed_and_left_of_a_stage_and_of_the_run():
    progress, clock, _ = at_work()
    progress.start_stage("one")
    clock.now = 4.0
    assert progress.rows() == [
        ("one", 0.4, "0:04", "0:06 left", ""),
        ("all 3 stages", pytest.approx(4 / 60), "0:04", "0:56 left", ""),
    ]


def test_counted_work_corrects_what_is_left():
    """At 12 s half of the epochs are done: half of the expected 20 s is left, whatever was spent."""
    progress, clock, _ = at_work()
    progress.start_stage("two")
    clock.now = 12.0
    progress.count(1, 2, "epoch 1/2")
    assert progress.rows()[0] == ("two", pytest.approx(12 / 22), "0:12", "0:10 left", "epoch 1/2")
    clock.now = 15.0
    assert progress.left_of_stage() == 7.0


def test_a_slow_machine_lengthens_what_is_left():
    progress, clock, _ = at_work()
    progress.start_stage("one")
    clock.now = 20.0  # twice as long as expected
    progress.end_stage()
    assert progress.left() == 2 * (20 + 30)
    progress.start_stage("two")
    assert progress.left_of_stage() == 40.0


def test_a_stage_over_its_estimate_says_so_and_the_run_has_at_least_the_rest_left():
    progress, clock, _ = at_work()
    progress.start_stage("one")
    clock.now = 11.0
    (stage, run) = progress.rows()
    assert stage[1:4] == (0.99, "0:11", "over estimate")
    assert run[3] == "> 0:50 left"


def test_the_line_of_a_stage_has_its_seconds_and_how_it_ended():
    progress, clock, lines = at_work()
    progress.start_stage("one")
    clock.now = 3.25
    progress.end_stage()
    progress.start_stage("two")
    clock.now = 4.25
    progress.end_stage("failed")
    progress.end_stage("stopped")
    assert lines == [f"{'one':<20}  3.2 s", f"{'two':<20}  failed after 1.0 s"]


def test_a_stage_that_nobody_expected_is_shown_without_an_estimate():
    progress, clock, _ = at_work()
    progress.start_stage("four")
    clock.now = 1.0
    assert progress.rows()[0][:4] == ("four", 0.99, "0:01", "over estimate")


@given(st.lists(st.tuples(st.floats(0, 50), st.integers(0, 4), st.booleans()), max_size=12))
def test_shares_stay_below_one_and_left_is_never_negative(acts: list[tuple[float, int, bool]]):
    progress, clock, _ = at_work()
    names = [*EXPECTED, "four"]
    for seconds, done, ends in acts:
        clock.now += seconds
        if progress.running is None and names:
            progress.start_stage(names.pop(0))
        elif ends:
            progress.end_stage()
        else:
            progress.count(done, 4, "")
        assert all(0 <= share <= 0.99 for _, share, *_ in progress.rows())
        assert progress.left() >= progress.left_of_stage() >= 0


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.4, "0:00"), (59.6, "1:00"), (750, "12:30"), (3723, "1:02:03")]
)
def test_durations_are_shown_as_a_clock_shows_them(seconds: float, shown: str):
    assert shown_duration(seconds) == shown


def two_stages() -> None:
    with run_progress({"one": 0.1, "two": 0.1}) as progress:
        for name in ("one", "two"):
            progress.start_stage(name)
            progress.count(1, 2, "epoch 1/2")
            progress.end_stage()


def on_a_terminal(act: Callable[[], None], monkeypatch: pytest.MonkeyPatch, term: str = "xterm") -> str:
    outer, inner = pty.openpty()
    try:
        with os.fdopen(inner, "w") as terminal, monkeypatch.context() as patched:
            patched.setattr(sys, "stderr", terminal)
            patched.setenv("TERM", term)
            act()
        return b"".join(iter(lambda: _read(outer), b"")).decode()
    finally:
        os.close(outer)


def _read(terminal: int) -> bytes:
    """The available bytes; empty after the end of the stream."""
    try:
        return os.read(terminal, 4096)
    except OSError:
        return b""


def test_off_a_terminal_each_stage_is_one_line_on_standard_output(capfd: pytest.CaptureFixture[str]):
    two_stages()
    output, errors = capfd.readouterr()
    assert re.fullmatch(r"one {17}  \d\.\d s\ntwo {17}  \d\.\d s\n", output)
    assert errors == ""


def test_with_json_nothing_is_printed_off_a_terminal(capfd: pytest.CaptureFixture[str]):
    with run_progress({"one": 1.0}, quiet=True) as progress:
        progress.start_stage("one")
    assert capfd.readouterr() == ("", "")


def test_a_terminal_shows_bars_and_keeps_the_line_of_each_stage(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    shown = on_a_terminal(two_stages, monkeypatch)
    assert "\x1b[?25l" in shown  # the cursor hides, and comes back
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")
    text = ESCAPES.sub("", shown)
    assert re.search(r"all 2 stages .*━.* +\d+%  0:00", text)
    assert len(re.findall(r"(?:one|two) {17}  \d\.\d s\r\n", text)) == 2
    assert capfd.readouterr().out == ""


def test_a_terminal_that_cannot_move_its_cursor_gets_lines(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    assert on_a_terminal(two_stages, monkeypatch, term="dumb") == ""
    assert capfd.readouterr().out.count("\n") == 2


def test_an_interrupt_gives_the_cursor_back_and_ends_the_line(monkeypatch: pytest.MonkeyPatch):
    def interrupted() -> None:
        with pytest.raises(KeyboardInterrupt), run_progress({"one": 1.0}) as progress:
            progress.start_stage("one")
            raise KeyboardInterrupt

    shown = on_a_terminal(interrupted, monkeypatch)
    assert "stopped after 0.0 s" in shown
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")


def test_the_display_stays_on_the_terminal_while_a_step_sends_its_output_to_a_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path
):
    """Dagster points descriptors 1 and 2 at files while a step runs."""

    def redirected() -> None:
        kept = os.dup(sys.stderr.fileno())
        with run_progress({"one": 1.0}) as progress, (tmp_path / "err").open("w") as file:
            os.dup2(file.fileno(), sys.stderr.fileno())
            progress.start_stage("one")
            progress.end_stage()
        os.dup2(kept, sys.stderr.fileno())
        os.close(kept)

    assert re.search(r"one {17}  0\.0 s", on_a_terminal(redirected, monkeypatch))
    assert (tmp_path / "err").read_text() == ""


def test_a_wait_shows_its_text_on_a_terminal_and_nothing_elsewhere(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    def wait() -> None:
        with busy("Loading the model"):
            pass

    wait()
    assert capfd.readouterr() == ("", "")
    assert "Loading the model ...  0:00" in on_a_terminal(wait, monkeypatch)


def test_a_closed_pipe_does_not_end_the_run():
    code = (
        "import sys; sys.stdin.readline()\n"
        "from moola_pipeline.cli.progress import run_progress\n"
        "with run_progress({'one': 1.0}) as progress:\n"
        "    progress.start_stage('one'); progress.end_stage(); print('goes on', file=sys.stderr)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    assert process.communicate("\n")[1] == "goes on\n"


def test_rich_is_imported_on_a_terminal_only():
    code = (
        "import sys; from moola_pipeline.cli.progress import run_progress\n"
        "with run_progress({'one': 1.0}): pass\n"
        "print('rich' in sys.modules)"
    )
    assert start(code).communicate() == ("False\n", "")
