"""The checksum file of an asset: digests recorded when it is kept, and proven before it is read."""

from pathlib import Path, PurePosixPath

from moola_pipeline.errors import IntegrityError, MissingFile
from moola_pipeline.storage.checksums import (
    FileDigest,
    digests_in,
    listed,
    prove_file,
    publish_record,
    record_in,
    unreadable,
)
from moola_pipeline.storage.crash_injection import crash_point

CHECKSUMS_SUFFIX = ".checksums.json"
CHECKPOINTS = "checkpoints"
"""Folder beside the assets, of trainings under way."""
GONE, CHANGED = "what it made is gone", "what it made was changed"
UNREAD, UNPROVEN = "what it made cannot be read", "the digests of what it made are gone"


def checksums_file(place: Path) -> Path:
    """Where the digests of an asset's files are kept."""
    return place.with_name(place.name + CHECKSUMS_SUFFIX)


def place_of(checksums: Path) -> Path:
    """The asset whose digests a checksum file holds."""
    return checksums.with_name(checksums.name.removesuffix(CHECKSUMS_SUFFIX))


def write_checksums(place: Path) -> None:
    """Record size and SHA256 of every file of an asset, in a file beside them.

    Args:
        place: The asset's path without its suffix: `place.*` and all in the folder `place`.
    """
    digests = {path.relative_to(place.parent).as_posix(): FileDigest.of(path) for path in _files(place)}
    publish_record(checksums_file(place), {"files": listed(digests)})
    crash_point("publish.after_manifest", checksums_file(place))


def read_checksums(place: Path) -> dict[str, FileDigest]:
    """The recorded digests of an asset's files, named from its parent folder; none without a checksum file.

    Raises:
        Truncated, ChecksumMismatch: If the checksum file is not what was written.
        IntegrityError: If it holds no digests, or names a file outside the asset.
    """
    path = checksums_file(place)
    return checksums_in(path.read_bytes(), place, remedy_of(place)) if path.exists() else {}


def checksums_in(content: bytes, place: Path, remedy: str) -> dict[str, FileDigest]:
    """As `read_checksums`, from the bytes of an asset's checksum file."""
    wanted = f"{checksums_file(place).name} must hold digests"
    digests = digests_in(record_in(content, wanted, remedy), wanted, remedy)
    if not all(_is_of(place, name) for name in digests):
        raise IntegrityError(f"{wanted}, but it cannot be read. {remedy}")
    return digests


def prove(place: Path) -> None:
    """Prove that an asset's files are those whose digests were recorded.

    Raises:
        MissingFile: If it has files, but its checksum file is gone.
        FileNotFoundError: If it has none, or a recorded one is missing.
        Truncated: If a file is shorter than it was.
        ChecksumMismatch: If a file's SHA256 is another.
        UnreadableFile: If the system would not read one.
        IntegrityError: If the checksum file cannot be read, or names a file elsewhere.
    """
    checksums = checksums_file(place)
    if not checksums.exists():
        if not _files(place):
            raise FileNotFoundError(place)
        raise MissingFile(
            f"{checksums.name} must hold the digests of {place.name}, but it is gone. {remedy_of(place)}"
        )
    for name, recorded in read_checksums(place).items():
        path = place.parent / name
        try:
            prove_file(path, name, recorded, checksums.name, remedy_of(place))
        except FileNotFoundError:
            raise
        except OSError as fault:
            raise unreadable(path, fault, remedy_of(place)) from fault


def without_checksums(folder: Path) -> list[Path]:
    """The assets of a folder, without suffix, that have files but no checksum file."""
    found = [path for path in folder.glob("*") if path.name[0] != "." and path.name != CHECKPOINTS]
    places = sorted({path.with_name(path.name.partition(".")[0]) for path in found})
    return [place for place in places if _files(place) and not checksums_file(place).exists()]


def damage(place: Path) -> str | None:
    """What has become of an asset since it was kept, in a few words; None if nothing has."""
    if not _files(place):
        return GONE
    if not checksums_file(place).exists():
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


def _is_of(place: Path, name: str) -> bool:
    """Whether a name leads to a file of the asset and nowhere else; it may come from another machine."""
    own = name.startswith((f"{place.name}.", f"{place.name}/"))
    return own and name.isprintable() and ".." not in PurePosixPath(name).parts


def _files(place: Path) -> list[Path]:
    beside = [path for path in place.parent.glob(f"{place.name}.*") if path != checksums_file(place)]
    return sorted(path for path in (*beside, *place.rglob("*")) if path.is_file() and path.name[0] != ".")
