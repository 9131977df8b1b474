"""Backup of a home into one zip archive, and restore, with a SHA256 for every file."""

import shutil
import sqlite3
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from moola_pipeline import __version__
from moola_pipeline.errors import BadInput, ChecksumMismatch, IntegrityError, MoolaError, Truncated
from moola_pipeline.storage.atomic_write import TEMPORARY_SUFFIX, atomic_write, locked, move
from moola_pipeline.storage.checksums import (
    FileDigest,
    digests_in,
    listed,
    parse_checksummed,
    require_digest,
    write_checksummed,
)
from moola_pipeline.storage.home import HOME_FORMAT, INSTANCE_FILE, Home, format_in, home_format
from moola_pipeline.storage.sqlite import JOURNALS, journals_of, sqlite_lock

LIST_NAME = "digests.json"
"""File in the archive: version, format, and size and SHA256 of each file."""
KEPT = ("data", ".dagster", INSTANCE_FILE)
"""The parts of a home; nothing else is backed up or restored."""
REGISTERED = ("manifest.json", "labels/ledger.json")
"""In the folder of an instrument: the files that say which others there count, written under a lock each."""
MAX_LIST = 64 << 20
"""Maximal size of the list in bytes: half a million files."""
_END_BYTES = 22
"""Size of the record that ends a zip archive."""
_MAX_COMMENT = 2**16
"""Maximal number of bytes after this record."""
_DAMAGE = (zipfile.BadZipFile, EOFError, zlib.error, OSError, ValueError, RuntimeError, struct.error)
"""Errors of zipfile on damaged archives; NotImplementedError is a RuntimeError."""
_EARLIEST = (1980, 1, 1, 0, 0, 0)
"""A constant time stamp, so that the same home gives the same bytes."""


@dataclass(frozen=True)
class Archived:
    """Size of an archive's content."""

    files: int
    bytes: int
    aside: Path | None = None
    """Folder with the home's former data after a restore; None if there was none."""


def back_up(home: Home, target: Path) -> Archived:
    """Write a home's data into one archive; databases are copied with SQLite's backup API.

    Registered bars and labels are copied first, while nobody may add any: other commands wait meanwhile.

    Raises:
        BadInput: If the home has no data or holds links, or the target lies in a folder that is backed up.
        IntegrityError: If a database cannot be read.
        UnwritableFile: If the archive cannot be written; an earlier archive of that name is kept.
    """
    inside = target.resolve().relative_to(home.root.resolve()) if _is_in(target, home.root) else None
    if inside is not None and inside.parts[0] in KEPT:
        raise BadInput(
            f"FILE must lie outside the folders that are backed up, got {target}. Choose another path."
        )
    if not any(backed_up_files(home)):
        raise BadInput(f"A backup needs a home with data, but {home.root} has none.")
    _refuse_links(home)
    digests: dict[str, FileDigest] = {}

    def keep(path: Path) -> None:
        name = path.relative_to(home.root).as_posix()
        source = _database_copy(path, Path(scratch)) if path.suffix == ".db" else path
        digests[name] = _add(archive, name, source)

    with (
        atomic_write(target) as temporary,
        tempfile.TemporaryDirectory() as scratch,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
    ):
        with ExitStack() as locks:
            counting = [path for name in REGISTERED for path in sorted(home.data.glob(f"*/{name}"))]
            for path in counting:
                locks.enter_context(locked(path))
            paths = list(backed_up_files(home))
            registered = {path for path in paths for one in counting if path.is_relative_to(one.parent)}
            for path in sorted(registered):
                keep(path)
        for path in paths:
            if path not in registered and path.exists():
                keep(path)
        listing = Path(scratch) / LIST_NAME
        facts = {"moola": __version__, "format": home_format(home), "files": listed(digests)}
        write_checksummed(listing, facts)
        _add(archive, LIST_NAME, listing)
    return Archived(len(digests), sum(one.bytes or 0 for one in digests.values()))


def restore(home: Home, source: Path, force: bool) -> Archived:
    """Restore a home from an archive; the whole archive is verified before the home is changed.

    Args:
        home: The home.
        source: An archive from `back_up`.
        force: Move the home's present data aside, instead of refusing.

    Raises:
        BadInput: If the home has data and `force` is False, the file is no such archive, or
            another process has one of the home's databases open.
        Truncated: If the archive is truncated.
        ChecksumMismatch: If a file differs from the archive's list.
        IntegrityError: If a later version wrote it.
    """
    if any(backed_up_files(home)) and not force:
        raise BadInput(
            f"The home must be empty for a restore, but {home.root} holds data. Choose another --home, or "
            "move its data aside with --force."
        )
    for path in backed_up_files(home):
        with _held(path):  # refuse early: verifying the archive may take minutes
            pass
    home.root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".restoring-", dir=home.root) as folder:
        fresh = Path(folder)
        try:
            with zipfile.ZipFile(source) as archive:
                files = _listed(archive, source.name)
                _require_room(home.root, files)
                for name, recorded in files.items():
                    _extract(archive, name, recorded, fresh, source.name)
        except MoolaError:
            raise
        except _DAMAGE as fault:
            raise _unreadable(source, fault) from None
        aside = _set_aside(home)
        for name in files:
            move(fresh / name, home.root / name)
    return Archived(len(files), sum(one.bytes or 0 for one in files.values()), aside)


def _refuse_links(home: Home) -> None:
    """Refuse links: the archive would hold neither them nor what they point to."""
    links = (path for name in KEPT for path in (home.root / name).rglob("*") if path.is_symlink())
    if (first := next(links, None)) is not None:
        raise BadInput(
            f"A backup needs the files themselves, but {first} is a link. Put what it points to in its "
            "place, or make that disk the home: --home DIR."
        )


def backed_up_files(home: Home) -> Iterator[Path]:
    """All files of a home that a backup holds: no locks, journals or temporary files."""
    for name in KEPT:
        part = home.root / name
        for path in sorted(part.rglob("*")) if part.is_dir() else [part]:
            if path.is_file() and not path.is_symlink() and _belongs(path.relative_to(home.root)):
                yield path


def _belongs(path: Path) -> bool:
    hidden = path.name.startswith(".") and path.suffix in (TEMPORARY_SUFFIX, ".lock")
    tracked = path == Path("data/README.md")
    return not hidden and not tracked and not path.name.endswith(JOURNALS)


def _database_copy(path: Path, scratch: Path) -> Path:
    """A consistent copy, even while other processes write."""
    copy = scratch / "copy.db"
    copy.unlink(missing_ok=True)
    try:
        # Only a writable connection can roll back a transaction that a killed process left.
        address = f"{path.absolute().as_uri()}?mode=rw"
        with (
            closing(sqlite3.connect(address, uri=True)) as source,
            closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target)
    except sqlite3.DatabaseError as fault:
        raise IntegrityError(
            f"{path} must be a database that can be read, got: {fault}. Restore it, or move it away."
        ) from fault
    return copy


def _add(archive: zipfile.ZipFile, name: str, source: Path) -> FileDigest:
    """Copy a file into the archive; returns the digest of the copied bytes."""
    info = zipfile.ZipInfo(name, _EARLIEST)
    info.compress_type = zipfile.ZIP_DEFLATED
    with source.open("rb") as stream, archive.open(info, "w", force_zip64=True) as entry:
        return FileDigest.of_stream(stream, copy=entry)


def _listed(archive: zipfile.ZipFile, source: str) -> dict[str, FileDigest]:
    """The files in an archive's list, with every path checked."""
    remedy = "Use another backup."
    if LIST_NAME not in archive.namelist():
        raise BadInput(f"{source} must be a moola backup, but it has no {LIST_NAME}. {remedy}")
    if archive.getinfo(LIST_NAME).file_size > MAX_LIST:
        raise BadInput(f"{source}: {LIST_NAME} must have at most {MAX_LIST >> 20} MiB, got more. {remedy}")
    wanted = f"{source}: {LIST_NAME} must list size and SHA256 of each file"
    record = parse_checksummed(archive.read(LIST_NAME), wanted, remedy)
    if (archive_format := format_in(record)) > HOME_FORMAT:
        raise IntegrityError(
            f"{source} must have format {HOME_FORMAT} or earlier, got {archive_format}, written by moola "
            f"{record.get('moola')}. Install that version."
        )
    files = digests_in(record, wanted, remedy)
    for name in files:
        if not _is_safe(name):
            raise BadInput(
                f"{source}: every path must lie below data or .dagster, got {name[:80]!r}. {remedy}"
            )
    if strange := set(archive.namelist()) ^ {*files, LIST_NAME}:
        raise ChecksumMismatch(
            f"{source} must hold exactly the files in {LIST_NAME}, but they differ in "
            f"{sorted(strange)[0][:80]!r}. {remedy}"
        )
    return files


def _is_safe(name: str) -> bool:
    parts = PurePosixPath(name).parts
    plain = name.isprintable() and "\\" not in name and ":" not in parts[0] if parts else False
    return plain and parts[0] in KEPT and ".." not in parts and name == PurePosixPath(name).as_posix()


def _extract(archive: zipfile.ZipFile, name: str, recorded: FileDigest, folder: Path, source: str) -> None:
    """Write one file; stops reading soon after the size in the list."""
    with (
        atomic_write(folder / name) as temporary,
        temporary.open("wb") as stream,
        archive.open(name) as entry,
    ):
        actual = FileDigest.of_stream(entry, copy=stream, limit=recorded.bytes or 0)
    require_digest(actual, f"{source}: {name}", recorded, LIST_NAME, "Use another backup.")


def _unreadable(source: Path, fault: Exception) -> Exception:
    """The error for an unreadable archive: truncated, changed, or not an archive."""
    size, remedy = source.stat().st_size, "Use another backup."
    with source.open("rb") as stream:
        first = stream.read(2)
        stream.seek(max(size - _END_BYTES - _MAX_COMMENT, 0))
        last = stream.read()
    if first != b"PK":
        return BadInput(f"{source.name} must be a moola backup, but it is not an archive. {remedy}")
    end = last.rfind(b"PK\x05\x06")
    if end < 0 or len(last) < end + _END_BYTES:
        return Truncated(f"{source.name}: it is truncated after {size:,} bytes. {remedy}")
    return ChecksumMismatch(f"{source.name}: it was changed since it was written ({fault}). {remedy}")


def _require_room(folder: Path, files: dict[str, FileDigest]) -> None:
    wanted, free = sum(one.bytes or 0 for one in files.values()), shutil.disk_usage(folder).free
    if wanted > free:
        raise BadInput(
            f"{folder} must have room for {wanted:,} bytes, got {free:,} free. Free some space, or "
            "choose another --home."
        )


def _set_aside(home: Home) -> Path | None:
    """Move all data of a home into a folder below the home; all of it or nothing.

    Journals move, too: SQLite would apply old journals to the restored databases.
    """
    paths = [*backed_up_files(home), *_journals(home)]
    if not paths:
        return None
    aside = home.root / f"before-restore-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    moved: list[Path] = []
    try:
        for path in paths:
            with _held(path):
                for one in (path, *journals_of(path)):
                    if one.exists():  # opening the database may have removed its journal
                        move(one, aside / one.relative_to(home.root))
                        moved.append(one)
    except BaseException:
        for path in reversed(moved):
            move(aside / path.relative_to(home.root), path)
        raise
    return aside


def _journals(home: Home) -> list[Path]:
    paths = [path for name in KEPT for path in sorted((home.root / name).rglob("*"))]
    return [path for path in paths if path.name.endswith(JOURNALS) and path.is_file()]


def _held(path: Path) -> ExitStack:
    """Lock a database; a damaged database is treated like any other file."""
    stack = ExitStack()
    if path.suffix == ".db":
        with suppress(sqlite3.DatabaseError):
            stack.enter_context(sqlite_lock(path))
    return stack


def _is_in(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())
