"""Copies of the assets in an S3-compatible bucket, for steps that run on other machines."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from moola_pipeline.errors import BadInput, IntegrityError, MissingFile, MoolaError
from moola_pipeline.storage.asset_checksums import checksums_file, checksums_in, read_checksums
from moola_pipeline.storage.atomic_write import atomic_write, atomic_write_bytes, file_sha256
from moola_pipeline.storage.checksums import FileDigest, require_digest
from moola_pipeline.storage.home import Home
from moola_pipeline.storage.remote_stores import STORE_VARIABLE, refuse_keys

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

REMEDY = "Rebuild the asset: moola run --force"
RECORDED_IN = "its checksum file"
_BUCKET = re.compile(r"s3://[a-z0-9][a-z0-9._-]*(/[\w./=+-]*)?(\?[\w.:/=&%-]*)?", re.ASCII)


def push(home: Home, artifact_path: Path) -> None:
    """Copy an asset's files to the bucket, the checksum file last; does nothing without a bucket.

    Args:
        home: The home of the asset; the bucket has the same paths.
        artifact_path: The asset's path without its suffix.

    Raises:
        BadInput: If the bucket does not respond.
    """
    if not (uri := os.environ.get(STORE_VARIABLE)):
        return
    with _answering(uri):
        bucket, below = _bucket(uri)
        for path in (
            *(artifact_path.parent / name for name in read_checksums(artifact_path)),
            checksums_file(artifact_path),
        ):
            with path.open("rb") as source, bucket.open_output_stream(_key(below, home, path)) as stream:
                FileDigest.of_stream(source, copy=stream)


def pull(home: Home, artifact_path: Path) -> None:
    """Fetch an asset if its checksum file in the bucket differs from the local one; files are verified.

    Raises:
        BadInput: If the bucket does not respond.
        ChecksumMismatch: If a file in the bucket differs from its recorded digest.
        IntegrityError: If the checksum file in the bucket cannot be read.
    """
    if not (uri := os.environ.get(STORE_VARIABLE)):
        return
    with _answering(uri):
        bucket, below = _bucket(uri)
        try:
            there = _content(bucket, _key(below, home, checksums_file(artifact_path)))
        except FileNotFoundError:
            return
        here = checksums_file(artifact_path)
        if here.exists() and here.read_bytes() == there:
            return
        for name, recorded in _digests(there, uri, artifact_path).items():
            path = artifact_path.parent / name
            if path.exists() and file_sha256(path) == recorded.sha256:
                continue
            _fetch(bucket, _key(below, home, path), path, recorded)
        atomic_write_bytes(here, there)


def pushed(home: Home, artifact_path: Path) -> dict[str, FileDigest]:
    """The digests in an asset's checksum file in the bucket, by address; empty without such a file.

    Raises:
        BadInput: If the bucket does not respond.
        IntegrityError: If the checksum file cannot be read.
    """
    if not (uri := os.environ.get(STORE_VARIABLE)):
        return {}
    with _answering(uri):
        bucket, below = _bucket(uri)
        try:
            content = _content(bucket, _key(below, home, checksums_file(artifact_path)))
        except FileNotFoundError:
            return {}
    digests = _digests(content, uri, artifact_path)
    return {
        f"s3://{_key(below, home, artifact_path.parent / name)}": digest for name, digest in digests.items()
    }


def verify_pushed(address: str, recorded: FileDigest) -> None:
    """Verify a file in the bucket against its recorded digest.

    Args:
        address: Address from `pushed`.
        recorded: Digest from `pushed`.

    Raises:
        BadInput: If the bucket does not respond.
        MissingFile: If it is gone.
        Truncated, ChecksumMismatch: If it is shorter, or different.
    """
    uri = os.environ.get(STORE_VARIABLE, "")
    with _answering(uri):
        bucket, _ = _bucket(uri)
        try:
            with bucket.open_input_stream(address.removeprefix("s3://")) as stream:
                actual = FileDigest.of_stream(stream)
        except FileNotFoundError:
            raise MissingFile(f"{address} must be in the bucket, but it is gone. {REMEDY}") from None
    require_digest(actual, address, recorded, RECORDED_IN, REMEDY)


def _fetch(bucket: "FileSystem", key: str, path: Path, recorded: FileDigest) -> None:
    with atomic_write(path) as temporary:
        try:
            with bucket.open_input_stream(key) as source, temporary.open("wb") as stream:
                actual = FileDigest.of_stream(source, copy=stream)
        except FileNotFoundError:
            raise IntegrityError(f"{key} must be in the bucket, but it is gone. {REMEDY}") from None
        require_digest(actual, key, recorded, RECORDED_IN, REMEDY)


def _digests(content: bytes, uri: str, artifact_path: Path) -> dict[str, FileDigest]:
    try:
        return checksums_in(content, artifact_path, REMEDY)
    except IntegrityError as fault:
        raise IntegrityError(f"{uri}: {fault}") from None


def _content(bucket: "FileSystem", key: str) -> bytes:
    with bucket.open_input_stream(key) as stream:
        return stream.read()


def require_bucket(uri: str) -> None:
    """Refuse an address that is not a bucket's, or that contains keys.

    Raises:
        BadInput: If it is refused.
    """
    refuse_keys(STORE_VARIABLE, uri)
    if not _BUCKET.fullmatch(uri):
        raise BadInput(
            f"{STORE_VARIABLE} must be s3://BUCKET/PREFIX, got {uri!r}. Correct it, or unset it "
            "to keep the assets in the home only."
        )


def _bucket(uri: str) -> "tuple[FileSystem, str]":
    from pyarrow.fs import FileSystem

    require_bucket(uri)
    bucket, below = FileSystem.from_uri(uri)
    return bucket, below.rstrip("/")


def _key(below: str, home: Home, path: Path) -> str:
    return f"{below}/{path.relative_to(home.root).as_posix()}"


@contextmanager
def _answering(uri: str) -> Iterator[None]:
    try:
        yield
    except MoolaError:
        raise
    except OSError as fault:
        if fault.errno is not None:  # an error of the local disk, not of the bucket
            raise
        came = " ".join(str(fault).split())[:300]
        raise BadInput(
            f"{STORE_VARIABLE} must name a bucket that responds, got {uri}: {came}. "
            "Check the server's address (AWS_ENDPOINT_URL) and the keys, or unset the variable."
        ) from fault
