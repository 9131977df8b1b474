"""Simulated disk errors: at the n-th open, write, flush, rename or read in a folder, or for one file."""

import builtins
import errno
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


class FailingDisk:
    """Counts the disk requests below a folder, and fails the n-th.

    Attributes:
        fails_at: Number of the failing request, from 1; 0 fails none.
        code: The error, `errno.ENOSPC` or `errno.EIO`.
        requests: Names of all requests so far.
    """

    def __init__(self, folder: Path, fails_at: int, code: int) -> None:
        self.folder, self.fails_at, self.code = str(folder), fails_at, code
        self.requests: list[str] = []
        self._handles: set[int] = set()

    def request(self, name: str) -> None:
        """Count a request, and fail it if it is the n-th."""
        self.requests.append(name)
        if len(self.requests) == self.fails_at:
            raise OSError(self.code, os.strerror(self.code))

    def contains(self, target: Any) -> bool:
        """Whether a path or file descriptor lies in the folder."""
        if isinstance(target, int):
            return target in self._handles
        return isinstance(target, str | os.PathLike) and os.fspath(target).startswith(self.folder)

    def guarded(self, name: str, real: Callable) -> Callable:
        """Wrap a system call so that it counts as a request."""

        def call(target: Any, *args: Any, **kwargs: Any) -> Any:
            if not self.contains(target):
                return real(target, *args, **kwargs)
            self.request(name)
            result = real(target, *args, **kwargs)
            if name == "os.open":
                self._handles.add(result)
            return result

        return call

    def opened(self, real: Callable) -> Callable:
        """Wrap `open` so that each read and write of its streams counts as a request."""

        def call(target: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            if not self.contains(target):
                return real(target, mode, *args, **kwargs)
            self.request(f"open {mode}")
            if "b" not in mode:
                return real(target, mode, *args, **kwargs)
            kwargs.pop("buffering", None)
            return _CountedStream(self, real(target, mode, 0))

        return call


class _CountedStream(io.BufferedIOBase):
    def __init__(self, disk: FailingDisk, stream: Any) -> None:
        self._disk, self._stream = disk, stream

    def write(self, content: Any) -> int:
        self._disk.request("write")
        view, done = memoryview(content).cast("B"), 0
        while done < len(view):
            done += self._stream.write(view[done:])
        return done

    def read(self, size: int | None = -1) -> bytes:
        self._disk.request("read")
        return self._stream.read(-1 if size is None else size)

    def readinto(self, buffer: Any) -> int:
        self._disk.request("read")
        return self._stream.readinto(buffer)

    def readable(self) -> bool:
        return self._stream.readable()

    def writable(self) -> bool:
        return self._stream.writable()

    def seekable(self) -> bool:
        return self._stream.seekable()

    def seek(self, place: int, whence: int = 0) -> int:
        return self._stream.seek(place, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def truncate(self, size: int | None = None) -> int:
        self._disk.request("write")
        return self._stream.truncate(size)

    def fileno(self) -> int:
        return self._stream.fileno()

    def close(self) -> None:
        self._stream.close()
        super().close()


@contextmanager
def unreadable_file(path: Path, code: int = errno.EIO) -> Iterator[None]:
    """Make every open of one file for reading fail; other files and writes work."""
    real = io.open

    def failing_open(target: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        if isinstance(target, str | os.PathLike) and Path(target) == path and not set(mode) & set("wax+"):
            raise OSError(code, os.strerror(code), os.fspath(target))
        return real(target, mode, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(io, "open", failing_open)
        patched.setattr(builtins, "open", failing_open)
        yield


@contextmanager
def failing_disk(folder: Path, fails_at: int, code: int = errno.ENOSPC) -> Iterator[FailingDisk]:
    """Make the n-th disk request below a folder fail."""
    disk = FailingDisk(folder, fails_at, code)
    with pytest.MonkeyPatch.context() as patched:
        for name in ("open", "replace", "fsync", "mkdir"):
            patched.setattr(os, name, disk.guarded(f"os.{name}", getattr(os, name)))
        patched.setattr(io, "open", disk.opened(io.open))
        patched.setattr(builtins, "open", disk.opened(builtins.open))
        yield disk
