"""SHA256 and size of files; JSON files, lines and CSV tables that contain their own SHA256."""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from moola_pipeline.errors import ChecksumMismatch, IntegrityError, Truncated, UnreadableFile
from moola_pipeline.storage.atomic_write import atomic_write_bytes, file_sha256

if TYPE_CHECKING:
    from pydantic import BaseModel

ChoiceT = TypeVar("ChoiceT", bound="BaseModel")
CHUNK_BYTES = 8 << 20
OWN_SHA256 = "own_sha256"
"""Key or column of the SHA256 of all other content."""
_DIGEST = re.compile(r"(?P<sha256>[0-9a-f]{64})( (?P<bytes>[0-9]{1,18}))?")


class Readable(Protocol):
    """A source of bytes."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; empty at the end."""
        ...


class Writable(Protocol):
    """A target of bytes."""

    def write(self, content: bytes, /) -> Any:
        """Write all of `content`."""
        ...


@dataclass(frozen=True)
class FileDigest:
    """SHA256 and size of a file; `bytes` is None if the size was not recorded."""

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
        """The inverse of `str`.

        Raises:
            ValueError: If the text is not of that form.
        """
        match = _DIGEST.fullmatch(text)
        if match is None:
            raise ValueError(text)
        return cls(match["sha256"], int(match["bytes"]) if match["bytes"] else None)

    @classmethod
    def of(cls, path: Path) -> "FileDigest":
        """The digest of a file."""
        return cls(file_sha256(path), path.stat().st_size)

    @classmethod
    def of_stream(
        cls, stream: Readable, copy: Writable | None = None, limit: float = math.inf
    ) -> "FileDigest":
        """The digest of a stream, read in chunks.

        Args:
            stream: Read to its end, or until more than `limit` bytes were read.
            copy: Also receives the bytes.
            limit: In bytes.
        """
        digest, size = hashlib.sha256(), 0
        while size <= limit and (chunk := stream.read(CHUNK_BYTES)):
            digest.update(chunk)
            size += len(chunk)
            if copy is not None:
                copy.write(chunk)
        return cls(digest.hexdigest(), size)


def bytes_digest(content: bytes) -> FileDigest:
    """The digest of a file with this content."""
    return FileDigest(hashlib.sha256(content).hexdigest(), len(content))


def verify_digest(path: Path, name: str, recorded: FileDigest, recorded_in: str, remedy: str) -> None:
    """Verify a file against its recorded digest.

    Args:
        path: The file.
        name: Name of the file in the error.
        recorded: The recorded digest.
        recorded_in: Name of the record in the error.
        remedy: The remedy in the error.

    Raises:
        FileNotFoundError: If the file does not exist.
        Truncated: If it is shorter than recorded.
        ChecksumMismatch: If it has another SHA256.
    """
    require_digest(FileDigest.of(path), name, recorded, recorded_in, remedy)


def require_digest(
    actual: FileDigest, name: str, recorded: FileDigest, recorded_in: str, remedy: str
) -> None:
    """Refuse a digest that differs from the recorded one; arguments as in `verify_digest`.

    Raises:
        Truncated: If the file is shorter than recorded.
        ChecksumMismatch: If it has another SHA256.
    """
    if actual.sha256 == recorded.sha256:
        return
    fault = f"{name}: SHA256 is {actual.sha256}, {recorded_in} records {recorded.sha256}"
    if recorded.bytes is not None and actual.bytes is not None and actual.bytes < recorded.bytes:
        raise Truncated(f"{fault}: it ends after {actual.bytes:,} of {recorded.bytes:,} bytes. {remedy}")
    raise ChecksumMismatch(f"{fault}. {remedy}")


def unreadable(path: Path, fault: OSError, remedy: str) -> UnreadableFile:
    """A failed read as a one-line error with the file, the reason and the remedy."""
    reason = fault.strerror or str(fault)
    error = UnreadableFile(
        f"{fault.filename or path} must be readable, but reading failed: {reason}. "
        f"Repair the disk or its permissions. {remedy}".rstrip()
    )
    error.errno, error.strerror, error.filename = fault.errno, reason, str(fault.filename or path)
    return error


def write_checksummed(path: Path, content: Mapping[str, Any]) -> None:
    """Replace `path` with a JSON object that contains its own SHA256."""
    atomic_write_bytes(path, _checksummed(content))


def read_checksummed(path: Path, wanted: str, remedy: str) -> dict[str, Any]:
    """The JSON object in a file, without its SHA256.

    Args:
        path: A file from `write_checksummed`.
        wanted: The requirement in the error, such as `must hold the chosen split dates`.
        remedy: The remedy in the error.

    Raises:
        FileNotFoundError: If the file does not exist.
        UnreadableFile: If the system cannot read it.
        Truncated: If its end is missing.
        ChecksumMismatch: If any byte was changed.
        IntegrityError: If it is not a JSON object.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as fault:
        raise unreadable(path, fault, remedy) from fault
    return parse_checksummed(content, f"{path.name} {wanted}", remedy)


def read_choice(path: Path, model: "type[ChoiceT]", wanted: str, remedy: str) -> "ChoiceT | None":
    """A choice of the user that `write_checksummed` stored; None if there is none.

    Args:
        path: Its file.
        model: Its class.
        wanted: The requirement in the error, such as `must hold the chosen split dates`.
        remedy: The remedy in the error.

    Raises:
        IntegrityError: If the file was changed, or cannot be read; see `read_checksummed`.
    """
    from pydantic import ValidationError

    try:
        return model.model_validate(read_checksummed(path, wanted, remedy))
    except FileNotFoundError:
        return None
    except ValidationError as fault:
        first = fault.errors()[0]["msg"]
    raise IntegrityError(f"{path.name} {wanted}, but {first}. {remedy}")


def parse_checksummed(content: bytes, wanted: str, remedy: str) -> dict[str, Any]:
    """As `read_checksummed`, from the bytes of such a file."""
    try:
        record = json.loads(content)
    except RecursionError:
        raise IntegrityError(f"{wanted}, but it is nested too deeply. {remedy}") from None
    except ValueError as fault:
        if not content.rstrip().endswith(b"}"):
            raise Truncated(f"{wanted}, but it is truncated after {len(content):,} bytes. {remedy}") from None
        raise IntegrityError(
            f"{wanted}, but it is not JSON: {' '.join(str(fault).split())}. {remedy}"
        ) from None
    if not isinstance(record, dict):
        raise IntegrityError(f"{wanted}, but it is not a JSON object: {str(record)[:40]!r}. {remedy}")
    recorded = record.pop(OWN_SHA256, None)
    if content != _checksummed(record):
        actual = hashlib.sha256(_json(record)).hexdigest()
        raise ChecksumMismatch(
            f"{wanted}, but it was changed: its SHA256 is {actual}, it records "
            f"{'none' if recorded is None else str(recorded)[:64]}. {remedy}"
        )
    return record


def _checksummed(content: Mapping[str, Any]) -> bytes:
    digest = hashlib.sha256(_json(content)).hexdigest()
    return _json({**content, OWN_SHA256: digest})


def _json(content: Mapping[str, Any]) -> bytes:
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    return text.encode(errors="surrogatepass")  # JSON can hold a lone surrogate; it must not raise here


def checksummed_line(text: str) -> str:
    """A one-line JSON object with its own SHA256 added at the end."""
    digest = hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()
    return f'{text[:-1]},"{OWN_SHA256}":"{digest}"}}'


def parse_checksummed_line(line: str) -> str:
    """The inverse of `checksummed_line`.

    Raises:
        ChecksumMismatch: If the line was changed.
    """
    text, _, _ = line.rpartition(f',"{OWN_SHA256}":"')
    if checksummed_line(f"{text}}}") != line:
        raise ChecksumMismatch("the line does not match its own SHA256")
    return f"{text}}}"


def checksummed_csv(text: str) -> bytes:
    """A CSV table with one more column, which holds the digest of the original table in each row.

    Args:
        text: Header and rows, each ending with a newline; no cell spans lines.
    """
    header, *rows = text.removesuffix("\n").split("\n")
    digest = bytes_digest(text.encode())
    lines = [f"{header},{OWN_SHA256}", *(f"{row},{digest}" for row in rows)]
    return "".join(f"{line}\n" for line in lines).encode()


def verify_csv(content: bytes, header: str, name: str, remedy: str) -> None:
    """Verify a table from `checksummed_csv`.

    Args:
        content: Its bytes.
        header: Its first line, without the digest column.
        name: Name of the table in the error.
        remedy: The remedy in the error.

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
    """Digests of files by name, as JSON data."""
    return {name: asdict(digest) for name, digest in digests.items()}


def digests_in(record: Mapping[str, Any], wanted: str, remedy: str) -> dict[str, FileDigest]:
    """The inverse of `listed`, from the key `files`: digests by name.

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
