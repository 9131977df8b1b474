"""Path of a file and of a label through the package: `python -m moola_pipeline_tests.walks`.

Registers made-up bars and labels in a temporary home and runs the pipeline, while a profile hook
records which room calls which. A room is a folder or a top-level module of the package. A door is a
pair of rooms, the first of which calls the second.
"""

import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import click
from click.testing import CliRunner

import moola_pipeline
from moola_pipeline.bars.simulated import SMOKE_SETTINGS, simulate
from moola_pipeline.cli import moola
from moola_pipeline.labels.simulated_annotator import draw_labels

PACKAGE = Path(moola_pipeline.__file__).parent
Doors = dict[tuple[str, str], None]
_rooms: dict[CodeType, str | None] = {}


def room_of(code: CodeType) -> str | None:
    """The room of a code object; None for code outside the package."""
    if code not in _rooms:
        path = Path(code.co_filename)
        inside = path.is_relative_to(PACKAGE)
        _rooms[code] = path.relative_to(PACKAGE).with_suffix("").parts[0] if inside else None
    return _rooms[code]


@contextmanager
def doors_noted() -> Iterator[Doors]:
    """Record each pair of calling and called room, in the order of first use."""
    doors: Doors = {}

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event != "call" or frame.f_code.co_name == "<module>":
            return
        room = room_of(frame.f_code)
        if room is None:
            return
        caller = frame.f_back
        while caller is not None and room_of(caller.f_code) is None:
            caller = caller.f_back
        before = room_of(caller.f_code) if caller is not None else None
        if before is not None and before != room:
            doors.setdefault((before, room))

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        yield doors
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def walked(words: Sequence[str]) -> Doors:
    """The doors used by a command.

    Raises:
        RuntimeError: If the command fails.
    """
    with doors_noted() as doors:
        result = CliRunner().invoke(moola, list(words), catch_exceptions=False)
    if result.exit_code != 0:
        raise RuntimeError(
            f"moola {' '.join(words)} must exit with 0, got {result.exit_code}: {result.output}"
        )
    return doors


def described(doors: Doors) -> list[str]:
    """Text lines: the rooms in the order of first entry, with the number of doors into each."""
    into = Counter(room for _, room in doors)
    again = [room for room, n in into.items() if n > 1]
    order = list(dict.fromkeys(room for _, room in doors))
    return [
        f"rooms entered {len(order)}, doors {len(doors)}, rooms entered from more than one {len(again)}",
        "  " + " ".join(f"{room}({into[room]})" for room in order),
    ]


def main() -> None:
    """Trace the three commands, and print their rooms."""
    with tempfile.TemporaryDirectory() as folder:
        bars, labels, home = (Path(folder, name) for name in ("bars.csv", "labels.csv", "home"))
        market = simulate(SMOKE_SETTINGS)
        market.bars.to_csv(bars, index=False, date_format="%Y-%m-%dT%H:%M:%SZ")
        draw_labels(market, SMOKE_SETTINGS).to_csv(labels, index=False, date_format="%Y-%m-%dT%H:%M:%SZ")
        home.mkdir()
        at = ["--home", str(home)]
        splits = ["--train-end", "2025-05-31", "--validation-end", "2025-06-15", "--test-end", "2025-06-30"]
        for title, words in (
            ("a file: moola bars add", ["bars", "add", str(bars), *at]),
            ("a label: moola labels add", ["labels", "add", str(labels), *at]),
            ("both, to weights and report: moola run", ["run", "--profile", "smoke", *splits, *at]),
        ):
            click.echo(title)
            for line in described(walked(words)):
                click.echo(f"  {line}")


if __name__ == "__main__":
    main()
