"""SHA256 and size of kept files; JSON, lines and tables that contain their own SHA256."""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from moola_pipeline.errors import ChecksumMismatch, IntegrityError, Truncated, UnreadableFile
from moola_pipeline.storage.atomic_write import atomic_write_bytes, file_sha256

CHUNK_BYTES = 8 << 20
OWN_SHA256 = "own_sha256"
"""Under this name JSON, a line and a table hold the SHA256 of themselves without it."""
_DIGEST = re.compile(r"(?P<sha256>[0-9a-f]{64})( (?P<bytes>[0-9]{1,18}))?")


class Readable(Protocol):
    """What bytes are read from, some at a time."""

    def read(self, size: int, /) -> bytes:
        """At most so many bytes; none at the end."""
        ...


class Writable(Protocol):
    """What bytes are written to."""

    def write(self, content: bytes, /) -> Any:
        """Take them all."""
        ...


@dataclass(frozen=True)
class FileDigest:
    """SHA256 and size of a file; `bytes` is None where the size is not recorded."""

    sha256: str
    bytes: int | None

    def __post_init__(self) -> None:
        if type(self.sha256) is not str or type(self.bytes) not in (int, type(None)):
            raise TypeError(
                f"a digest must be text and a size, got {self.sha256!r:.40} and {self.bytes!r:.40}"
            )

    def __str__(self) -> str:
        return self.sha256 if self.bytes is None else f"{self.sha256} {self.bytes}"

    @classmethod
    def parse(cls, text: str) -> "FileDigest":
        """The digest that `str` wrote.

        Raises:
            ValueError: If the text is not of that form.
        """
        found = _DIGEST.fullmatch(text)
        if found is None:
            raise ValueError(text)
        return cls(found["sha256"], int(found["bytes"]) if found["bytes"] else None)

    @classmethod
    def of(cls, path: Path) -> "FileDigest":
        """The digest of a file as it is."""
        return cls(file_sha256(path), path.stat().st_size)

    @classmethod
    def of_stream(
        cls, stream: Readable, copy: Writable | None = None, limit: float = math.inf
    ) -> "FileDigest":
        """The digest of what a stream holds, read in chunks.

        Args:
            stream: Read to its end, or until more than `limit` bytes have come.
            copy: Where the bytes are written as well.
            limit: Bytes.
        """
        digest, size = hashlib.sha256(), 0
        while size <= limit and (chunk := stream.read(CHUNK_BYTES)):
            digest.update(chunk)
            size += len(chunk)
            if copy is not None:
                copy.write(chunk)
        return cls(digest.hexdigest(), size)


def bytes_digest(content: bytes) -> FileDigest:
    """The digest of a file that holds these bytes."""
    return FileDigest(hashlib.sha256(content).hexdigest(), len(content))


def prove_file(path: Path, name: str, recorded: FileDigest, recorded_in: str, remedy: str) -> None:
    """Prove that a file holds the bytes that were recorded.

    Args:
        path: The file.
        name: As the fault names it.
        recorded: What it must be.
        recorded_in: Where that stands.
        remedy: What to do where it is not.

    Raises:
        FileNotFoundError: If it is not there.
        Truncated: If it is shorter than recorded.
        ChecksumMismatch: If its SHA256 is another.
    """
    require_digest(FileDigest.of(path), name, recorded, recorded_in, remedy)


def require_digest(
    actual: FileDigest, name: str, recorded: FileDigest, recorded_in: str, remedy: str
) -> None:
    """Refuse a digest that is not the recorded one; arguments as of `prove_file`.

    Raises:
        Truncated: If the file is shorter than recorded.
        ChecksumMismatch: If its SHA256 is another.
    """
    if actual.sha256 == recorded.sha256:
        return
    fault = f"{name}: SHA256 is {actual.sha256}, {recorded_in} records {recorded.sha256}"
    if recorded.bytes is not None and actual.bytes is not None and actual.bytes < recorded.bytes:
        raise Truncated(f"{fault}: it ends after {actual.bytes:,} of {recorded.bytes:,} bytes. {remedy}")
    raise ChecksumMismatch(f"{fault}. {remedy}")


def unreadable(path: Path, fault: OSError, remedy: str) -> UnreadableFile:
    """A system's refusal to read, as one line that names the file and what to do."""
    reason = fault.strerror or str(fault)
    named = UnreadableFile(
        f"{fault.filename or path} must be readable, but reading failed: {reason}. "
        f"Repair the disk or its permissions. {remedy}".rstrip()
    )
    named.errno, named.strerror, named.filename = fault.errno, reason, str(fault.filename or path)
    return named


def write_checksummed(path: Path, content: Mapping[str, Any]) -> None:
    """Replace `path` with a JSON object that contains its own SHA256."""
    atomic_write_bytes(path, _checksummed(content))


def read_checksummed(path: Path, wanted: str, remedy: str) -> dict[str, Any]:
    """The JSON object in a file, without its SHA256.

    Args:
        path: A file that `write_checksummed` wrote.
        wanted: What it must be, as the fault says it: `must hold the chosen split dates`.
        remedy: What to do where it is not.

    Raises:
        FileNotFoundError: If there is no such file.
        Truncated: If its end is missing.
        ChecksumMismatch: If it is not, byte for byte, what was written.
        IntegrityError: If it is no JSON object.
    """
    return parse_checksummed(path.read_bytes(), f"{path.name} {wanted}", remedy)


def parse_checksummed(content: bytes, wanted: str, remedy: str) -> dict[str, Any]:
    """As `read_checksummed`, from the bytes of such a file."""
    try:
        found = json.loads(content)
    except RecursionError:
        raise IntegrityError(f"{wanted}, but it is nested too deeply. {remedy}") from None
    except ValueError as fault:
        if not content.rstrip().endswith(b"}"):
            raise Truncated(f"{wanted}, but it is truncated after {len(content):,} bytes. {remedy}") from None
        raise IntegrityError(
            f"{wanted}, but it is not JSON: {' '.join(str(fault).split())}. {remedy}"
        ) from None
    if not isinstance(found, dict):
        raise IntegrityError(f"{wanted}, but it is not a JSON object: {str(found)[:40]!r}. {remedy}")
    recorded = found.pop(OWN_SHA256, None)
    if content != _checksummed(found):
        actual = hashlib.sha256(_json(found)).hexdigest()
        raise ChecksumMismatch(
            f"{wanted}, but it was changed: its SHA256 is {actual}, it records {str(recorded)[:64]}. {remedy}"
        )
    return found


def _checksummed(content: Mapping[str, Any]) -> bytes:
    digest = hashlib.sha256(_json(content)).hexdigest()
    return _json({**content, OWN_SHA256: digest})


def _json(content: Mapping[str, Any]) -> bytes:
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    return text.encode(errors="surrogatepass")  # half a sign, which JSON can say, is a change like any other


def checksummed_line(text: str) -> str:
    """A JSON object on one line, with its own SHA256 added at its end."""
    digest = hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()
    return f'{text[:-1]},"{OWN_SHA256}":"{digest}"}}'


def parse_checksummed_line(line: str) -> str:
    """The JSON object that `checksummed_line` was given.

    Raises:
        ChecksumMismatch: If the line was changed.
    """
    text, _, _ = line.rpartition(f',"{OWN_SHA256}":"')
    if checksummed_line(f"{text}}}") != line:
        raise ChecksumMismatch("the line does not match its own SHA256")
    return f"{text}}}"


def checksummed_csv(text: str) -> bytes:
    """A csv table with one more column: in each row the digest of the table without it.

    Args:
        text: Header and rows, each ended by a newline, no cell of more than one line.
    """
    header, *rows = text.removesuffix("\n").split("\n")
    digest = bytes_digest(text.encode())
    lines = [f"{header},{OWN_SHA256}", *(f"{row},{digest}" for row in rows)]
    return "".join(f"{line}\n" for line in lines).encode()


def verify_csv(content: bytes, header: str, name: str, remedy: str) -> None:
    """Prove a table that `checksummed_csv` wrote.

    Args:
        content: Its bytes.
        header: Its first line, without the column of the digest.
        name: As the fault names it.
        remedy: What to do where it is not what was written.

    Raises:
        Truncated: If its end is missing.
        ChecksumMismatch: If it was changed.
    """
    _, *lines = content.split(b"\n")
    cells = [line.rpartition(b",") for line in lines if line]
    text = b"\n".join([header.encode(), *(row for row, _, _ in cells), b""])
    sha256, _, size = max((last for _, _, last in cells), default=b"").partition(b" ")
    if not content.endswith(b"\n") or (size.isdigit() and len(text) < int(size)):
        raise Truncated(f"{name}: it is truncated after {len(content):,} bytes. {remedy}")
    actual = hashlib.sha256(text).hexdigest()
    if content != checksummed_csv(text.decode(errors="replace")):
        recorded = sha256[:64].decode(errors="replace")
        raise ChecksumMismatch(
            f"{name}: it was changed: its SHA256 is {actual}, it records {recorded}. {remedy}"
        )


def listed(digests: Mapping[str, FileDigest]) -> dict[str, Any]:
    """Digests of files by name, as JSON holds them."""
    return {name: asdict(digest) for name, digest in digests.items()}


def digests_in(record: Mapping[str, Any], wanted: str, remedy: str) -> dict[str, FileDigest]:
    """What stands as `files` in JSON: the digests that `listed` wrote, by name.

    Raises:
        IntegrityError: If there are no such digests.
    """
    try:
        digests = {str(name): FileDigest(**digest) for name, digest in record["files"].items()}
        if any(digest.bytes is None for digest in digests.values()):
            raise ValueError("a file without a size")
    except (KeyError, TypeError, AttributeError, ValueError):
        raise IntegrityError(f"{wanted}, but it cannot be read. {remedy}") from None
    return digests
