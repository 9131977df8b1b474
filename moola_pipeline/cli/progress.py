"""Progress of a run: a live display on a terminal, elsewhere one line for each stage."""

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

NAME_WIDTH, BAR_WIDTH = 20, 20
"""Characters."""
MAX_SHARE = 0.99
"""Share shown of a stage that takes longer than expected."""
MIN_PACE_SECONDS = 5.0
"""Expected seconds of finished stages from which their true seconds correct what is left."""
MIN_PACE, MAX_PACE = 0.25, 4.0
REFRESHES_PER_SECOND = 4
MINUTE, HOUR = 60, 3600


@dataclass
class RunningStage:
    """A stage that is at work.

    Attributes:
        name: The asset.
        started: When, on the clock of `RunProgress`, seconds.
        share_done: Share of its countable work that is done, in [0, 1].
        counted_at: When that share was reported.
        note: What it does now.
    """

    name: str
    started: float
    share_done: float = 0.0
    counted_at: float = 0.0
    note: str = ""


class RunProgress:
    """Shows the stages of a run: share done, seconds elapsed and seconds left of each and of all.

    Args:
        expected: Expected seconds of each stage, in order.
        write_line: Writes the line of a stage that has ended.
        clock: Seconds.
    """

    def __init__(
        self,
        expected: Mapping[str, float],
        write_line: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.expected, self.write_line, self.clock = dict(expected), write_line, clock
        self.started = clock()
        self.finished: dict[str, float] = {}
        self.running: RunningStage | None = None

    def start_stage(self, name: str) -> None:
        """A stage begins."""
        now = self.clock()
        self.running = RunningStage(name, now, counted_at=now)

    def end_stage(self, outcome: str = "") -> None:
        """The running stage has ended; `outcome` says how, if not well. Without one, nothing happens."""
        if self.running is not None:
            name, seconds = self.running.name, self.clock() - self.running.started
            self.running, self.finished[name] = None, seconds
            self.write_line(f"{name:<{NAME_WIDTH}}  {f'{outcome} after ' if outcome else ''}{seconds:.1f} s")

    def count(self, done: int, total: int, note: str) -> None:
        """Part of the running stage's work is done: `done` of `total` epochs."""
        if self.running is not None and total:
            self.running.share_done, self.running.counted_at = done / total, self.clock()
            self.running.note = note

    def note(self, text: str) -> None:
        """What the running stage does now."""
        if self.running is not None:
            self.running.note = text

    def left_of_stage(self) -> float:
        """Expected seconds left of the running stage; 0 if it takes longer than expected.

        Before any work is counted, this is the expected duration minus the elapsed seconds; later the
        uncounted share of it, minus the seconds since the last count.
        """
        if self.running is None:
            return 0.0
        whole = self._pace() * self.expected.get(self.running.name, 0.0)
        left = (1 - self.running.share_done) * whole
        return max(left - (self.clock() - self.running.counted_at), 0.0)

    def left(self) -> float:
        """Expected seconds left of the run."""
        named = {*self.finished, self.running.name} if self.running else set(self.finished)
        waiting = sum(seconds for name, seconds in self.expected.items() if name not in named)
        return self.left_of_stage() + self._pace() * waiting

    def _pace(self) -> float:
        """True over expected seconds of the finished stages."""
        expected = sum(self.expected.get(name, 0.0) for name in self.finished)
        if expected < MIN_PACE_SECONDS:
            return 1.0
        return min(max(sum(self.finished.values()) / expected, MIN_PACE), MAX_PACE)

    def rows(self) -> list[tuple[str, float, str, str, str]]:
        """Rows of the display: name, share done, elapsed and left (texts), note."""
        now, rows = self.clock(), []
        left, late = self.left_of_stage(), False
        if self.running is not None:
            late = not left
            elapsed = now - self.running.started
            shown = "over estimate" if late else f"{shown_duration(left)} left"
            rows.append((self.running.name, _share(elapsed, left), elapsed, shown, self.running.note))
        elapsed, left = now - self.started, self.left()
        shown = f"{'> ' if late else ''}{shown_duration(left)} left" if left else ""
        title = f"all {len(self.expected)} stages" if len(self.expected) > 1 else "the run"
        rows.append((title, _share(elapsed, left), elapsed, shown, ""))
        return [(name, share, shown_duration(spent), *texts) for name, share, spent, *texts in rows]


def _share(elapsed: float, left: float) -> float:
    return min(elapsed / (elapsed + left), MAX_SHARE) if elapsed else 0.0


def shown_duration(seconds: float) -> str:
    """A duration as 0:05, 12:30 or 1:02:03."""
    whole = round(seconds)
    hours, minutes = divmod(whole // MINUTE, MINUTE)
    return (
        f"{hours}:{minutes:02d}:{whole % MINUTE:02d}" if whole >= HOUR else f"{minutes}:{whole % MINUTE:02d}"
    )


@contextmanager
def run_progress(expected: Mapping[str, float], quiet: bool = False) -> Iterator[RunProgress]:
    """Show the progress of the run inside: live on a terminal, else as lines on standard output.

    Dagster redirects the output of a step to a file; the display keeps the terminal that it had before.

    Args:
        expected: Expected seconds of each stage, in order.
        quiet: Off a terminal, print nothing.
    """
    with ExitStack() as stack:
        console = _terminal(stack)
        if console is None:
            output = stack.enter_context(_kept_open(sys.stdout))
            progress = RunProgress(expected, lambda line: None if quiet else _write(output, line))
        else:
            progress = RunProgress(expected, lambda line: console.print(line, highlight=False, markup=False))
            stack.enter_context(_live(console, lambda: _table(progress.rows())))
        try:
            yield progress
        except BaseException:
            progress.end_stage("stopped")
            raise
        progress.end_stage("stopped")


@contextmanager
def busy(text: str) -> Iterator[None]:
    """Show a text and the elapsed seconds while the work inside lasts; nothing if there is no terminal."""
    with ExitStack() as stack:
        console, started = _terminal(stack), time.monotonic()
        if console is not None:

            def view() -> "RenderableType":
                from rich.text import Text

                return Text(f"{text} ...  {shown_duration(time.monotonic() - started)}")

            stack.enter_context(_live(console, view))
        yield


def _terminal(stack: ExitStack) -> "Console | None":
    """The terminal of standard error; None if it is none, or cannot move its cursor."""
    if not sys.stderr.isatty() or os.environ.get("TERM") in ("dumb", "unknown"):
        return None
    from rich.console import Console  # slow to import

    return Console(file=stack.enter_context(_kept_open(sys.stderr)), force_terminal=True)


@contextmanager
def _live(console: "Console", view: Callable[[], "RenderableType"]) -> Iterator[None]:
    from rich.live import Live

    with Live(
        get_renderable=view,
        console=console,
        refresh_per_second=REFRESHES_PER_SECOND,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    ):
        yield


def _table(rows: list[tuple[str, float, str, str, str]]) -> "RenderableType":
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    table.add_column(width=NAME_WIDTH, no_wrap=True)
    table.add_column(width=BAR_WIDTH, no_wrap=True)
    for _ in range(3):
        table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True, overflow="ellipsis")
    for name, share, elapsed, left, note in rows:
        bar = ProgressBar(total=1.0, completed=share, width=BAR_WIDTH)
        table.add_row(name, bar, f"{share:.0%}", elapsed, left, note)
    return table


@contextmanager
def _kept_open(stream: TextIO) -> Iterator[TextIO]:
    """A copy of a stream that stays with its target if the stream is redirected; itself if it has none."""
    try:
        number = os.dup(stream.fileno())
    except (OSError, ValueError):  # not a file, as in tests
        yield stream
        return
    stream.flush()
    copy = os.fdopen(number, "w", encoding="utf-8", errors="replace")
    try:
        yield copy
    finally:
        with suppress(BrokenPipeError):  # its reader has gone
            copy.close()


def _write(output: TextIO, line: str) -> None:
    with suppress(BrokenPipeError):
        output.write(f"{line}\n")
        output.flush()
