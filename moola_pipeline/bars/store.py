"""The folder of one market, and the manifest of its registered files."""

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from moola_pipeline.bars.instruments import INSTRUMENTS, NQ
from moola_pipeline.bars.vendor_options import VendorOptions
from moola_pipeline.errors import IntegrityError, MissingFile, UnreadableFile
from moola_pipeline.storage.checksums import (
    FileDigest,
    parse_checksummed,
    unreadable,
    verify_digest,
    write_checksummed,
)
from moola_pipeline.storage.home import Home

NAME_LENGTH, NAME_BYTES = 200, 230
"""Most characters and bytes of a file's name: names derived from it are up to 25 bytes longer, of 255."""
_NAMED_DIGITS = 12


@dataclass(frozen=True)
class BarStore:
    """The folder of one market: an instrument that was registered, or a simulated market."""

    root: Path
    simulated: bool

    @property
    def raw(self) -> Path:
        """The vendors' files, unchanged."""
        return self.root / "raw"

    @property
    def manifest(self) -> Path:
        """The manifest: SHA256 and read options of each registered file."""
        return self.root / "manifest.json"

    def quarantined(self, entry: "ManifestEntry") -> Path:
        """The rejected rows of a registered file, as csv with a reason for each."""
        return self.root / "quarantine" / f"{entry.file}.csv"

    @property
    def parsed_folder(self) -> Path:
        """The parsed vendor files."""
        return self.root / "parsed"

    def parsed(self, entry: "ManifestEntry") -> Path:
        """The parsed bars of a registered file, as parquet.

        The name contains the digest: the previous file stays until the manifest names the new one.
        """
        return self.parsed_folder / f"{entry.file}.{entry.parsed_sha256[:_NAMED_DIGITS]}.parquet"

    @property
    def rolls(self) -> Path:
        """The contract rolls as csv; missing if none are registered."""
        return self.root / "rolls.csv"

    @property
    def labels(self) -> Path:
        """The labels of these bars, and their ledger."""
        return self.root / "labels"

    @property
    def shown_manifest(self) -> str:
        """Name of the manifest in errors."""
        return f"{self.root.name}/{self.manifest.name}"

    def remedy(self, registered: str) -> str:
        """Remedy for a fault: `registered` for registered bars; simulated bars are generated again."""
        again = f"Delete the folder {self.root}: the next run generates it again."
        return again if self.simulated else registered


def require_plain_name(name: str) -> str:
    """Return `name` if it is a plain file name, without a path.

    Raises:
        ValueError: If it is empty, hidden or too long, or contains a separator or an unprintable character.
    """
    if (
        not name
        or name.startswith(".")
        or len(name) > NAME_LENGTH
        or not name.isprintable()
        or len(name.encode()) > NAME_BYTES
        or set("/\\") & set(name)
    ):
        raise ValueError(
            f"a file name must be plain: up to {NAME_LENGTH} printable characters and {NAME_BYTES} bytes, no "
            f"path, got {name[:80]!r}"
        )
    return name


class ManifestEntry(BaseModel):
    """One registered file and its read options."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: Annotated[str, AfterValidator(require_plain_name)]
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    bytes: int = Field(gt=0)
    rows: int = Field(gt=0, description="number of kept bars")
    rejected: int = Field(0, ge=0, description="number of rejected rows")
    rejected_sha256: str | None = Field(
        default=None, pattern="^[0-9a-f]{64}$", description="SHA256 of the csv of rejected rows"
    )
    parsed_sha256: str = Field(pattern="^[0-9a-f]{64}$", description="SHA256 of the parquet of its bars")
    reader: str = Field(pattern="^[0-9a-f]{64}$", description="digest of the code that parsed it")
    first: AwareDatetime = Field(description="open of the first bar")
    last: AwareDatetime = Field(description="open of the last bar")
    format: str
    timezone: str = Field(description="time zone of the file's times")
    stamp: str
    columns: dict[str, str] = Field(description="column name of each role")
    instrument: str
    added_at: AwareDatetime

    @property
    def options(self) -> VendorOptions:
        """Options to read the file as it was read when it was added."""
        return VendorOptions(self.format, self.timezone, self.stamp, self.columns, self.instrument)

    def same_record(self, other: "ManifestEntry") -> bool:
        """True if two entries differ in `added_at` and `reader` at most."""
        return self.model_copy(update={"added_at": other.added_at, "reader": other.reader}) == other

    @model_validator(mode="after")
    def _readable(self) -> "ManifestEntry":
        _ = self.options  # raises if a format, zone, stamp, role or instrument does not exist
        return self


class Manifest(BaseModel):
    """The registered files of one market, and whether contract rolls are registered."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    files: tuple[ManifestEntry, ...] = ()
    rolls: bool = False

    @model_validator(mode="after")
    def _one_entry_each(self) -> "Manifest":
        names = [entry.file for entry in self.files]
        if len(set(names)) < len(names):
            raise ValueError("each file must be listed once")
        if len({entry.instrument for entry in self.files}) > 1:
            raise ValueError("all files must hold one instrument")
        return self


def read_manifest(store: BarStore) -> Manifest:
    """The manifest of a store; empty if nothing is registered.

    Raises:
        UnreadableFile: If the system cannot read it.
        IntegrityError: If `add_bars` did not write it.
    """
    wanted = f"{store.shown_manifest} must list the registered files"
    aside = shlex.quote(f"{store.manifest}.broken")
    remedy = store.remedy(
        "Restore a copy of it. If there is none, move it aside and register the files in raw/ (they "
        f"are unchanged) again: mv {shlex.quote(str(store.manifest))} {aside} && "
        f"moola bars add {shlex.quote(str(store.raw))}/* (with the options that it shows)"
    )
    try:
        record = parse_checksummed(store.manifest.read_bytes(), wanted, remedy)
        return Manifest.model_validate_json(json.dumps(record))
    except FileNotFoundError:
        return Manifest()
    except OSError as fault:
        raise unreadable(store.manifest, fault, "") from fault
    except ValidationError as fault:
        first = fault.errors()[0]
        location = ".".join(map(str, first["loc"]))
        came = f"{location}: {first['msg']}" if location else first["msg"]
    raise IntegrityError(f"{wanted}, but {' '.join(came.split())}. {remedy}")


def registered_store(home: Home, instrument: str = NQ.name) -> BarStore:
    """The store of the registered bars, rolls and labels of a home.

    A home uses one instrument today: the one with registered bars, else `instrument`.
    """
    default = BarStore(home.instrument(instrument), simulated=False)
    return next((store for store in (default, *instrument_stores(home)) if _has_files(store)), default)


def home_instrument(home: Home) -> str:
    """The instrument of a home: that of its registered bars, else NQ."""
    return store_instrument(registered_store(home))


def store_instrument(store: BarStore) -> str:
    """The instrument of the registered bars of a store; without bars that of its folder, else NQ."""
    files = read_manifest(store).files
    named = store.root.name.upper()
    return files[0].instrument if files else named if named in INSTRUMENTS else NQ.name


def instrument_stores(home: Home) -> list[BarStore]:
    """The stores of all instruments of a home, registered or not."""
    return [BarStore(home.instrument(name), simulated=False) for name in INSTRUMENTS]


def _has_files(store: BarStore) -> bool:
    try:
        return bool(read_manifest(store).files)
    except UnreadableFile:
        raise  # disk error: unknown whether files are registered
    except IntegrityError:
        return True  # the caller's own read_manifest() reports the fault


def registered_state(store: BarStore) -> list[tuple[int, int] | None]:
    """Inode and time of the manifest and the rolls: they change whenever bars or rolls are registered."""
    files = (path.stat() if path.exists() else None for path in (store.manifest, store.rolls))
    return [one and (one.st_ino, one.st_mtime_ns) for one in files]


def write_manifest(store: BarStore, manifest: Manifest) -> None:
    """Write the manifest of a store; the caller holds its lock."""
    write_checksummed(store.manifest, manifest.model_dump(mode="json"))


def verify_files(store: BarStore) -> None:
    """Verify that no registered file has changed.

    Raises:
        ChecksumMismatch: If the SHA256 of a file differs.
        IntegrityError: If a file is missing, or the manifest is broken.
    """
    for entry in read_manifest(store).files:
        verify_file(store, entry)


def verify_file(store: BarStore, entry: ManifestEntry) -> None:
    """Verify that one registered file has not changed.

    Raises:
        Truncated: If it is shorter than recorded.
        ChecksumMismatch: If its SHA256 differs.
        MissingFile: If it is missing.
        UnreadableFile: If the system cannot read it.
    """
    path = store.raw / entry.file
    remedy = store.remedy(
        'Add the original again with "moola bars add FILE", or, if the change is meant, '
        f"run: moola bars add {shlex.quote(str(path))}"
    )
    try:
        recorded = FileDigest(entry.sha256, entry.bytes)
        verify_digest(path, entry.file, recorded, store.shown_manifest, remedy)
    except FileNotFoundError:
        raise MissingFile(
            f"{entry.file}: {store.shown_manifest} records it, but it is gone. "
            + store.remedy('Add the original again with "moola bars add FILE".')
        ) from None
    except OSError as fault:
        raise unreadable(path, fault, remedy) from fault


def verify_quarantined(store: BarStore, entry: ManifestEntry) -> None:
    """Verify the rejected rows of a registered file.

    Raises:
        MissingFile: If they are missing.
        Truncated, ChecksumMismatch: If they were changed.
    """
    if entry.rejected_sha256 is not None:
        _prove_derived(store, entry, store.quarantined(entry), entry.rejected_sha256)


def verify_parsed(store: BarStore, entry: ManifestEntry) -> None:
    """Verify the parsed bars of a registered file.

    Raises:
        MissingFile: If their parquet is missing.
        ChecksumMismatch: If it was changed.
        UnreadableFile: If the system cannot read it.
    """
    _prove_derived(store, entry, store.parsed(entry), entry.parsed_sha256)


def _prove_derived(store: BarStore, entry: ManifestEntry, path: Path, sha256: str) -> None:
    """Verify a file that was derived from a registered file."""
    remedy = store.remedy(
        f"Write it again from the registered file: moola bars add {shlex.quote(str(store.raw / entry.file))}"
    )
    try:
        verify_digest(path, path.name, FileDigest(sha256, None), store.shown_manifest, remedy)
    except FileNotFoundError:
        raise MissingFile(f"{path.name} must be in {path.parent}, but it is gone. {remedy}") from None
    except OSError as fault:
        raise unreadable(path, fault, remedy) from fault


def is_intact(store: BarStore, entry: ManifestEntry) -> bool:
    """True if a registered file has not changed."""
    try:
        verify_file(store, entry)
    except IntegrityError:
        return False
    return True
