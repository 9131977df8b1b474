"""Runs cases through a reader in this process: it must return data or raise one of our errors, in time."""

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

from moola_pipeline.cli.exit_codes import printable_line, settings_error_text, usage_error_text
from moola_pipeline.errors import MAX_LINE_LENGTH, MoolaError
from moola_pipeline_tests.fuzzing.damage import Damage

CRASHERS = Path(__file__).with_name("crashers")
MAX_SECONDS = 5.0
"""Limit per case; the slowest valid case takes a tenth of a second."""
MAX_GROWTH = 256 << 20
"""Limit, in bytes, for the growth of the process's peak memory during a case of a few kilobytes."""
MAX_CRASHER = 64 << 10

Outcome = Literal["accepted", "refused"]


@dataclass(frozen=True)
class Reader:
    """A function that reads a file or a text from outside.

    Attributes:
        name: Of the format.
        examples: Returns valid contents.
        damage: Damages one of them.
        read: Reads a content, with a folder for its files; raises if it refuses the content, or if
            the accepted data are invalid.
    """

    name: str
    examples: Callable[[], list[bytes]]
    damage: Damage
    read: Callable[[bytes, Path], object]


class Crash(Exception):
    """A case that was neither accepted nor refused with one of our errors in one line."""


class _TooSlow(BaseException):
    """A BaseException, so that no reader catches it as an error of its file."""


@dataclass
class Tally:
    """Outcomes of the cases of one reader; `crashes` are pairs of reason and content."""

    reader: str
    cases: int = 0
    accepted: int = 0
    refused: int = 0
    seconds: float = 0.0
    crashes: list[tuple[str, bytes]] = field(default_factory=list)


def case(reader: Reader, examples: list[bytes], seed: int, number: int) -> bytes:
    """The content of a case; it depends on reader, seed and number only."""
    rng = np.random.default_rng([seed, zlib.crc32(reader.name.encode()), number])
    return reader.damage(rng, examples[int(rng.integers(len(examples)))])


def outcome_of(reader: Reader, content: bytes, folder: Path) -> Outcome:
    """Whether a reader accepts or refuses a content.

    Raises:
        Crash: If it raises another error or one of more than one line, or exceeds MAX_SECONDS or
            MAX_GROWTH.
    """
    peak, began = peak_bytes(), time.perf_counter()
    try:
        with _bounded_time():
            reader.read(content, folder)
        outcome: Outcome = "accepted"
    except _TooSlow:
        raise Crash(f"not done after {MAX_SECONDS:g} s") from None
    except (MoolaError, click.ClickException, ValidationError) as error:
        _require_one_line(error)
        outcome = "refused"
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise Crash(_reason(error)) from error
    if time.perf_counter() - began > MAX_SECONDS:
        raise Crash(f"took {time.perf_counter() - began:.1f} s")
    if peak_bytes() - peak > MAX_GROWTH:
        raise Crash(f"took {(peak_bytes() - peak) >> 20} MiB")
    return outcome


def fuzz(reader: Reader, n_cases: int, seed: int = 0, max_seconds: float = float("inf")) -> Tally:
    """Run cases 0..n_cases-1 of a seed, or fewer within `max_seconds`."""
    tally, examples, began = Tally(reader.name), reader.examples(), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        _warm_up(reader, examples, Path(folder))
        for number in range(n_cases):
            if time.monotonic() - began > max_seconds:
                break
            content = case(reader, examples, seed, number)
            tally.cases += 1
            try:
                outcome = outcome_of(reader, content, Path(folder))
            except Crash as crash:
                tally.crashes.append((f"case {number}: {crash}", content))
            else:
                setattr(tally, outcome, getattr(tally, outcome) + 1)
    tally.seconds = time.monotonic() - began
    return tally


def _warm_up(reader: Reader, examples: list[bytes], folder: Path) -> None:
    """Read the examples once, so that imports and one-time work do not count for a case."""
    for content in examples:
        with contextlib.suppress(MoolaError):
            reader.read(content, folder)


def save_crashers(tally: Tally, folder: Path = CRASHERS) -> list[Path]:
    """Save the smallest content per reason for tests to replay; large contents are left out."""
    smallest: dict[str, bytes] = {}
    for reason, content in sorted(tally.crashes, key=lambda crash: len(crash[1])):
        smallest.setdefault(reason.partition(": ")[2], content)
    folder.mkdir(exist_ok=True)
    contents = [content for content in smallest.values() if len(content) <= MAX_CRASHER]
    paths = [folder / f"{tally.reader}-{hashlib.sha256(content).hexdigest()[:8]}" for content in contents]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    return paths


def saved_crashers() -> Iterator[tuple[str, Path]]:
    """Reader name and file of each saved crasher."""
    for path in sorted(CRASHERS.glob("*-*")):
        yield path.name.rpartition("-")[0], path


def _require_one_line(error: Exception) -> None:
    message = str(error)
    if isinstance(error, ValidationError):
        message = printable_line(settings_error_text(error) or "")
    elif isinstance(error, click.ClickException):
        message = printable_line(usage_error_text(error))
    if not message.strip() or len(message.splitlines()) > 1 or len(message) > MAX_LINE_LENGTH:
        raise Crash(f"{type(error).__name__} in more than one line, or a long one") from error


def _reason(error: BaseException) -> str:
    """Type of the error and our innermost function, without details that differ between cases."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "/moola_pipeline" in frame.filename]
    function = f"{Path(ours[-1].filename).name}:{ours[-1].name}" if ours else "outside"
    return f"{type(error).__name__} at {function}"


def peak_bytes() -> int:
    """Peak memory of this process in bytes, on Linux."""
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
