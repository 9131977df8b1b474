"""The one way a file reaches its place: written beside it, synced, then renamed over it."""

import fnmatch
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock

from moola_pipeline.errors import MoolaError, UnwritableFile
from moola_pipeline.storage.crash_injection import crash_point

TEMPORARY_SUFFIX = ".tmp"
KEPT = "Its previous content is kept."
REPLACED = "It was replaced, but a power failure may still undo this."
STALE_FILE_SECONDS = 24 * 3600
"""A temporary file of this age belongs to nobody who is still at work."""


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; on success it replaces `path` whole.

    A reader sees the old bytes or the new ones, never a part; on an error nothing changes.

    Raises:
        UnwritableFile: If the system refuses to write; names the file and the reason.
    """
    crash_point("atomic_write.before_write", path)
    try:
        _make_folder(path.parent)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=TEMPORARY_SUFFIX, dir=path.parent)
        os.close(handle)
    except OSError as fault:
        raise unwritable(path, fault) from fault
    temporary, kept = Path(name), KEPT
    try:
        yield temporary
        crash_point("atomic_write.after_write", path)
        temporary.chmod(0o644)
        _sync(temporary)
        crash_point("atomic_write.before_rename", path)
        os.replace(temporary, path)
        kept = REPLACED
        crash_point("atomic_write.after_rename", path)
        _sync(path.parent)
    except OSError as fault:
        if isinstance(fault, MoolaError) or fault.errno is None or fault.filename not in (None, name):
            raise  # of another file, one that was read: the system numbers its refusals
        raise unwritable(path, fault, kept) from fault
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def unwritable(path: Path, fault: OSError, kept: str = KEPT) -> UnwritableFile:
    """A system's refusal to write, as one line that names the file and what to do."""
    reason = fault.strerror or str(fault)
    named = UnwritableFile(
        f"{path} must be writable, but writing failed: {reason}. {kept} Free space on its disk or repair "
        "it, then try again."
    )
    named.errno, named.strerror, named.filename = fault.errno, reason, str(path)
    return named


def atomic_write_bytes(path: Path, content: bytes) -> None:
    """Replace `path` with `content`, atomically."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


def atomic_write_json(path: Path, content: Any) -> None:
    """Replace `path` with `content` as indented JSON, keys in the order given."""
    atomic_write_bytes(path, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())


def locked(path: Path) -> FileLock:
    """A lock between processes, held in a file beside `path`; use it as a context manager."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path.with_name(f".{path.name}.lock"))


def file_sha256(path: Path) -> str:
    """SHA256 of a file's bytes as 64 hex digits.

    Raises:
        OSError: If the system refuses; it names the file, also where a read is what is refused.
    """
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as fault:
        fault.filename = fault.filename or str(path)
        raise


def move(source: Path, target: Path) -> None:
    """Give a file or folder another name on the same disk; the new name outlasts a power cut.

    Raises:
        UnwritableFile: If the system refuses.
    """
    try:
        _make_folder(target.parent)
        os.replace(source, target)
        _sync(target.parent)
        _sync(source.parent)
    except OSError as fault:
        raise unwritable(target, fault) from fault


def files_below(folder: Path, pattern: str) -> Iterator[Path]:
    """Files below a folder whose names match; folders that others remove meanwhile are passed over.

    `Path.rglob` ends with FileNotFoundError there.
    """
    for place, _, names in os.walk(folder):
        yield from (Path(place, name) for name in fnmatch.filter(names, pattern))


def stale_temporary_files(folder: Path) -> list[Path]:
    """Temporary files below a folder whose writers were killed: unfinished, and read by nobody."""
    oldest, found = time.time() - STALE_FILE_SECONDS, []
    for path in files_below(folder, f".*{TEMPORARY_SUFFIX}"):
        with suppress(FileNotFoundError):  # its writer is at work, and has just renamed it
            if path.lstat().st_mtime < oldest:
                found.append(path)
    return found


def sweep(folder: Path) -> None:
    """Remove what `stale_temporary_files` finds."""
    for path in stale_temporary_files(folder):
        path.unlink(missing_ok=True)


def _make_folder(folder: Path) -> None:
    """Make a folder and those above it; their names reach the disk, too."""
    new = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for one in new:
        _sync(one.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
