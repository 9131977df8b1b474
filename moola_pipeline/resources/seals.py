"""Digests of what an asset holds: recorded when it is kept, proven before it is read."""

from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Any

from moola_pipeline.errors import IntegrityError, MissingFile
from moola_pipeline.faultpoints import crash_point
from moola_pipeline.records import FileDigest, prove_file, publish_record, record_in, unreadable

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
