"""The faults a user can meet, each with the exit code of the command that meets it."""


class MoolaError(Exception):
    """A fault with a name; its text is one line that a user can act on."""

    exit_code = 1


class BadInput(MoolaError, ValueError):
    """A file, an option or a setting of the user's is not what it must be."""

    exit_code = 2


class IntegrityError(MoolaError):
    """Something of ours is not what we recorded it to be."""


class ChecksumMismatch(IntegrityError):
    """The bytes of a file differ from the recorded SHA256."""


class MissingArtifact(BadInput):
    """Something was asked for that has not been made yet; the text names the command that makes it."""


class Truncated(ChecksumMismatch):
    """A file is shorter than what we recorded of it, or ends in the middle."""


class UnwritableFile(MoolaError, OSError):
    """A file of ours could not be written: no room, a broken disk, no permission.

    Attributes:
        errno, strerror, filename: Of the fault that the system reported, as in OSError.
    """


class UnreadableFile(IntegrityError, OSError):
    """The system would not read a file that is there."""
