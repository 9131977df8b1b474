"""The inbox: files in this folder are registered, or moved aside with the reason."""

import json
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from moola_pipeline.bars.instruments import NQ
from moola_pipeline.bars.manifest import AddedBars, add_bars
from moola_pipeline.bars.store import registered_store
from moola_pipeline.bars.vendor_options import VendorOptions, column_mapping
from moola_pipeline.errors import BadInput
from moola_pipeline.storage.atomic_write import atomic_write_bytes, file_sha256, locked, move
from moola_pipeline.storage.home import Home

SETTLE_SECONDS = 30.0
"""A file is added if nothing was written to it for this long."""
OPTIONS = "options.json"
"""Options for all files of the folder; `<file>.options.json` replaces them for one file."""
REFUSED = "refused"
_REASON, _TAKEN = ".reason.txt", ".taken"
_HALF_WRITTEN = (".part", ".partial", ".tmp", ".crdownload", ".filepart")
"""Name endings of files that a program renames once they are complete."""
_KEYS = ("format", "timezone", "stamp", "columns", "instrument")
_EXAMPLE = '{"timezone": "America/New_York", "stamp": "close"}'
_MAX_NAME = 200

Outcome = Literal["added", "refused", "waiting"]


@dataclass(frozen=True)
class InboxFile:
    """Result for a file in the inbox.

    Attributes:
        added: Result of `add_bars`, if it was added.
        why: Reason why it was refused or waits; empty if it was added.
        kept: Path to which a refused file was moved.
    """

    name: str
    outcome: Outcome
    added: AddedBars | None = None
    why: str = ""
    kept: Path | None = None

    @property
    def shown(self) -> str:
        """The result as a line of text."""
        if self.added is not None:
            return f"{self.name}: {self.added.outcome}, {self.added.entry.rows:,} bars"
        return f"{self.name}: {self.outcome}, {self.why.removeprefix(f'{self.name}: ')}"


def add_inbox_files(
    home: Home, settle_seconds: float = SETTLE_SECONDS, most_seconds: float = math.inf
) -> list[InboxFile]:
    """Add the files in the inbox one by one, in the order of their names.

    An added file is deleted once its bytes are verified in the store. A refused file is moved to
    inbox/refused, next to a file with the reason. A file that is being written, or was written to
    within `settle_seconds`, waits. Hidden files and folders are ignored.

    Args:
        home: Home of the inbox and of the registered bars.
        settle_seconds: Least time since the last write to a file.
        most_seconds: Time limit; the remaining files wait for the next call.

    Raises:
        BadInput: If the folder's options.json cannot be read; no file is added then.
        IntegrityError: If the manifest is broken; the file stays.
    """
    folder, until = home.inbox, time.monotonic() + most_seconds
    with locked(folder):
        folder.mkdir(parents=True, exist_ok=True)
        _put_back_interrupted(folder)
        common = _read_options(folder / OPTIONS) if (folder / OPTIONS).exists() else VendorOptions()
        files = []
        for path in _arrived(folder):
            if time.monotonic() > until:
                files.append(InboxFile(path.name, "waiting", why="the time limit was reached"))
            else:
                files.append(_take(home, path, common, settle_seconds))
    return files


def _arrived(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if path.is_file()
        and not path.name.startswith(".")
        and path.name != OPTIONS
        and not path.name.endswith(f".{OPTIONS}")
    )


def _take(home: Home, path: Path, common: VendorOptions, settle_seconds: float) -> InboxFile:
    before, own = _state(path), _own_options(path)
    for part in (path, own):
        if why := _unfinished(part, settle_seconds):
            return InboxFile(path.name, "waiting", why=why if part is path else f"{part.name}: {why}")
    try:
        options = _read_options(own) if own.exists() else common
        added = add_bars(registered_store(home, options.instrument or NQ.name), path, options)
    except BadInput as fault:
        if _state(path) != before:
            return InboxFile(path.name, "waiting", why="it changed while it was read")
        return InboxFile(path.name, "refused", why=str(fault), kept=_set_aside(path, str(fault)))
    if _remove_registered(path, added.entry.sha256):
        own.unlink(missing_ok=True)
    return InboxFile(path.name, "added", added=added)


def _own_options(path: Path) -> Path:
    return path.with_name(f"{path.name}.{OPTIONS}")


def _state(path: Path) -> tuple[int, ...] | None:
    """Status of a file that any write changes; None if the file is gone."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _unfinished(path: Path, settle_seconds: float) -> str | None:
    """Reason why a file may be incomplete; None if it is complete or gone."""
    try:
        # A copy may keep the old modification time; only the system sets the change time.
        age = time.time() - path.stat().st_ctime
    except FileNotFoundError:
        return None
    if path.name.endswith(_HALF_WRITTEN):
        return f"its name ends in {path.suffix}, which marks an incomplete file"
    if age < settle_seconds:
        return f"it was written {max(age, 0):.0f} s ago, and is added {settle_seconds:.0f} s after a write"
    return "it is open for writing" if _open_for_writing(path) else None


def _open_for_writing(path: Path) -> bool:
    """True if a program has the file open for writing; known on Linux only."""
    if sys.platform != "linux":
        return False
    import fcntl

    try:
        with path.open("rb") as stream:
            fcntl.fcntl(stream, fcntl.F_SETLEASE, fcntl.F_RDLCK)  # fails while there is a writer
            fcntl.fcntl(stream, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except BlockingIOError:
        return True
    except OSError:
        return False  # file of another user or on a network drive: unknown
    return False


def _read_options(path: Path) -> VendorOptions:
    """Read options from a file, with the names that they have in `moola bars add`.

    Raises:
        BadInput: If the file is not a JSON object of options, or a value is invalid.
    """
    wanted = f"{path.name} must be a JSON object of {', '.join(_KEYS)}, such as {_EXAMPLE}"
    try:
        given: Any = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as fault:
        raise BadInput(f"{wanted}, got: {fault}. Correct it.") from None
    if not isinstance(given, dict):
        raise BadInput(f"{wanted}, got {given!r}. Correct it.")
    columns = given.pop("columns", {})
    columns = column_mapping(columns) if isinstance(columns, str) else columns
    if not isinstance(columns, dict):
        raise BadInput(f"{wanted}, got columns {columns!r}. Write time=ts,close=Last.")
    for key, value in [*given.items(), *((f"columns.{role}", name) for role, name in columns.items())]:
        if key.split(".")[0] not in _KEYS or not isinstance(value, str):
            raise BadInput(f"{wanted}, got {key} {value!r}. Correct it.")
    try:
        return VendorOptions(**given, columns=columns)
    except BadInput as fault:
        raise BadInput(f"{path.name}: {fault}") from None


def _remove_registered(path: Path, sha256: str) -> bool:
    """Delete a file if its bytes are the registered ones; a file that replaced it stays."""
    aside = path.with_name(f".{path.name}{_TAKEN}")
    move(path, aside)
    if file_sha256(aside) == sha256:
        aside.unlink()
        return True
    move(aside, next(_free_names(path)))
    return False


def _put_back_interrupted(folder: Path) -> None:
    """Put back files whose deletion was interrupted."""
    for aside in folder.glob(f".*{_TAKEN}"):
        move(aside, next(_free_names(folder / aside.name[1 : -len(_TAKEN)])))


def _set_aside(path: Path, why: str) -> Path:
    """Move a refused file and its options to refused/; the reason is written first."""
    folder = path.parent / REFUSED
    folder.mkdir(exist_ok=True)
    target = next(name for name in _free_names(folder / path.name) if not _reason(name).exists())
    atomic_write_bytes(_reason(target), f"{why}\n".encode())
    move(path, target)
    if _own_options(path).exists():
        move(_own_options(path), _own_options(target))
    return target


def _reason(target: Path) -> Path:
    long = len(target.name.encode()) > _MAX_NAME
    return target.with_name((target.name[: _MAX_NAME // 5] if long else target.name) + _REASON)


def _free_names(path: Path) -> Iterator[Path]:
    """Unused paths: the path itself, then numbered ones."""
    number = 1
    while True:
        candidate = path if number == 1 else path.with_name(f"{path.stem}-{number}{path.suffix}")
        if not candidate.exists():
            yield candidate
        number += 1
