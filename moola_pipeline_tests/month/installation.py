"""Plays a month of a real installation: `moola ui` with its sensor and schedules, and `moola label`.

    python -m moola_pipeline_tests.month.installation [--days N] [--home DIR]

The clock of these processes jumps to the next session day or Saturday as on a machine that sleeps between.
A bar file arrives at 17:05 New York; once it has settled, the clock jumps past the sensor's pause, and when
its run has ended, to shortly before the schedule. On some days something fails: see FAULTS. Exits with 1 if
a day or a check fails. It needs Linux and a C compiler; the full disk needs root, or a home that is a file
system of its own.
"""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from datetime import time as clock_time
from pathlib import Path
from zoneinfo import ZoneInfo

import click
import psutil

from moola_pipeline.bars.inbox import SETTLE_SECONDS
from moola_pipeline.bars.sessions import NEW_YORK
from moola_pipeline.cli.bench import without_remote_stores
from moola_pipeline.errors import MoolaError
from moola_pipeline.storage.home import Home
from moola_pipeline_tests.counts import record
from moola_pipeline_tests.homes import SMOKE, run_moola
from moola_pipeline_tests.labeler.served import LabelerProcess
from moola_pipeline_tests.month import month_checks
from moola_pipeline_tests.month.judging import Judge
from moola_pipeline_tests.month.market_files import FIRST_BARS, FIRST_LABELS, Day, make_files
from moola_pipeline_tests.month.moved_clock import COMPILER, MovedClock
from moola_pipeline_tests.month.moves import require
from moola_pipeline_tests.month.rehearsal import Rehearsal, Step
from moola_pipeline_tests.month.served_ui import DAILY, SENSOR, WEEKLY, ServedUi
from moola_pipeline_tests.surroundings import surroundings_kept

FULL, KILLED = "the disk is full", "Dagster's daemon is killed during a run"
POWER, ASLEEP = "moola ui is killed with all its processes during a run", "asleep for three days"
FAULTS = {
    date(2025, 11, 4): FULL,
    date(2026, 3, 4): KILLED,
    date(2026, 3, 12): ASLEEP,
    date(2026, 3, 17): POWER,
}
SLEPT = (date(2026, 3, 10), date(2026, 3, 11))
"""Session days through which the machine sleeps; their bars arrive when it wakes."""
START, ARRIVAL, SETTLED, BEFORE_DAILY = "16:00", "17:05", "17:06:30", "17:14:57"
LABELING, BEFORE_WEEKLY = "07:50", "07:59:57"
"""Hours in New York."""
SLEEP_SECONDS, FULL_SECONDS, WAIT_SECONDS, POLL_SECONDS = 3.0, 30.0, 420.0, 2.0
HOME_BYTES = 300_000_000
"""Size of the home's own file system."""
FAILURES = (AssertionError, OSError, psutil.Error, subprocess.SubprocessError)
"""What a helper raises if a command or a server fails; such a day fails, and the month goes on."""


@dataclass
class Installation:
    """A home in use.

    Attributes:
        home: With a champion.
        files: Folder of the files that arrive.
        clock: Of all its processes.
        ui, labeler: The processes.
        judge: Works at the page of the labeler.
        marked: Day on which each session day was marked.
        used: Resident MB and open files of `moola ui`, once a day.
        added: Label files that were added.
        arrived: Bar files that were added.
        late: Bar files that arrive when the machine wakes.
    """

    home: Home
    files: Path
    clock: MovedClock
    ui: ServedUi
    labeler: LabelerProcess
    judge: Judge
    marked: dict[date, date | None] = field(default_factory=dict)
    used: list[tuple[float, int]] = field(default_factory=list)
    added: list[str] = field(default_factory=lambda: [FIRST_LABELS])
    arrived: list[str] = field(default_factory=lambda: [FIRST_BARS])
    late: list[str] = field(default_factory=list)

    def play(self, day: Day) -> str:
        """Live through a day; what happened."""
        if day.labels:
            return self._saturday(day)
        self.marked[day.date] = None
        self.late += day.bars
        if day.date in SLEPT:
            return "asleep"
        said = self._session_day(day.date, FAULTS.get(day.date, ""))
        self.used.append(self.ui.used())
        return f"{said}marked {self.ui.marked_to()}"

    def _saturday(self, day: Day) -> str:
        self.clock.set(_at(day.date, LABELING))
        run_moola(self.home.root, "labels", "add", self.files / day.labels)
        self.added.append(day.labels)
        refusal = self.judge.judge()
        require(not refusal, f"the labeler must save a window, but said: {refusal}")
        self._scheduled(WEEKLY, _at(day.date, BEFORE_WEEKLY))
        tick = self.ui.ticks(WEEKLY)[0]
        return f"{WEEKLY}: {tick.text or tick.status.lower()}; a window is judged"

    def _session_day(self, today: date, fault: str) -> str:
        with self._stopped() if fault == ASLEEP else contextlib.nullcontext():
            self.clock.set(_at(today, ARRIVAL))
            self._deliver()
        time.sleep(SETTLE_SECONDS + 2)
        with self._full_disk() if fault == FULL else contextlib.nullcontext([]) as said:
            self.clock.set(_at(today, SETTLED))
            said += self._meanwhile(fault)
        self._await(f"{SENSOR} must take the bars", lambda: self._took_bars(_at(today, SETTLED)))
        self._scheduled(DAILY, _at(today, BEFORE_DAILY))
        marked, tick = self.ui.marked_to(), self.ui.ticks(DAILY)[0]
        require(marked.endswith(f"to {today}"), f"{today} must be marked, got {marked}; {DAILY}: {tick}")
        self.marked.update({session: today for session, on in self.marked.items() if on is None})
        return "".join(f"{words}; " for words in [fault, *said] if words)

    def _deliver(self) -> None:
        self.home.inbox.mkdir(parents=True, exist_ok=True)
        for name in self.late:
            (self.home.inbox / name).write_bytes((self.files / name).read_bytes())
        self.arrived += self.late
        self.late.clear()

    def _meanwhile(self, fault: str) -> list[str]:
        if fault == FULL:
            time.sleep(FULL_SECONDS)
            refusal = self.judge.judge()
            return [f"the labeler says: {refusal}" if refusal else "the labeler could save"]
        if fault in (KILLED, POWER):
            self._await("a run must start", self.ui.is_running, busy=True)
            for process in [self.ui.daemon()] if fault == KILLED else self.ui.processes():
                process.kill()
            [*_, last] = ["nothing", *self.ui.said().splitlines()]
            self.ui = ServedUi(self.home.root)
            return [f"moola ui says: {last}"]
        return []

    @contextmanager
    def _stopped(self) -> Iterator[None]:
        """All processes stand still, as on a machine that sleeps."""
        processes = [*self.ui.processes(), psutil.Process(self.labeler.process.pid)]
        for process in processes:
            process.suspend()
        time.sleep(SLEEP_SECONDS)
        yield
        for process in reversed(processes):
            process.resume()

    @contextmanager
    def _full_disk(self) -> Iterator[list[str]]:
        """No byte is free in the home, if it has a file system of its own; yields words about it."""
        ballast = self.home.root / "ballast"
        if not os.path.ismount(self.home.root):
            yield ["not played: the home has no file system of its own"]
            return
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as stream:
            while True:
                stream.write(bytes(1 << 16))
        try:
            yield []
        finally:
            ballast.unlink()

    def _took_bars(self, since: datetime) -> bool:
        return not any(self.home.inbox.glob("*.parquet")) and self._ticked(SENSOR, since)

    def _scheduled(self, name: str, before: datetime) -> None:
        """Move the clock to seconds before a schedule, and wait until it and its run have ended."""
        self.clock.set(before)
        self._await(f"{name} must end", lambda: self._ticked(name, before))

    def _ticked(self, name: str, since: datetime) -> bool:
        """Whether the newest tick of a sensor or schedule is later, and has ended."""
        return any(tick.at >= since and tick.status != "STARTED" for tick in self.ui.ticks(name)[:1])

    def _await(self, what: str, reached: Callable[[], bool], busy: bool = False) -> None:
        """Wait until something is reached and no run is active, or one is if `busy`."""
        until, complaint = time.monotonic() + WAIT_SECONDS, ""
        while time.monotonic() < until:
            try:
                if reached() and self.ui.is_busy() == busy:  # a tick that has ended has queued its run
                    return
            except (MoolaError, OSError) as fault:  # while the disk is full, or Dagster loads again
                complaint = f"; it said: {' '.join(str(fault).split())}"
            time.sleep(POLL_SECONDS)
        shown = ", ".join(f"{job} {status}" for job, status in self.ui.runs()[:3])
        ticks = self.ui.ticks(SENSOR)[:1]
        raise MoolaError(f"{what} within {WAIT_SECONDS:.0f} s, got runs {shown}; sensor: {ticks}{complaint}")


def _at(day: date, hour: str) -> datetime:
    return datetime.combine(day, clock_time.fromisoformat(hour), ZoneInfo(NEW_YORK))


@contextmanager
def installed(home: Home, files: Path, clock: MovedClock, first: date) -> Iterator[Installation]:
    """A home with a champion, whose `moola ui` and `moola label` run until the end."""
    clock.set(_at(first, START))
    run_moola(home.root, "bars", "add", files / FIRST_BARS)
    run_moola(home.root, "labels", "add", files / FIRST_LABELS)
    run_moola(home.root, *SMOKE, "--rolling", "1", "--json")
    try:
        labeler, ui = LabelerProcess(home.root, "--annotator", "ann"), ServedUi(home.root)
        ui.switch_on()
        yield Installation(home, files, clock, ui, labeler, Judge(labeler.link))
    finally:
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


@contextmanager
def own_file_system(home: Path) -> Iterator[None]:
    """Mount a small file system at a home if this user may; without one the full disk is not played."""
    home.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={HOME_BYTES}", "moola", str(home)]
    mounted = os.geteuid() == 0 and not subprocess.run(mount, check=False).returncode
    try:
        yield
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(home)], check=True)


def play_month(home: Home, folder: Path, n_days: int | None, show: Callable[[Step], None]) -> list[Step]:
    """Play the first days of the month, or all, and check the home afterwards.

    Args:
        home: Empty.
        folder: For the files that arrive.
        n_days: Number of days, Saturdays included; None for all.
        show: Called with each day and each check after it.
    """
    play, clock, started = Rehearsal(home, show), MovedClock(folder), time.monotonic()
    days = make_files(folder)[:n_days]
    os.environ.update(clock.environment)
    with installed(home, folder, clock, days[0].date) as installation:
        before = month_checks.sizes(home)
        for day in days:
            with _step(play, f"{day.date:%a %Y-%m-%d}") as result:
                result["text"] = installation.play(day)
        n_runs = len(installation.ui.runs())
        for name, check in month_checks.CHECKS.items():
            with _step(play, name) as result:
                result["text"] = check(installation)
        with _step(play, "growth") as result:
            result["text"] = month_checks.growth(before, month_checks.sizes(home))
    if n_days is None:
        counts = {
            "days": len(days),
            "runs": n_runs,
            "faults": len(FAULTS),
            "checks": len(month_checks.CHECKS),
        }
        failed = sum(not step.passed for step in play.steps)
        record("a month of an installation", seconds=time.monotonic() - started, **counts, failed=failed)
    return play.steps


@contextmanager
def _step(play: Rehearsal, name: str) -> Iterator[dict[str, str]]:
    with play.step(name) as result:
        try:
            yield result
        except FAILURES as fault:
            raise MoolaError(" ".join(str(fault).split())) from fault


def _show(step: Step) -> None:
    click.echo(f"{'ok' if step.passed else 'FAIL':<4} {step.seconds:6.1f} s  {step.name}: {step.text}")


@click.command()
@click.option("--days", type=click.IntRange(min=1), help="Play the first days only.  [default: all]")
@click.option("--home", "chosen", type=click.Path(path_type=Path), help="An empty folder, which stays.")
def main(days: int | None, chosen: Path | None) -> None:
    """Play a month of a real installation, and check the home afterwards."""
    if COMPILER is None:
        raise click.ClickException("A C compiler on Linux must move the clock, got none. Install gcc.")
    for number in (signal.SIGINT, signal.SIGTERM):  # a background job of a script inherits an ignored SIGINT
        signal.signal(number, signal.default_int_handler)
    with surroundings_kept(), without_remote_stores(), tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "home"
        with contextlib.nullcontext() if chosen else own_file_system(root):
            steps = play_month(Home(chosen or root), Path(folder), days, _show)
    sys.exit(not all(step.passed for step in steps))


if __name__ == "__main__":
    main()
