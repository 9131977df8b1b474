"""Progress of an asset reaches the listener of the run, and nothing else."""

import pytest

from moola_pipeline.assets.stage import progress_to, show_epoch, show_work


class Listener:
    def __init__(self) -> None:
        self.heard: list[object] = []

    def count(self, done: int, total: int, note: str) -> None:
        self.heard.append((done, total, note))

    def note(self, text: str) -> None:
        self.heard.append(text)


def test_epochs_and_notes_reach_the_listener():
    listener = Listener()
    with progress_to(listener):
        show_epoch(1, 3, "loss 0.5000")
        show_epoch(2, 3)
        show_work("untrained, epoch 4")
    assert listener.heard == [(1, 3, "epoch 1/3  loss 0.5000"), (2, 3, "epoch 2/3"), "untrained, epoch 4"]


def test_after_the_run_nobody_listens():
    listener = Listener()
    with pytest.raises(KeyboardInterrupt), progress_to(listener):
        raise KeyboardInterrupt
    show_epoch(1, 3)
    assert listener.heard == []


def test_without_a_listener_nothing_is_printed(capfd: pytest.CaptureFixture[str]):
    show_epoch(1, 3, "loss 0.5000")
    show_work("untrained")
    assert capfd.readouterr() == ("", "")
