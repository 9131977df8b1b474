"""One case after the other through a reader, in this process: data or one typed line, in bounded time."""

import contextlib
import hashlib
import resource
import signal
import tempfile
import time
import traceback
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import click
import numpy as np
from pydantic import ValidationError

from moola_pipeline.cli.exit_codes import settings_fault, shown_line, usage_fault
from moola_pipeline.errors import MAX_LINE_LENGTH, MoolaError
from moola_pipeline_tests.fuzzing.damage import Damage

CRASHERS = Path(__file__).with_name("crashers")
MAX_SECONDS = 5.0
"""For one case; the slowest sound one takes a tenth of a second."""
MAX_GROWTH = 256 << 20
"""Bytes by which a case of a few kilobytes may raise the peak of the process's memory."""
MAX_CRASHER = 64 << 10

Outcome = Literal["accepted", "refused"]


@dataclass(frozen=True)
class Reader:
    """Something that takes a file or a text from outside.

    Attributes:
        name: Of the format.
        examples: Sound contents, made once.
        damage: How one of them is made unsound.
        read: Reads a content, with a folder for its files; raises where it is refused, or where what
            it took does not hold.
    """

    name: str
    examples: Callable[[], list[bytes]]
    damage: Damage
    read: Callable[[bytes, Path], object]


class Crash(Exception):
    """A case that ended neither in data nor in one typed line."""


class _TooSlow(BaseException):
    """Not an Exception, so that no reader takes it for a fault of its file."""


@dataclass
class Tally:
    """What came of the cases of one reader; `crashes` are by the reason of each, the content beside it."""

    reader: str
    cases: int = 0
    accepted: int = 0
    refused: int = 0
    seconds: float = 0.0
    crashes: list[tuple[str, bytes]] = field(default_factory=list)


def case(reader: Reader, examples: list[bytes], seed: int, number: int) -> bytes:
    """The content of a case: the same for the same reader, seed and number."""
    rng = np.random.default_rng([seed, zlib.crc32(reader.name.encode()), number])
    return reader.damage(rng, examples[int(rng.integers(len(examples)))])


def judged(reader: Reader, content: bytes, folder: Path) -> Outcome:
    """Whether a reader takes a content or refuses it.

    Raises:
        Crash: If it does neither, takes longer than MAX_SECONDS or MAX_GROWTH more memory, or
            refuses it in more than one line.
    """
    peak, began = peak_bytes(), time.perf_counter()
    try:
        with _bounded_time():
            reader.read(content, folder)
        outcome: Outcome = "accepted"
    except _TooSlow:
        raise Crash(f"not done after {MAX_SECONDS:g} s") from None
    except (MoolaError, click.ClickException, ValidationError) as fault:
        _require_one_line(fault)
        outcome = "refused"
    except KeyboardInterrupt:
        raise
    except BaseException as fault:
        raise Crash(_named(fault)) from fault
    if time.perf_counter() - began > MAX_SECONDS:
        raise Crash(f"took {time.perf_counter() - began:.1f} s")
    if peak_bytes() - peak > MAX_GROWTH:
        raise Crash(f"took {(peak_bytes() - peak) >> 20} MiB")
    return outcome


def fuzz(reader: Reader, n_cases: int, seed: int = 0, most_seconds: float = float("inf")) -> Tally:
    """Judge cases 0..n_cases-1 of a seed, fewer where the time is over."""
    tally, examples, began = Tally(reader.name), reader.examples(), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        _warm_up(reader, examples, Path(folder))
        for number in range(n_cases):
            if time.monotonic() - began > most_seconds:
                break
            content = case(reader, examples, seed, number)
            tally.cases += 1
            try:
                outcome = judged(reader, content, Path(folder))
            except Crash as crash:
                tally.crashes.append((f"case {number}: {crash}", content))
            else:
                setattr(tally, outcome, getattr(tally, outcome) + 1)
    tally.seconds = time.monotonic() - began
    return tally


def _warm_up(reader: Reader, examples: list[bytes], folder: Path) -> None:
    """Let what is imported or made once be so, that it counts for no case."""
    for content in examples:
        with contextlib.suppress(MoolaError):
            reader.read(content, folder)


def keep_crashers(tally: Tally, folder: Path = CRASHERS) -> list[Path]:
    """Write the smallest content of each reason for a test to replay; large ones are left out."""
    smallest: dict[str, bytes] = {}
    for reason, content in sorted(tally.crashes, key=lambda crash: len(crash[1])):
        smallest.setdefault(reason.partition(": ")[2], content)
    folder.mkdir(exist_ok=True)
    kept = [content for content in smallest.values() if len(content) <= MAX_CRASHER]
    paths = [folder / f"{tally.reader}-{hashlib.sha256(one).hexdigest()[:8]}" for one in kept]
    for path, content in zip(paths, kept, strict=True):
        path.write_bytes(content)
    return paths


def kept_crashers() -> Iterator[tuple[str, Path]]:
    """The name of the reader and the file of each crasher kept."""
    for path in sorted(CRASHERS.glob("*-*")):
        yield path.name.rpartition("-")[0], path


def _require_one_line(fault: Exception) -> None:
    said = str(fault)
    if isinstance(fault, ValidationError):
        said = shown_line(settings_fault(fault) or "")
    elif isinstance(fault, click.ClickException):
        said = shown_line(usage_fault(fault))
    if not said.strip() or len(said.splitlines()) > 1 or len(said) > MAX_LINE_LENGTH:
        raise Crash(f"{type(fault).__name__} in more than one line, or a long one") from fault


def _named(fault: BaseException) -> str:
    """The fault and the line of ours that it came through last, without what differs from case to case."""
    frames = traceback.extract_tb(fault.__traceback__)
    ours = [frame for frame in frames if "/moola_pipeline" in frame.filename]
    place = f"{Path(ours[-1].filename).name}:{ours[-1].name}" if ours else "outside"
    return f"{type(fault).__name__} at {place}"


def peak_bytes() -> int:
    """The most memory that this process ever held, on Linux."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@contextlib.contextmanager
def _bounded_time() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise _TooSlow

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, MAX_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
