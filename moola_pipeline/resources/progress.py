"""What a person sees while a long run works: stage, epoch, time left; nothing where no one looks."""

import sys
import time

_stage = {"name": "", "started": 0.0, "length": 0}


def show_stage(name: str) -> None:
    """Name the stage that begins; ends the line of the stage before."""
    _finish()
    _stage.update(name=name, started=time.monotonic())
    _write(f"{name} ...")


def show_epoch(done: int, total: int, note: str = "") -> None:
    """Tell how far the stage is, and how long the rest will take at this pace."""
    if done:
        left = (time.monotonic() - _stage["started"]) / done * (total - done)
        _write(f"{_stage['name']}  epoch {done}/{total}  {left:.0f} s left  {note}")


def show_work(note: str) -> None:
    """Tell what the stage is at, where how much is left is not known."""
    _write(f"{_stage['name']}  {time.monotonic() - _stage['started']:.0f} s  {note}")


def finish() -> None:
    """End the last stage's line."""
    _finish()
    _stage.update(name="", length=0)


def _finish() -> None:
    if _stage["name"]:
        _write(f"{_stage['name']}  {time.monotonic() - _stage['started']:.1f} s")
        if sys.stderr.isatty():
            sys.stderr.write("\n")
        _stage["length"] = 0


def _write(text: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write("\r" + text.ljust(int(_stage["length"])))
        sys.stderr.flush()
        _stage["length"] = len(text)
