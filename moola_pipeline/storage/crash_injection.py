"""Named points at which a process can be made to die, for crash tests."""

import os
import signal
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

CRASH_VARIABLE = "MOOLA_CRASH"
WRITE_POINTS = (
    "atomic_write.before_write",
    "atomic_write.after_write",
    "atomic_write.before_rename",
    "atomic_write.after_rename",
    "atomic_write.after_manifest",
)
REGISTRY_POINTS = ("registry.before_version", "registry.after_version", "champion.before", "champion.after")
STAGE_ENDINGS = ("before_compute", "after_compute", "after_keep")
SIGNALS = ("SIGKILL", "SIGTERM", "exception")


class InjectedFault(RuntimeError):
    """Raised by the signal `exception`."""


@dataclass
class _Crash:
    point: str
    file: str
    signal: str
    hits_left: int


def points(stages: Iterable[str]) -> list[str]:
    """Names of all points: of atomic writes, of each stage, of the registry.

    Args:
        stages: Names of the assets.
    """
    of_stages = [f"{stage}.{ending}" for stage in stages for ending in STAGE_ENDINGS]
    return [*WRITE_POINTS, *of_stages, *REGISTRY_POINTS]


def arm(text: str | None) -> None:
    """Set the point where this process dies; None disarms.

    Args:
        text: POINT[@FILE]:SIGNAL[:N], as in `atomic_write.after_rename@report.json:SIGKILL`: at the
            N-th pass (default 1) of a point, only for files of that name if one is given.

    Raises:
        ValueError: If the text is not of that form.
    """
    global _armed
    if not text:
        _armed = None
        return
    point, _, rest = text.partition(":")
    sign, _, count = rest.partition(":")
    point, _, file = point.partition("@")
    if sign not in SIGNALS or not (count or "1").isdigit():
        raise ValueError(
            f"{CRASH_VARIABLE} must be POINT[@FILE]:SIGNAL[:N], SIGNAL one of {', '.join(SIGNALS)}, "
            f"got {text!r}"
        )
    _armed = _Crash(point, file, sign, int(count or 1))


def crash_point(name: str, path: Path | None = None) -> None:
    """Die here if this point is armed; costs one comparison otherwise.

    Args:
        name: One of `points`.
        path: The file that is written, if the point belongs to one.

    Raises:
        InjectedFault: If the armed signal is `exception`.
    """
    if _armed is not None and name == _armed.point and _armed.file in ("", path and path.name):
        _pass(_armed)


def _pass(crash: _Crash) -> None:
    crash.hits_left -= 1
    if crash.hits_left:
        return
    if crash.signal == "exception":
        raise InjectedFault(f"{CRASH_VARIABLE} requested a fault at {crash.point}")
    os.kill(os.getpid(), getattr(signal, crash.signal))


_armed: _Crash | None = None
arm(os.environ.get(CRASH_VARIABLE))
