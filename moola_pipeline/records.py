"""Files that prove themselves: records that hold their own digest, and files whose digest is recorded."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from moola_pipeline.errors import ChecksumMismatch, IntegrityError, Truncated, UnreadableFile
from moola_pipeline.publish import file_sha256, publish_bytes

CHUNK_BYTES = 8 << 20
OWN_DIGEST = "record_sha256"
"""Under this name a record holds the SHA256 of itself without it. One written by format 1 has none."""


class Readable(Protocol):
    """What bytes are read from, some at a time."""

    def read(self, size: int, /) -> bytes:
        """At most so many bytes; none at the end."""
        ...


@dataclass(frozen=True)
class FileDigest:
    """What is recorded of a file; `bytes` is None in records of format 1."""

    sha256: str
    bytes: int | None

    def __post_init__(self) -> None:
        if type(self.sha256) is not str or type(self.bytes) not in (int, type(None)):
            raise TypeError(
                f"a digest must be text and a size, got {self.sha256!r:.40} and {self.bytes!r:.40}"
            )

    @classmethod
    def of(cls, path: Path) -> "FileDigest":
        """The digest of a file as it is."""
        return cls(file_sha256(path), path.stat().st_size)

    @classmethod
    def of_stream(cls, stream: "Readable") -> "FileDigest":
        """The digest of what a stream holds, read in chunks."""
        digest, size = hashlib.sha256(), 0
        while chunk := stream.read(CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
        return cls(digest.hexdigest(), size)


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
    require_recorded(FileDigest.of(path), name, recorded, recorded_in, remedy)


def require_recorded(
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


def publish_record(path: Path, content: dict[str, Any]) -> None:
    """Replace `path` with a JSON object that holds its own digest."""
    publish_bytes(path, _written(content))


def read_record(path: Path, wanted: str, remedy: str) -> dict[str, Any]:
    """The JSON object in a file, without its digest; one of format 1 holds none and is taken as it is.

    Args:
        path: The record.
        wanted: What it must be, as the fault says it: `must hold the chosen split dates`.
        remedy: What to do where it is not.

    Raises:
        FileNotFoundError: If there is no such file.
        Truncated: If its end is missing.
        ChecksumMismatch: If it is not, byte for byte, what was written.
        IntegrityError: If it is no JSON object.
    """
    return record_in(path.read_bytes(), f"{path.name} {wanted}", remedy)


def record_in(content: bytes, wanted: str, remedy: str) -> dict[str, Any]:
    """The JSON object in the bytes of a record; faults as of `read_record`."""
    try:
        found = json.loads(content)
    except RecursionError:
        raise IntegrityError(f"{wanted}, but it is nested without end. {remedy}") from None
    except ValueError as fault:
        if not content.rstrip().endswith(b"}"):
            raise Truncated(
                f"{wanted}, but it ends in the middle, after {len(content):,} bytes. {remedy}"
            ) from None
        raise IntegrityError(
            f"{wanted}, but it is no JSON: {' '.join(str(fault).split())}. {remedy}"
        ) from None
    if not isinstance(found, dict):
        raise IntegrityError(f"{wanted}, but it is no JSON object: {str(found)[:40]!r}. {remedy}")
    recorded = found.pop(OWN_DIGEST, next(filter(None, map(_misspelled, found)), None))
    if recorded is not None and content != _written(found):
        actual = hashlib.sha256(_json(found)).hexdigest()
        raise ChecksumMismatch(
            f"{wanted}, but it was changed: its SHA256 is {actual}, it records {str(recorded)[:64]}. {remedy}"
        )
    return found


def self_proving_line(text: str) -> str:
    """A JSON object on one line, with its own digest added at its end."""
    digest = hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()
    return f'{text[:-1]},"{OWN_DIGEST}":"{digest}"}}'


def proven_line(line: str) -> str:
    """The JSON object that `self_proving_line` was given; a line without a digest as it is.

    Raises:
        ChecksumMismatch: If the line was changed.
    """
    text, found, _ = line.rpartition(f',"{OWN_DIGEST}":"')
    if not found:
        return line
    if self_proving_line(f"{text}}}") != line:
        raise ChecksumMismatch("the line is not what its own digest says")
    return f"{text}}}"


def self_proving_csv(text: str) -> bytes:
    """A csv table with one more column: in each row the SHA256 and the size of the table without it.

    Args:
        text: Header and rows, each ended by a newline, no cell of more than one line.
    """
    header, *rows = text.removesuffix("\n").split("\n")
    digest = f"{hashlib.sha256(text.encode()).hexdigest()} {len(text.encode())}"
    lines = [f"{header},{OWN_DIGEST}", *(f"{row},{digest}" for row in rows)]
    return "".join(f"{line}\n" for line in lines).encode()


def require_csv_as_written(content: bytes, header: str, name: str, remedy: str) -> None:
    """Prove a table that `self_proving_csv` wrote; one of format 2 holds no digest and is not judged.

    Args:
        content: Its bytes.
        header: Its first line, without the column of the digest.
        name: As the fault names it.
        remedy: What to do where it is not what was written.

    Raises:
        Truncated: If its end is missing.
        ChecksumMismatch: If it was changed.
    """
    first, *lines = content.split(b"\n")
    if first == header.encode():
        return
    cells = [line.rpartition(b",") for line in lines if line]
    text = b"\n".join([header.encode(), *(row for row, _, _ in cells), b""])
    sha256, _, size = max((last for _, _, last in cells), default=b"").partition(b" ")
    if not content.endswith(b"\n") or (size.isdigit() and len(text) < int(size)):
        raise Truncated(f"{name}: it ends in the middle, after {len(content):,} bytes. {remedy}")
    actual = hashlib.sha256(text).hexdigest()
    if content != self_proving_csv(text.decode(errors="replace")):
        recorded = sha256[:64].decode(errors="replace")
        raise ChecksumMismatch(
            f"{name}: it was changed: its SHA256 is {actual}, it records {recorded}. {remedy}"
        )


def unreadable(path: Path, fault: OSError, remedy: str) -> UnreadableFile:
    """A system's refusal to read, as one line that names the file and what to do."""
    reason = fault.strerror or str(fault)
    named = UnreadableFile(
        f"{fault.filename or path} must be read, but that gave: {reason}. "
        f"Mend the disk or its permissions. {remedy}".rstrip()
    )
    named.errno, named.strerror, named.filename = fault.errno, reason, str(fault.filename or path)
    return named


def proves_itself(path: Path) -> bool:
    """Whether a record holds its own digest; one of format 1 does not."""
    return OWN_DIGEST.encode() in path.read_bytes()


def _misspelled(key: str) -> str | None:
    """The key, if it is that of the digest but for one sign: then the record is not of format 1."""
    wrong = sum(one != other for one, other in zip(key, OWN_DIGEST, strict=False))
    return key if len(key) == len(OWN_DIGEST) and wrong == 1 else None


def _written(content: dict[str, Any]) -> bytes:
    digest = hashlib.sha256(_json(content)).hexdigest()
    return _json({**content, OWN_DIGEST: digest})


def _json(content: dict[str, Any]) -> bytes:
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    return text.encode(errors="surrogatepass")  # half a sign, which JSON can say, is a change like any other
