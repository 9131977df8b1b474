"""Digests of kept files: records that contain their own SHA256, and the checksum file of an asset's files."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from moola_pipeline.errors import ChecksumMismatch, IntegrityError, MissingFile, Truncated, UnreadableFile
from moola_pipeline.storage.atomic_write import file_sha256, publish_bytes
from moola_pipeline.storage.crash_injection import crash_point

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


FORMAT = 2
SEAL_SUFFIX = ".seal.json"
CHECKPOINTS = "checkpoints"
"""Folder beside the assets, of trainings under way."""
GONE, CHANGED = "what it made is gone", "what it made was changed"
UNREAD, UNPROVEN = "what it made cannot be read", "the digests of what it made are gone"


def seal(place: Path) -> None:
    """Record size and SHA256 of every file of an asset, in a file beside them.

    Args:
        place: The asset's path without its suffix: `place.*` and all in the folder `place`.
    """
    files = {_name(place, path): asdict(FileDigest.of(path)) for path in _files(place)}
    publish_record(seal_file(place), {"format": FORMAT, "files": files})
    crash_point("publish.after_manifest", seal_file(place))


def prove(place: Path) -> None:
    """Prove that an asset's files are those that were sealed.

    Raises:
        MissingFile: If it has files, but its seal is gone.
        FileNotFoundError: If it has none, or a sealed one is missing.
        Truncated: If a file is shorter than it was.
        ChecksumMismatch: If a file's SHA256 is another.
        UnreadableFile: If the system would not read one.
        IntegrityError: If the seal cannot be read, or names a file elsewhere.
    """
    if not seal_file(place).exists():
        if not _files(place):
            raise FileNotFoundError(place)
        raise MissingFile(
            f"{seal_file(place).name} must hold the digests of {place.name}, but it is gone. "
            f"{remedy_of(place)}"
        )
    for name, recorded in sealed_files(place).items():
        path = place.parent / name
        try:
            prove_file(path, name, recorded, seal_file(place).name, remedy_of(place))
        except FileNotFoundError:
            raise
        except OSError as fault:
            raise unreadable(path, fault, remedy_of(place)) from fault


def unsealed(folder: Path) -> list[Path]:
    """The assets of a folder, without suffix, that have files but no seal; none where there is no folder."""
    found = [path for path in folder.glob("*") if path.name[0] != "." and path.name != CHECKPOINTS]
    places = sorted({path.with_name(path.name.partition(".")[0]) for path in found})
    return [place for place in places if _files(place) and not seal_file(place).exists()]


def damage(place: Path) -> str | None:
    """What has become of an asset since it was kept, in a few words; None if nothing has."""
    if not _files(place):
        return GONE
    if not seal_file(place).exists():
        return UNPROVEN
    try:
        prove(place)
    except FileNotFoundError:
        return GONE
    except OSError:
        return UNREAD
    except IntegrityError:
        return CHANGED
    return None


def sealed(place: Path) -> dict[str, str]:
    """The sealed files of an asset, named from its parent folder, with their SHA256; none without a seal.

    Raises:
        IntegrityError: If the seal cannot be read.
    """
    return {name: digest.sha256 for name, digest in sealed_files(place).items()}


def sealed_files(place: Path) -> dict[str, FileDigest]:
    """As `sealed`, with sizes where they were recorded."""
    path = seal_file(place)
    return digests_in(path.read_bytes(), path.name, remedy_of(place)) if path.exists() else {}


def remedy_of(place: Path) -> str:
    """How an asset is made again: by a run of the market and the profile that its folder is named after."""
    market, _, profile = place.parent.name.rpartition("-")
    _, _, scenario = market.partition("simulated-")
    if not market:
        return "Make it again: moola run"
    if scenario:
        return f"Make it again: moola run --scenario {scenario} --profile {profile}"
    kind = "simulated" if market == "simulated" else "registered"
    return f"Make it again: moola run --market {kind} --profile {profile}"


def digests_in(content: bytes, name: str, remedy: str) -> dict[str, FileDigest]:
    """What the bytes of a seal record; seals of format 1 hold names and SHA256 alone.

    Raises:
        Truncated: If its end is missing.
        ChecksumMismatch: If it was changed.
        IntegrityError: If it is no seal.
    """
    record = record_in(content, f"{name} must hold digests", remedy)
    try:
        if record.get("format") == FORMAT:
            return {_inside(file): FileDigest(**digest) for file, digest in record["files"].items()}
        return {_inside(file): FileDigest(_text(digest), None) for file, digest in record.items()}
    except (KeyError, TypeError, AttributeError, ValueError):
        raise IntegrityError(f"{name} must hold digests, but it cannot be read. {remedy}") from None


def _inside(name: str) -> str:
    """The name, if it leads to a file in the asset's folder and nowhere else."""
    if not name.isprintable() or name.startswith("/") or ".." in PurePosixPath(name).parts:
        raise ValueError(name)
    return name


def _text(digest: Any) -> str:
    if not isinstance(digest, str):
        raise TypeError(digest)
    return digest


def _files(place: Path) -> list[Path]:
    beside = [path for path in place.parent.glob(f"{place.name}.*") if path != seal_file(place)]
    return sorted(path for path in (*beside, *place.rglob("*")) if path.is_file() and path.name[0] != ".")


def _name(place: Path, path: Path) -> str:
    return path.relative_to(place.parent).as_posix()


def seal_file(place: Path) -> Path:
    """Where an asset's digests are recorded."""
    return place.with_name(place.name + SEAL_SUFFIX)
