"""Digests of what an asset holds: recorded when it is kept, proven before it is read."""

import json
from pathlib import Path

from moola_pipeline.errors import ChecksumMismatch, IntegrityError
from moola_pipeline.publish import file_sha256, publish_json

SEAL_SUFFIX = ".seal.json"
REMEDY = "Make it again: moola run"
GONE, CHANGED = "what it made is gone", "what it made was changed"


def seal(place: Path) -> None:
    """Record the SHA256 of every file of an asset, in a file beside them.

    Args:
        place: The asset's path without its suffix: `place.*` and all in the folder `place`.
    """
    publish_json(seal_file(place), {_name(place, path): file_sha256(path) for path in _files(place)})


def prove(place: Path) -> None:
    """Prove that an asset's files are those that were sealed; one kept without a seal is not judged.

    Raises:
        FileNotFoundError: If a sealed file is missing.
        ChecksumMismatch: If a file's SHA256 is another.
        IntegrityError: If the seal cannot be read.
    """
    for name, recorded in sealed(place).items():
        actual = file_sha256(place.parent / name)
        if actual != recorded:
            raise ChecksumMismatch(
                f"{name}: SHA256 is {actual}, {seal_file(place).name} records {recorded}. {REMEDY}"
            )


def damage(place: Path) -> str | None:
    """What has become of an asset since it was kept, in a few words; None if nothing has."""
    if not _files(place):
        return GONE
    try:
        prove(place)
    except FileNotFoundError:
        return GONE
    except (IntegrityError, OSError):
        return CHANGED
    return None


def sealed(place: Path) -> dict[str, str]:
    """The sealed files of an asset, named from its parent folder, with their SHA256; none without a seal.

    Raises:
        IntegrityError: If the seal cannot be read.
    """
    path = seal_file(place)
    if not path.exists():
        return {}
    try:
        return {str(name): str(digest) for name, digest in json.loads(path.read_bytes()).items()}
    except (ValueError, AttributeError):
        raise IntegrityError(f"{path.name} must hold digests, but it cannot be read. {REMEDY}") from None


def _files(place: Path) -> list[Path]:
    beside = [path for path in place.parent.glob(f"{place.name}.*") if path != seal_file(place)]
    return sorted(path for path in (*beside, *place.rglob("*")) if path.is_file() and path.name[0] != ".")


def _name(place: Path, path: Path) -> str:
    return path.relative_to(place.parent).as_posix()


def seal_file(place: Path) -> Path:
    """Where an asset's digests are recorded."""
    return place.with_name(place.name + SEAL_SUFFIX)
