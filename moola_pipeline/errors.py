"""Errors that a user can meet, each with its exit code."""

import shlex
import sys
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

MAX_LINE_LENGTH = 2_000


def one_line(text: str) -> str:
    """Text as one line of at most MAX_LINE_LENGTH characters; a longer line loses its middle.

    Errors quote file contents, and a cell may hold many lines or megabytes. A message begins with
    what must hold and ends with the remedy.
    """
    line = " ".join(text.splitlines())
    if len(line) <= MAX_LINE_LENGTH:
        return line
    return f"{line[: MAX_LINE_LENGTH // 2 - 3]} ... {line[2 - MAX_LINE_LENGTH // 2 :]}"


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """A question with the most similar of some names, to follow a sentence; empty if none is similar."""
    spelled = {other.casefold(): other for other in names}
    close = get_close_matches(name.casefold(), spelled, n=1)
    return f" Did you mean {spelled[close[0]]!r}?" if close else ""


def install_command(extra: str) -> str:
    """The command that installs an extra for this Python; another pip may belong to another Python."""
    return f"{shlex.quote(sys.executable)} -m pip install -c requirements.txt -e '.[{extra}]'"


class MoolaError(Exception):
    """An expected error; its text is one line that a user can act on."""

    exit_code = 1

    def __str__(self) -> str:
        return one_line(super().__str__())


class BadInput(MoolaError, ValueError):
    """A file, an option or a setting of the user is invalid."""

    exit_code = 2


class IntegrityError(MoolaError):
    """Data that we recorded does not match its record."""


class ChecksumMismatch(IntegrityError):
    """The bytes of a file differ from the recorded SHA256."""


class LossNotFinite(MoolaError, FloatingPointError):
    """A training loss is NaN or infinite.

    Attributes:
        loss: The value.
        rows: Row of bar 0 of each window in the batch.
    """

    loss: float = float("nan")
    rows: tuple[int, ...] = ()

    @classmethod
    def in_windows(cls, loss: float, rows: Sequence[int], named: str = "") -> "LossNotFinite":
        """The error for windows that are described by `named`, else by their rows."""
        windows = named or f"at rows {', '.join(map(str, rows))}"
        error = cls(
            f"the loss must be finite, got {loss} for the windows {windows}. "
            "Check these bars (moola bars check), or lower the learning rate."
        )
        error.loss, error.rows = loss, tuple(rows)
        return error


class MissingArtifact(BadInput):
    """A requested result does not exist yet; the text names the command that builds it."""


class Truncated(ChecksumMismatch):
    """A file is shorter than recorded, or ends in the middle."""


class MissingFile(IntegrityError, FileNotFoundError):
    """A recorded file is missing."""

    def __str__(self) -> str:
        return one_line(str(self.args[0]))


class UnwritableFile(MoolaError, OSError):
    """A file could not be written: full disk, broken disk or missing permission.

    Attributes:
        errno, strerror, filename: As in the OSError of the system.
    """

    def __str__(self) -> str:
        return one_line(str(self.args[0]))


class UnreadableFile(IntegrityError, OSError):
    """A file exists, but the system could not read it."""

    def __str__(self) -> str:
        return one_line(str(self.args[0]))
