"""A disk that fails: the n-th open, write, flush, rename or read below a folder, or every read of a file."""

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
    """Counts what the code asks of a folder, and refuses the n-th request.

    Attributes:
        fails_at: Which request is refused, from 1; 0 refuses none.
        code: The error, `errno.ENOSPC` or `errno.EIO`.
        requests: The names of all requests so far.
    """

    def __init__(self, folder: Path, fails_at: int, code: int) -> None:
        self.folder, self.fails_at, self.code = str(folder), fails_at, code
        self.requests: list[str] = []
        self._handles: set[int] = set()

    def ask(self, request: str) -> None:
        """Count a request, and refuse it if it is the one."""
        self.requests.append(request)
        if len(self.requests) == self.fails_at:
            raise OSError(self.code, os.strerror(self.code))

    def concerns(self, place: Any) -> bool:
        """Whether a path or handle lies in the folder."""
        if isinstance(place, int):
            return place in self._handles
        return isinstance(place, str | os.PathLike) and os.fspath(place).startswith(self.folder)

    def guarded(self, name: str, real: Callable) -> Callable:
        """A system call that asks first."""

        def call(place: Any, *words: Any, **named: Any) -> Any:
            if not self.concerns(place):
                return real(place, *words, **named)
            self.ask(name)
            done = real(place, *words, **named)
            if name == "os.open":
                self._handles.add(done)
            return done

        return call

    def opened(self, real: Callable) -> Callable:
        """`open` whose streams ask before each read and write."""

        def call(place: Any, mode: str = "r", *words: Any, **named: Any) -> Any:
            if not self.concerns(place):
                return real(place, mode, *words, **named)
            self.ask(f"open {mode}")
            if "b" not in mode:
                return real(place, mode, *words, **named)
            named.pop("buffering", None)
            return _Asking(self, real(place, mode, 0))

        return call


class _Asking(io.BufferedIOBase):
    def __init__(self, disk: FailingDisk, stream: Any) -> None:
        self._disk, self._stream = disk, stream

    def write(self, content: Any) -> int:
        self._disk.ask("write")
        view, done = memoryview(content).cast("B"), 0
        while done < len(view):
            done += self._stream.write(view[done:])
        return done

    def read(self, size: int | None = -1) -> bytes:
        self._disk.ask("read")
        return self._stream.read(-1 if size is None else size)

    def readinto(self, buffer: Any) -> int:
        self._disk.ask("read")
        return self._stream.readinto(buffer)

    def readable(self) -> bool:
        return self._stream.readable()

    def writable(self) -> bool:
        return self._stream.writable()

    def close(self) -> None:
        self._stream.close()
        super().close()


@contextmanager
def unreadable_file(path: Path, code: int = errno.EIO) -> Iterator[None]:
    """Let every open of one file for reading fail; files beside it, and what is written, do not."""
    real = io.open

    def refusing(place: Any, mode: str = "r", *words: Any, **named: Any) -> Any:
        if isinstance(place, str | os.PathLike) and Path(place) == path and not set(mode) & set("wax+"):
            raise OSError(code, os.strerror(code), os.fspath(place))
        return real(place, mode, *words, **named)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(io, "open", refusing)
        patched.setattr(builtins, "open", refusing)
        yield


@contextmanager
def failing_disk(folder: Path, fails_at: int, code: int = errno.ENOSPC) -> Iterator[FailingDisk]:
    """Let the n-th request below a folder fail."""
    disk = FailingDisk(folder, fails_at, code)
    with pytest.MonkeyPatch.context() as patched:
        for name in ("open", "replace", "fsync", "mkdir"):
            patched.setattr(os, name, disk.guarded(f"os.{name}", getattr(os, name)))
        patched.setattr(io, "open", disk.opened(io.open))
        patched.setattr(builtins, "open", disk.opened(builtins.open))
        yield disk
