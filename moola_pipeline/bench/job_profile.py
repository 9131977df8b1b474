"""Where the time of the main job goes: a run in a home of its own, looked at many times a second."""

import json
import os
import runpy
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from moola_pipeline.bench.fresh import output_of
from moola_pipeline.storage.atomic_write import publish_json

LOOK_SECONDS = 0.02
MOST_PARTS, LEAST_SHARE = 6, 0.03
"""Parts of an asset that are told of, and the least share of its time that is worth a line."""
OUTSIDE = "outside of assets"
WAITING = "waiting"
PACKAGE = Path(__file__).resolve().parent.parent
_PROFILED = (
    "import sys; from moola_pipeline.bench.job_profile import run_profiled; run_profiled(sys.argv[1:])"
)
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
    shares = [(name, count / total) for name, count in looks.most_common(MOST_PARTS)]
    return [(name, share) for name, share in shares if share >= LEAST_SHARE]


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
            asset, parts = seen_in(frames, job)
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
        publish_json(Path(words[0]), looks)


def seen_in(frames: dict[int, FrameType], job: int) -> tuple[str, list[str]]:
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
