"""Where the time of the main job goes: a run in a home of its own, sampled many times a second."""

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
from pathlib import Path
from types import FrameType
from typing import NamedTuple, Protocol

from moola_pipeline.benchmarks.measured_process import output_of
from moola_pipeline.storage.atomic_write import atomic_write_json

LOOK_SECONDS = 0.02
MAX_PARTS, MIN_SHARE = 6, 0.03
"""Parts of an asset that are told of, and the least share of its time that is worth a line."""
OUTSIDE = "outside of assets"
WAITING = "waiting"
PACKAGE = Path(__file__).resolve().parent.parent
_PROFILED = "import sys; from moola_pipeline.benchmarks.job import run_profiled; run_profiled(sys.argv[1:])"
_WAITS = ("threading.py", "queue.py", "selectors.py", "subprocess.py")
"""Files whose functions do nothing but wait, where a thread that computes is not seen in them."""
_ERRANDS = "cli/"
"""A thread beside the job that is at work here sleeps, but for its errands."""


class FreshJob(NamedTuple):
    """A whole run of the main job.

    Attributes:
        home: Its home; gone behind the block.
        seconds: From the start of its process to the end.
        looks: How often each function of ours was at work, by asset.
    """

    home: Path
    seconds: float
    looks: dict[str, Counter[str]]


@contextmanager
def fresh_job(profile: str) -> Iterator[FreshJob]:
    """Run the main job on simulated bars in a home that is gone afterwards.

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
    """The functions in which an asset spends most of its time, and their shares of it."""
    total = sum(looks.values())
    shares = [(name, count / total) for name, count in looks.most_common(MAX_PARTS)]
    return [(name, share) for name, share in shares if share >= MIN_SHARE]


def run_profiled(words: list[str]) -> None:
    """The body of the process that is looked at: `moola` with the words after the first.

    Args:
        words: Where to write what was seen, then the words of the command.
    """
    looks: dict[str, Counter[str]] = {}
    ended = threading.Event()
    job = threading.get_ident()

    def look() -> None:
        own = threading.get_ident()
        while not ended.wait(LOOK_SECONDS):
            frames = {number: frame for number, frame in sys._current_frames().items() if number != own}
            asset, parts = baseline_inputs(frames, job)
            counter = looks.setdefault(asset, Counter())
            for part in parts:
                counter[part] += 1 / len(parts)  # pyright: ignore[reportArgumentType]

    watcher = threading.Thread(target=look, name="job_profile", daemon=True)
    watcher.start()
    sys.argv = ["moola", *words[1:]]
    try:
        runpy.run_module("moola_pipeline", run_name="__main__", alter_sys=False)
    finally:
        ended.set()
        watcher.join()
        atomic_write_json(Path(words[0]), looks)


def baseline_inputs(frames: dict[int, FrameType], job: int) -> tuple[str, list[str]]:
    """The asset at work, and the functions of ours that compute for it.

    A part is the innermost function of this package, whatever library it has called. The thread of
    the job counts if it computes, else the threads that it waits for, in equal parts.

    Args:
        frames: Of each thread, by its number.
        job: Number of the thread that the job runs in.
    """
    stack = list(_outwards(frames[job]))
    named = [frame.f_code.co_name for frame in reversed(stack) if _folder(frame) == "assets"]
    asset = next((name for name in named if name.isidentifier()), OUTSIDE)
    own = _part(frames[job])
    if own and not _waits(frames[job]):
        return asset, [own]
    others = [
        part
        for number, frame in frames.items()
        if number != job and not _waits(frame) and (part := _part(frame)) and not part.startswith(_ERRANDS)
    ]
    return asset, others or [WAITING if _waits(frames[job]) else OUTSIDE]


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _part(frame: FrameType) -> str | None:
    """The innermost function of this package on a thread's stack, named by its module."""
    for each in _outwards(frame):
        path = Path(each.f_code.co_filename)
        if path.is_relative_to(PACKAGE):
            name = each.f_code.co_qualname.replace("<locals>.", "").replace("<module>", "import")
            return f"{path.relative_to(PACKAGE).with_suffix('').as_posix()} {name}"
    return None


def _folder(frame: FrameType) -> str:
    path = Path(frame.f_code.co_filename)
    return path.parent.name if path.is_relative_to(PACKAGE) else ""


def _waits(frame: FrameType) -> bool:
    return os.path.basename(frame.f_code.co_filename) in _WAITS


DEAREST = 3
"""Assets whose parts are told."""


class StageTime(Protocol):
    """What is known of one asset of a run: seconds, and memory and processor where they were logged."""

    @property
    def asset(self) -> str: ...  # noqa: D102
    @property
    def seconds(self) -> float: ...  # noqa: D102
    @property
    def peak_mb(self) -> float | None: ...  # noqa: D102
    @property
    def cpu_percent(self) -> float | None: ...  # noqa: D102


class JobReport(NamedTuple):
    """A run of the main job.

    Attributes:
        profile, market: What it was about.
        measured_at: When it began, UTC.
        stages: What each asset took, in the order of the work.
        seconds: Of the whole process; None where only its records are left.
        looks: How often each function was seen at work, by asset; empty where only records are left.
    """

    profile: str
    market: str
    measured_at: str
    stages: Sequence[StageTime]
    seconds: float | None
    looks: dict[str, Counter[str]]


def job_lines(report: JobReport | None) -> list[str]:
    """One line an asset."""
    if report is None:
        return ["the main job was not measured: this home holds no whole run (moola bench --job makes one)"]
    whole = sum(one.seconds for one in report.stages)
    head = f"{f'main job, {report.profile}, {report.market} bars, nine assets':58}{whole:9.1f} s"
    return [head, *(f"{f'  {one.asset}':58}{one.seconds:9.1f} s" for one in report.stages)]


def job_page(report: JobReport | None) -> tuple[str, ...]:
    """The section of the page, in Markdown."""
    if report is None:
        return ("**The main job.** Not measured: the home held no whole run, and none was asked for.", "")
    whole = sum(one.seconds for one in report.stages)
    where = (
        f"a fresh run in a home of its own, {report.seconds:.1f} s from the start of its process to the end, "
        "looked at 50 times a second meanwhile"
        if report.seconds is not None
        else "read from what the last whole run of the home logged"
    )
    return (
        f"**The main job.** `{report.profile}` on {report.market} bars, {report.measured_at}: {where}. "
        f"Its nine assets took {whole:.1f} s. Processor: of one core.",
        "",
        "| asset | seconds | share | processor | peak memory |",
        "|---|---|---|---|---|",
        *(_row(one, whole) for one in report.stages),
        "",
        *_parts(report),
    )


def _row(one: StageTime, whole: float) -> str:
    processor = "" if one.cpu_percent is None else f"{one.cpu_percent:.0f} %"
    memory = "" if one.peak_mb is None else f"{one.peak_mb:,.0f} MB"
    return f"| `{one.asset}` | {one.seconds:.1f} | {one.seconds / whole:.0%} | {processor} | {memory} |"


def _parts(report: JobReport) -> list[str]:
    """In which functions the dearest assets spend their time."""
    if not report.looks:
        return []
    dearest = sorted(report.stages, key=lambda one: -one.seconds)[:DEAREST]
    names = [one.asset for one in dearest if one.asset in report.looks]
    return [
        "Where in them, by the innermost function of this package (libraries that it calls included):",
        "",
        *(f"- `{name}`: {_shares(report.looks[name])}" for name in [*names, OUTSIDE] if name in report.looks),
        "",
    ]


def _shares(looks: Counter[str]) -> str:
    return ", ".join(f"`{name}` {share:.0%}" for name, share in parts_of(looks))
