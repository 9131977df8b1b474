"""The one way a file reaches its place: written beside it, synced, then renamed over it."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock


@contextmanager
def publishing(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; on success it replaces `path` whole.

    A reader sees the old bytes or the new ones, never a part; on an error nothing changes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def publish_bytes(path: Path, content: bytes) -> None:
    """Replace `path` with `content`, atomically."""
    with publishing(path) as temporary:
        temporary.write_bytes(content)


def publish_json(path: Path, content: Any) -> None:
    """Replace `path` with `content` as indented JSON, keys in the order given."""
    publish_bytes(path, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())


def locked(path: Path) -> FileLock:
    """A lock between processes, held in a file beside `path`; use it as a context manager."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path.with_name(f".{path.name}.lock"))


def file_sha256(path: Path) -> str:
    """SHA256 of a file's bytes as 64 hex digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
