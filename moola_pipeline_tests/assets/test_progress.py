"""Progress of a run: stage and epoch on a terminal, nothing on other outputs."""

import os
import pty
import re
import sys
from collections.abc import Callable

import pytest

from moola_pipeline.assets import stage


def work() -> None:
    stage.show_stage("pretrained_encoder")
    stage.show_epoch(0, 3)
    stage.show_epoch(1, 3, "loss 0.5000")
    stage.show_epoch(2, 3, "loss 0.25")
    stage.show_stage("finetuned_classifier")
    stage.finish()


def shown_on_a_terminal(act: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> str:
    outer, inner = pty.openpty()
    try:
        with os.fdopen(inner, "w") as terminal, monkeypatch.context() as patched:
            patched.setattr(sys, "stderr", terminal)
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


def test_nothing_is_shown_without_a_terminal(capfd: pytest.CaptureFixture[str]):
    work()
    assert capfd.readouterr() == ("", "")


def test_a_terminal_shows_stage_epoch_time_left_and_loss(monkeypatch: pytest.MonkeyPatch):
    lines = re.split(r"[\r\n]+", shown_on_a_terminal(work, monkeypatch))
    steps = [line.rstrip() for line in lines if line.strip()]
    assert steps[0] == "pretrained_encoder ..."
    assert re.fullmatch(r"pretrained_encoder  epoch 1/3  \d+ s left  loss 0\.5000", steps[1])
    assert re.fullmatch(r"pretrained_encoder  epoch 2/3  \d+ s left  loss 0\.25", steps[2])
    assert re.fullmatch(r"pretrained_encoder  \d+\.\d s", steps[3])
    assert steps[4] == "finetuned_classifier ..."
    assert re.fullmatch(r"finetuned_classifier  \d+\.\d s", steps[5])


def test_a_shorter_text_covers_the_longer_one_before_it(monkeypatch: pytest.MonkeyPatch):
    parts = shown_on_a_terminal(work, monkeypatch).split("\r")
    before, after = (next(part for part in parts if text in part) for text in ("loss 0.5000", "loss 0.25"))
    assert len(after) == len(before)


def test_each_finished_stage_keeps_its_line(monkeypatch: pytest.MonkeyPatch):
    assert shown_on_a_terminal(work, monkeypatch).count("\n") == 2


def test_finishing_without_a_stage_shows_nothing(monkeypatch: pytest.MonkeyPatch):
    def nothing() -> None:
        stage.finish()
        sys.stderr.write("end")

    assert shown_on_a_terminal(nothing, monkeypatch) == "end"
