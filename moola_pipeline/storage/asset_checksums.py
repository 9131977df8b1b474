"""The checksum file of an asset: written with the asset, verified before each read."""

from pathlib import Path, PurePosixPath

from moola_pipeline.errors import IntegrityError, MissingFile
from moola_pipeline.storage.checksums import (
    FileDigest,
    digests_in,
    listed,
    parse_checksummed,
    unreadable,
    verify_digest,
    write_checksummed,
)
from moola_pipeline.storage.crash_injection import crash_point

CHECKSUMS_SUFFIX = ".checksums.json"
CHECKPOINTS = "checkpoints"
"""Folder of unfinished trainings, beside the assets."""
GONE, CHANGED = "its files are gone", "its files were changed"
UNREAD, UNPROVEN = "its files cannot be read", "its checksum file is gone"


def checksums_file(artifact_path: Path) -> Path:
    """The path of an asset's checksum file."""
    return artifact_path.with_name(artifact_path.name + CHECKSUMS_SUFFIX)


def artifact_path_of(checksums: Path) -> Path:
    """The path of the asset that a checksum file belongs to."""
    return checksums.with_name(checksums.name.removesuffix(CHECKSUMS_SUFFIX))


def write_checksums(artifact_path: Path) -> None:
    """Record size and SHA256 of every file of an asset, in a file beside them.

    Args:
        artifact_path: The asset's path without its suffix; its files are `artifact_path.*` and all files
            in the folder `artifact_path`.
    """
    digests = {
        path.relative_to(artifact_path.parent).as_posix(): FileDigest.of(path)
        for path in _files(artifact_path)
    }
    write_checksummed(checksums_file(artifact_path), {"files": listed(digests)})
    crash_point("atomic_write.after_manifest", checksums_file(artifact_path))


def read_checksums(artifact_path: Path) -> dict[str, FileDigest]:
    """Recorded digests of an asset's files, by path below its parent folder; empty without checksum file.

    Raises:
        Truncated, ChecksumMismatch: If the checksum file was changed.
        IntegrityError: If it holds no digests, or names a file outside the asset.
    """
    path = checksums_file(artifact_path)
    return checksums_in(path.read_bytes(), artifact_path, remedy_of(artifact_path)) if path.exists() else {}


def checksums_in(content: bytes, artifact_path: Path, remedy: str) -> dict[str, FileDigest]:
    """As `read_checksums`, from the bytes of a checksum file."""
    wanted = f"{checksums_file(artifact_path).name} must hold digests"
    digests = digests_in(parse_checksummed(content, wanted, remedy), wanted, remedy)
    if not all(_is_of(artifact_path, name) for name in digests):
        raise IntegrityError(f"{wanted}, but it cannot be read. {remedy}")
    return digests


def prove(artifact_path: Path) -> None:
    """Verify an asset's files against their recorded digests.

    Raises:
        MissingFile: If it has files, but no checksum file.
        FileNotFoundError: If it has no files, or a recorded one is missing.
        Truncated: If a file is shorter than recorded.
        ChecksumMismatch: If a file has another SHA256.
        UnreadableFile: If the system cannot read a file.
        IntegrityError: If the checksum file cannot be read, or names a file outside the asset.
    """
    checksums = checksums_file(artifact_path)
    if not checksums.exists():
        if not _files(artifact_path):
            raise FileNotFoundError(artifact_path)
        raise MissingFile(
            f"{checksums.name} must hold the digests of {artifact_path.name}, but it is gone. "
            f"{remedy_of(artifact_path)}"
        )
    for name, recorded in read_checksums(artifact_path).items():
        path = artifact_path.parent / name
        try:
            verify_digest(path, name, recorded, checksums.name, remedy_of(artifact_path))
        except FileNotFoundError:
            raise
        except OSError as fault:
            raise unreadable(path, fault, remedy_of(artifact_path)) from fault


def without_checksums(folder: Path) -> list[Path]:
    """The paths, without suffix, of a folder's assets that have files but no checksum file."""
    paths = [path for path in folder.glob("*") if path.name[0] != "." and path.name != CHECKPOINTS]
    artifact_paths = sorted({path.with_name(path.name.partition(".")[0]) for path in paths})
    return [
        artifact_path
        for artifact_path in artifact_paths
        if _files(artifact_path) and not checksums_file(artifact_path).exists()
    ]


def damage(artifact_path: Path) -> str | None:
    """The damage to a stored asset, in a few words; None if it is intact."""
    if not _files(artifact_path):
        return GONE
    if not checksums_file(artifact_path).exists():
        return UNPROVEN
    try:
        prove(artifact_path)
    except FileNotFoundError:
        return GONE
    except OSError:
        return UNREAD
    except IntegrityError:
        return CHANGED
    return None


def remedy_of(artifact_path: Path) -> str:
    """The command that rebuilds an asset, from the market and profile in its folder's name."""
    market, _, profile = artifact_path.parent.name.rpartition("-")
    _, _, scenario = market.partition("simulated-")
    if not market:
        return "Rebuild it: moola run"
    if scenario:
        return f"Rebuild it: moola run --scenario {scenario} --profile {profile}"
    kind = "simulated" if market == "simulated" else "registered"
    return f"Rebuild it: moola run --market {kind} --profile {profile}"


def _is_of(artifact_path: Path, name: str) -> bool:
    """Whether a name is the path of a file of the asset; names from another machine are not trusted."""
    own = name.startswith((f"{artifact_path.name}.", f"{artifact_path.name}/"))
    return own and name.isprintable() and ".." not in PurePosixPath(name).parts


def _files(artifact_path: Path) -> list[Path]:
    beside = [
        path
        for path in artifact_path.parent.glob(f"{artifact_path.name}.*")
        if path != checksums_file(artifact_path)
    ]
    return sorted(
        path for path in (*beside, *artifact_path.rglob("*")) if path.is_file() and path.name[0] != "."
    )
