"""Atomic writes: a temporary file beside the target, synced, then renamed over it."""

import fnmatch
import hashlib
import json
import os
import sys
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
"""A temporary file of this age has no running writer."""


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; on success it replaces `path`.

    A reader sees the old bytes or all of the new ones. On an error nothing changes.

    Raises:
        UnwritableFile: If writing fails; names the file and the reason.
    """
    crash_point("atomic_write.before_write", path)
    try:
        _make_folder(path.parent)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=TEMPORARY_SUFFIX, dir=path.parent)
        os.close(handle)
    except OSError as fault:
        raise unwritable(path, fault) from fault
    temporary, outcome = Path(name), KEPT
    try:
        yield temporary
        crash_point("atomic_write.after_write", path)
        temporary.chmod(0o644)
        _sync(temporary)
        crash_point("atomic_write.before_rename", path)
        os.replace(temporary, path)
        outcome = REPLACED
        crash_point("atomic_write.after_rename", path)
        _sync(path.parent)
    except OSError as fault:
        if isinstance(fault, MoolaError) or fault.errno is None or fault.filename not in (None, name):
            raise  # an error of another file, or of none
        raise unwritable(path, fault, outcome) from fault
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def unwritable(path: Path, fault: OSError, outcome: str = KEPT) -> UnwritableFile:
    """A failed write as a one-line error with the file, the reason and the remedy."""
    reason = fault.strerror or str(fault)
    error = UnwritableFile(
        f"{path} must be writable, but writing failed: {reason}. {outcome} Free space on its disk or repair "
        "it, then try again."
    )
    error.errno, error.strerror, error.filename = fault.errno, reason, str(path)
    return error


def atomic_write_bytes(path: Path, content: bytes) -> None:
    """Replace `path` with `content`, atomically."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


def atomic_write_json(path: Path, content: Any) -> None:
    """Replace `path` with `content` as indented JSON, keys in the order given."""
    atomic_write_bytes(path, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())


def append_bytes(path: Path, content: bytes, size: int) -> None:
    """Write `content` behind the first `size` bytes of a file, and sync it.

    Bytes behind these, which a killed writer left, are replaced. After a kill a part of the content may
    stand there: the reader must know, from elsewhere or from the content, how far the file counts.

    Raises:
        UnwritableFile: If writing fails; the first `size` bytes stay.
    """
    crash_point("atomic_write.before_write", path)
    try:
        _make_folder(path.parent)
        is_new = not path.exists()
        with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), "r+b") as stream:
            stream.truncate(size)
            stream.seek(size)
            stream.write(content)
            stream.flush()
            crash_point("atomic_write.after_write", path)
            os.fsync(stream.fileno())
        if is_new:
            _sync(path.parent)
    except OSError as fault:
        if isinstance(fault, MoolaError):
            raise
        raise unwritable(path, fault) from fault


def locked(path: Path) -> FileLock:
    """A lock between processes, in a file beside `path`, as a context manager."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path.with_name(f".{path.name}.lock"))


def file_sha256(path: Path) -> str:
    """SHA256 of a file's bytes as 64 hex digits.

    Raises:
        OSError: If reading fails; its `filename` is always set.
    """
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as fault:
        fault.filename = fault.filename or str(path)
        raise


def move(source: Path, target: Path) -> None:
    """Rename a file or folder on the same disk, and sync both folders.

    Raises:
        UnwritableFile: If renaming fails.
    """
    try:
        _make_folder(target.parent)
        os.replace(source, target)
        _sync(target.parent)
        _sync(source.parent)
    except OSError as fault:
        raise unwritable(target, fault) from fault


def files_below(folder: Path, pattern: str) -> Iterator[Path]:
    """Files below a folder whose names match; skips folders that are removed meanwhile.

    `Path.rglob` raises FileNotFoundError there.
    """
    for directory, _, names in os.walk(folder):
        yield from (Path(directory, name) for name in fnmatch.filter(names, pattern))


def stale_temporary_files(folder: Path) -> list[Path]:
    """Temporary files below a folder whose writers were killed."""
    oldest, stale = time.time() - STALE_FILE_SECONDS, []
    for path in files_below(folder, f".*{TEMPORARY_SUFFIX}"):
        with suppress(FileNotFoundError):  # its writer has just renamed it
            if path.lstat().st_mtime < oldest:
                stale.append(path)
    return stale


def sweep(folder: Path) -> None:
    """Remove stale temporary files."""
    for path in stale_temporary_files(folder):
        path.unlink(missing_ok=True)


def _make_folder(folder: Path) -> None:
    """Make a folder and its missing parents, and sync them."""
    new = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for one in new:
        _sync(one.parent)


def _sync(path: Path) -> None:
    if sys.platform == "win32" and path.is_dir():
        return  # folders cannot be opened there
    handle = os.open(path, os.O_RDWR if sys.platform == "win32" else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
