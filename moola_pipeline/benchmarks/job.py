"""Sampling profile of the main job, run in a temporary home."""

import json
import os
import runpy
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import FrameType
from typing import NamedTuple, Protocol

from moola_pipeline.benchmarks.measured_process import output_of
from moola_pipeline.storage.atomic_write import atomic_write_json

SAMPLE_SECONDS = 0.02
MAX_PARTS, MIN_SHARE = 6, 0.03
"""Maximum number of listed functions per asset, and the minimum share of its time to be listed."""
OUTSIDE = "outside of assets"
WAITING = "waiting"
PACKAGE = Path(__file__).resolve().parent.parent
_PROFILED = "import sys; from moola_pipeline.benchmarks.job import run_profiled; run_profiled(sys.argv[1:])"
_WAIT_FILES = ("threading.py", "queue.py", "selectors.py", "subprocess.py")
"""Files of the standard library in which a thread only waits."""
_IGNORED_THREADS = "cli/"
"""Background threads with their innermost function here sleep most of the time; they are not counted."""


class FreshJob(NamedTuple):
    """A whole run of the main job.

    Attributes:
        home: Its home; deleted after the block.
        seconds: Wall time of its process.
        looks: Samples per function of this package, by asset.
    """

    home: Path
    seconds: float
    looks: dict[str, Counter[str]]


@contextmanager
def fresh_job(profile: str) -> Iterator[FreshJob]:
    """Run the main job on simulated bars in a temporary home.

    Raises:
        RuntimeError: If it fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        home, looks = Path(folder) / "home", Path(folder) / "looks.json"
        job = ("--home", str(home), "run", "--profile", profile, "--market", "simulated", "--json")
        started = time.perf_counter()
        output_of(_PROFILED, str(looks), *job)
        seconds = time.perf_counter() - started
        counted = {asset: Counter(parts) for asset, parts in json.loads(looks.read_bytes()).items()}
        yield FreshJob(home, seconds, counted)


def parts_of(looks: Counter[str]) -> list[tuple[str, float]]:
    """The functions in which an asset spends most of its time, with their shares."""
    total = sum(looks.values())
    shares = [(name, count / total) for name, count in looks.most_common(MAX_PARTS)]
    return [(name, share) for name, share in shares if share >= MIN_SHARE]


def run_profiled(words: list[str]) -> None:
    """Main function of the profiled process: runs `moola` and samples its threads.

    Args:
        words: Path for the samples, then the arguments of `moola`.
    """
    looks: dict[str, Counter[str]] = {}
    ended = threading.Event()
    job = threading.get_ident()

    def sample() -> None:
        own = threading.get_ident()
        while not ended.wait(SAMPLE_SECONDS):
            frames = {number: frame for number, frame in sys._current_frames().items() if number != own}
            asset, parts = active_functions(frames, job)
            counter = looks.setdefault(asset, Counter())
            for part in parts:
                counter[part] += 1 / len(parts)  # pyright: ignore[reportArgumentType]

    sampler = threading.Thread(target=sample, name="job_profile", daemon=True)
    sampler.start()
    sys.argv = ["moola", *words[1:]]
    try:
        runpy.run_module("moola_pipeline", run_name="__main__", alter_sys=False)
    finally:
        ended.set()
        sampler.join()
        atomic_write_json(Path(words[0]), looks)


def active_functions(frames: dict[int, FrameType], job: int) -> tuple[str, list[str]]:
    """The running asset, and the functions of this package that compute for it.

    Counted is a thread's innermost function of this package, also while a library that it called
    runs. If the job's thread waits, the other threads that compute count instead, in equal shares.

    Args:
        frames: Innermost frame of each thread, by thread number.
        job: Number of the job's thread.
    """
    stack = list(_outwards(frames[job]))
    named = [
        frame.f_code.co_name
        for frame in reversed(stack)
        if _module(frame.f_code.co_filename).startswith("assets/")
    ]
    asset = next((name for name in named if name.isidentifier()), OUTSIDE)
    own = _part(frames[job])
    if own and not _is_waiting(frames[job]):
        return asset, [own]
    others = [
        part
        for number, frame in frames.items()
        if number != job
        and not _is_waiting(frame)
        and (part := _part(frame))
        and not part.startswith(_IGNORED_THREADS)
    ]
    return asset, others or [WAITING if _is_waiting(frames[job]) else OUTSIDE]


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _part(frame: FrameType) -> str | None:
    """The innermost function of this package on a thread's stack, named by its module."""
    for each in _outwards(frame):
        module = _module(each.f_code.co_filename)
        if module:
            name = each.f_code.co_qualname.replace("<locals>.", "").replace("<module>", "import")
            return f"{module} {name}"
    return None


@cache  # a sample reads hundreds of frames: it must not slow down what it measures
def _module(file: str) -> str:
    """Path of a module in this package without its suffix; empty for others."""
    path = Path(file)
    return path.relative_to(PACKAGE).with_suffix("").as_posix() if path.is_relative_to(PACKAGE) else ""


def _is_waiting(frame: FrameType) -> bool:
    return os.path.basename(frame.f_code.co_filename) in _WAIT_FILES


LIMIT_SECONDS, GOAL_SECONDS = 90, 60
"""Wall time of the whole process on two CPU cores, after the installation."""
N_SLOWEST = 3
"""Number of slowest assets whose functions are listed."""


class StageTime(Protocol):
    """Seconds of one asset of a run, and its memory and CPU share if logged."""

    @property
    def asset(self) -> str: ...  # noqa: D102
    @property
    def seconds(self) -> float: ...  # noqa: D102
    @property
    def peak_mb(self) -> float | None: ...  # noqa: D102
    @property
    def cpu_percent(self) -> float | None: ...  # noqa: D102


def core_seconds(stage: StageTime) -> float | None:
    """Processor time of an asset, seconds; None if not logged."""
    return None if stage.cpu_percent is None else stage.seconds * stage.cpu_percent / 100


class JobReport(NamedTuple):
    """A run of the main job.

    Attributes:
        profile, market: Of the run.
        measured_at: Start, UTC.
        stages: Time of each asset, in order of execution.
        seconds: Of the whole process; None if read from logs.
        looks: Samples per function, by asset; empty if read from logs.
    """

    profile: str
    market: str
    measured_at: str
    stages: Sequence[StageTime]
    seconds: float | None
    looks: dict[str, Counter[str]]


def limit_verdict(value: float, limit: float | None, goal: float | None, unit: str) -> str:
    """Whether a value is within its limit and its goal, in words; empty if it has neither."""
    if limit is None:
        return ""
    words = f"limit {limit:g} {unit}: {'met' if value <= limit else 'EXCEEDED'}"
    if goal is None:
        return words
    return f"{words}; goal {goal:g} {unit}: {'reached' if value <= goal else 'not reached'}"


def job_lines(report: JobReport | None) -> list[str]:
    """One line per asset."""
    if report is None:
        return ["main job not measured: this home has no complete run (moola bench --job makes one)"]
    whole = sum(stage.seconds for stage in report.stages)
    head = f"{f'main job, {report.profile}, {report.market} bars, nine assets':58}{whole:9.1f} s"
    rows = (
        f"{f'  {stage.asset}':58}{stage.seconds:9.1f} s   {_shown(core_seconds(stage))} core-seconds"
        for stage in report.stages
    )
    if report.seconds is None:
        return [head, *rows]
    verdict = limit_verdict(report.seconds, LIMIT_SECONDS, GOAL_SECONDS, "s")
    return [head, *rows, f"{'  the whole process':58}{report.seconds:9.1f} s  ({verdict})"]


def _shown(number: float | None) -> str:
    return "" if number is None else f"{number:.1f}"


def job_page(report: JobReport | None) -> tuple[str, ...]:
    """The section of the page, in Markdown."""
    if report is None:
        return ("**The main job.** Not measured: the home had no complete run, and --job was not given.", "")
    whole = sum(stage.seconds for stage in report.stages)
    where = (
        f"a new run in a temporary home, {report.seconds:.1f} s for the whole process "
        f"({limit_verdict(report.seconds, LIMIT_SECONDS, GOAL_SECONDS, 's')}), sampled 50 times per second"
        if report.seconds is not None
        else "from the logs of the home's last complete run"
    )
    return (
        f"**The main job.** `{report.profile}` on {report.market} bars, {report.measured_at}: {where}. "
        f"Its nine assets took {whole:.1f} s.",
        "",
        "| asset | seconds | share | core-seconds | peak memory |",
        "|---|---|---|---|---|",
        *(_row(stage, whole) for stage in report.stages),
        "",
        *_parts(report),
    )


def _row(stage: StageTime, whole: float) -> str:
    memory = "" if stage.peak_mb is None else f"{stage.peak_mb:,.0f} MB"
    share, on_cores = f"{stage.seconds / whole:.0%}", _shown(core_seconds(stage))
    return f"| `{stage.asset}` | {stage.seconds:.1f} | {share} | {on_cores} | {memory} |"


def _parts(report: JobReport) -> list[str]:
    """Functions in which the slowest assets spend their time."""
    if not report.looks:
        return []
    slowest = sorted(report.stages, key=lambda stage: -stage.seconds)[:N_SLOWEST]
    names = [stage.asset for stage in slowest if stage.asset in report.looks]
    return [
        "Time by the innermost function of this package (with the libraries it calls):",
        "",
        *(f"- `{name}`: {_shares(report.looks[name])}" for name in [*names, OUTSIDE] if name in report.looks),
        "",
    ]


def _shares(looks: Counter[str]) -> str:
    return ", ".join(f"`{name}` {share:.0%}" for name, share in parts_of(looks))
