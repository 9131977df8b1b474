"""The faults a user can meet, each with the exit code of the command that meets it."""

import shlex
import sys
from collections.abc import Sequence

MAX_LINE_LENGTH = 2_000


def one_line(text: str) -> str:
    """A text as one line of at most MAX_LINE_LENGTH signs: a longer one loses its middle.

    What a file holds is quoted in faults, and a cell may hold lines, or megabytes. What was wanted
    stands at the beginning, what to do at the end.
    """
    line = " ".join(text.splitlines())
    if len(line) <= MAX_LINE_LENGTH:
        return line
    return f"{line[: MAX_LINE_LENGTH // 2 - 3]} ... {line[2 - MAX_LINE_LENGTH // 2 :]}"


def install_command(extra: str) -> str:
    """What installs an optional part for this very Python: a pip found elsewhere would serve another."""
    return f"{shlex.quote(sys.executable)} -m pip install -c requirements.txt -e '.[{extra}]'"


class MoolaError(Exception):
    """A fault with a name; its text is one line that a user can act on."""

    exit_code = 1

    def __str__(self) -> str:
        return one_line(super().__str__())


class BadInput(MoolaError, ValueError):
    """A file, an option or a setting of the user's is not what it must be."""

    exit_code = 2


class IntegrityError(MoolaError):
    """Something of ours is not what we recorded it to be."""


class ChecksumMismatch(IntegrityError):
    """The bytes of a file differ from the recorded SHA256."""


class LossNotFinite(MoolaError, FloatingPointError):
    """A training met a loss that is NaN or infinite.

    Attributes:
        loss: What came.
        rows: Rows of bar 0 of the windows that gave it.
    """

    loss: float = float("nan")
    rows: tuple[int, ...] = ()

    @classmethod
    def in_windows(cls, loss: float, rows: Sequence[int], named: str = "") -> "LossNotFinite":
        """The fault, its windows `named` by their rows unless by something better."""
        windows = named or f"at rows {', '.join(map(str, rows))}"
        fault = cls(
            f"the loss must be finite, got {loss} for the windows {windows}. "
            "Look at these bars (moola bars check), or lower the learning rate."
        )
        fault.loss, fault.rows = loss, tuple(rows)
        return fault


class MissingArtifact(BadInput):
    """Something was asked for that has not been made yet; the text names the command that makes it."""


class Truncated(ChecksumMismatch):
    """A file is shorter than what we recorded of it, or ends in the middle."""


class MissingFile(IntegrityError, FileNotFoundError):
    """A file that we recorded is gone."""

    def __str__(self) -> str:
        return one_line(str(self.args[0]))


class UnwritableFile(MoolaError, OSError):
    """A file of ours could not be written: no room, a broken disk, no permission.

    Attributes:
        errno, strerror, filename: Of the fault that the system reported, as in OSError.
    """

    def __str__(self) -> str:
        return one_line(str(self.args[0]))


class UnreadableFile(IntegrityError, OSError):
    """The system would not read a file that is there."""

    def __str__(self) -> str:
        return one_line(str(self.args[0]))
