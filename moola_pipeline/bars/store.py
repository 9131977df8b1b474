"""The folder of one market, and the record of what was registered in it, byte for byte."""

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

from moola_pipeline.bars.schema import INSTRUMENTS, NQ
from moola_pipeline.bars.vendor import VendorOptions
from moola_pipeline.errors import IntegrityError, MissingFile, UnreadableFile
from moola_pipeline.storage.checksums import (
    FileDigest,
    parse_checksummed,
    prove_file,
    unreadable,
    write_checksummed,
)
from moola_pipeline.storage.home import Home

NAME_LENGTH = 200
_NAMED_DIGITS = 12


@dataclass(frozen=True)
class BarStore:
    """The folder of one market: an instrument that was registered, or a simulated market."""

    root: Path
    simulated: bool

    @property
    def raw(self) -> Path:
        """The vendors' files, their bytes untouched."""
        return self.root / "raw"

    @property
    def manifest(self) -> Path:
        """What was registered: the SHA256 of each file and how it is read."""
        return self.root / "manifest.json"

    def quarantined(self, entry: "ManifestEntry") -> Path:
        """The rows of a registered file that are no bars, as csv with the reason of each."""
        return self.root / "quarantine" / f"{entry.file}.csv"

    @property
    def parsed_folder(self) -> Path:
        """What the vendors' files were parsed into."""
        return self.root / "parsed"

    def parsed(self, entry: "ManifestEntry") -> Path:
        """What a registered file was parsed into, as parquet.

        Its name holds its digest, so that the file of before stays until the manifest names another.
        """
        return self.parsed_folder / f"{entry.file}.{entry.parsed_sha256[:_NAMED_DIGITS]}.parquet"

    @property
    def rolls(self) -> Path:
        """The contract rolls as csv; absent where none are known."""
        return self.root / "rolls.csv"

    @property
    def labels(self) -> Path:
        """The labels registered for these bars, and their ledger."""
        return self.root / "labels"

    @property
    def shown_manifest(self) -> str:
        """The manifest as errors name it."""
        return f"{self.root.name}/{self.manifest.name}"

    def remedy(self, registered: str) -> str:
        """What to do about a fault: as given for registered bars; simulated ones are made anew."""
        return f"Delete the folder {self.root}: the next run makes it anew." if self.simulated else registered


def require_plain_name(name: str) -> str:
    """`name` if it names a file in a folder, and nothing outside it.

    Raises:
        ValueError: If it is empty, hidden, too long, holds a separator or an unprintable sign.
    """
    if (
        not name
        or name.startswith(".")
        or len(name) > NAME_LENGTH
        or not name.isprintable()
        or set("/\\") & set(name)
    ):
        raise ValueError(
            f"a file name must be plain: up to {NAME_LENGTH} printable signs, no path, got {name[:80]!r}"
        )
    return name


class ManifestEntry(BaseModel):
    """One registered file, and how its bars are read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: Annotated[str, AfterValidator(require_plain_name)]
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    bytes: int = Field(gt=0)
    rows: int = Field(gt=0, description="bars kept")
    rejected: int = Field(0, ge=0, description="rows that are no bars, set aside")
    rejected_sha256: str | None = Field(
        default=None, pattern="^[0-9a-f]{64}$", description="of the file that they were set aside in"
    )
    parsed_sha256: str = Field(pattern="^[0-9a-f]{64}$", description="of the parquet of its bars")
    reader: str = Field(pattern="^[0-9a-f]{64}$", description="digest of the code that parsed it")
    first: AwareDatetime = Field(description="open of the first bar")
    last: AwareDatetime = Field(description="open of the last bar")
    format: str
    timezone: str = Field(description="zone in which the file's times are read")
    stamp: str
    columns: dict[str, str] = Field(description="name in the file of each role")
    instrument: str
    added_at: AwareDatetime

    @property
    def options(self) -> VendorOptions:
        """The options that read the file as it was read when it was added."""
        return VendorOptions(self.format, self.timezone, self.stamp, self.columns, self.instrument)

    def says_as(self, other: "ManifestEntry") -> bool:
        """Whether two entries differ at most in when the file was added, and by which code it was parsed."""
        return self.model_copy(update={"added_at": other.added_at, "reader": other.reader}) == other

    @model_validator(mode="after")
    def _readable(self) -> "ManifestEntry":
        _ = self.options  # refuses a format, zone, stamp, role or instrument that does not exist
        return self


class Manifest(BaseModel):
    """All registered files of one market, and whether contract rolls are registered beside them."""

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
    """What is registered in a store; empty where nothing is.

    Raises:
        UnreadableFile: If the system would not read it.
        IntegrityError: If the manifest is not what `add_bars` wrote.
    """
    wanted = f"{store.shown_manifest} must hold what was registered"
    aside = shlex.quote(f"{store.manifest}.broken")
    remedy = store.remedy(
        "Put back a copy of it. Without one, set it aside and register the files in raw/, which lie "
        f"untouched, once more: mv {shlex.quote(str(store.manifest))} {aside} && "
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
        place = ".".join(map(str, first["loc"]))
        came = f"{place}: {first['msg']}" if place else first["msg"]
    raise IntegrityError(f"{wanted}, but {' '.join(came.split())}. {remedy}")


def registered_store(home: Home, instrument: str = NQ.name) -> BarStore:
    """Where the registered bars, rolls and labels of a home lie.

    A home uses one instrument today: the one whose bars are registered, else the one asked for.
    """
    asked = BarStore(home.instrument(instrument), simulated=False)
    return next((store for store in (asked, *instrument_stores(home)) if _has_files(store)), asked)


def instrument_stores(home: Home) -> list[BarStore]:
    """Where bars of each instrument lie in a home once they are registered."""
    return [BarStore(home.instrument(name), simulated=False) for name in INSTRUMENTS]


def _has_files(store: BarStore) -> bool:
    try:
        return bool(read_manifest(store).files)
    except UnreadableFile:
        raise  # the disk failed: nothing is known of what is registered
    except IntegrityError:
        return True  # whoever reads it says what is wrong


def write_manifest(store: BarStore, manifest: Manifest) -> None:
    """Record what is registered in a store from now on; the caller holds the manifest's lock."""
    write_checksummed(store.manifest, manifest.model_dump(mode="json"))


def verify_files(store: BarStore) -> None:
    """Prove that every registered file still holds the bytes that were registered.

    Raises:
        ChecksumMismatch: If the SHA256 of a file is another.
        IntegrityError: If a file is missing, or the manifest is broken.
    """
    for entry in read_manifest(store).files:
        verify_file(store, entry)


def verify_file(store: BarStore, entry: ManifestEntry) -> None:
    """Prove that one registered file still holds the bytes that were registered.

    Raises:
        Truncated: If it is shorter than it was.
        ChecksumMismatch: If its SHA256 is another.
        MissingFile: If it is gone.
        UnreadableFile: If the system would not read it.
    """
    path = store.raw / entry.file
    remedy = store.remedy(
        'Add it again from where it came with "moola bars add FILE", or, if the change is meant, '
        f"run: moola bars add {shlex.quote(str(path))}"
    )
    try:
        recorded = FileDigest(entry.sha256, entry.bytes)
        prove_file(path, entry.file, recorded, store.shown_manifest, remedy)
    except FileNotFoundError:
        raise MissingFile(
            f"{entry.file}: {store.shown_manifest} records it, but it is gone. "
            + store.remedy('Add it again from where it came with "moola bars add FILE".')
        ) from None
    except OSError as fault:
        raise unreadable(path, fault, remedy) from fault


def verify_quarantined(store: BarStore, entry: ManifestEntry) -> None:
    """Prove that the rows set aside of a registered file are as they were.

    Raises:
        MissingFile: If they are gone.
        Truncated, ChecksumMismatch: If they were changed.
    """
    if entry.rejected_sha256 is not None:
        _prove_made(store, entry, store.quarantined(entry), entry.rejected_sha256)


def verify_parsed(store: BarStore, entry: ManifestEntry) -> None:
    """Prove that what a registered file was parsed into is as it was.

    Raises:
        MissingFile: If it is gone.
        ChecksumMismatch: If it was changed.
        UnreadableFile: If the system would not read it.
    """
    _prove_made(store, entry, store.parsed(entry), entry.parsed_sha256)


def _prove_made(store: BarStore, entry: ManifestEntry, path: Path, sha256: str) -> None:
    """Prove a file that was made from a registered one."""
    remedy = store.remedy(
        "Have it written again from the file itself: "
        f"moola bars add {shlex.quote(str(store.raw / entry.file))}"
    )
    try:
        prove_file(path, path.name, FileDigest(sha256, None), store.shown_manifest, remedy)
    except FileNotFoundError:
        raise MissingFile(f"{path.name} must be in {path.parent}, but it is gone. {remedy}") from None
    except OSError as fault:
        raise unreadable(path, fault, remedy) from fault


def is_intact(store: BarStore, entry: ManifestEntry) -> bool:
    """True if a registered file still holds the bytes that were registered."""
    try:
        verify_file(store, entry)
    except IntegrityError:
        return False
    return True
