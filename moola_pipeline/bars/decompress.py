"""The bytes of a vendor's file: as they stand, or out of one gzip, zstd or zip wrapper, bounded."""

import codecs
import io
import zipfile
import zlib
from pathlib import Path

import pyarrow as pa

from moola_pipeline.errors import BadInput

MAX_CONTENT = 2**30
"""Bytes a bar file may hold once unpacked: six times the csv of five years of minutes."""
_CHUNK = 2**22
WORKBOOK_MEMBER = "[Content_Types].xml"
_DAMAGE = (OSError, EOFError, ValueError, RuntimeError, zlib.error, zipfile.BadZipFile, zipfile.LargeZipFile)
GZIP_MAGIC, ZIP_MAGIC = b"\x1f\x8b", b"PK\x03\x04"
_FOREIGN = {
    GZIP_MAGIC: "a packed file in a packed file. Unpack it once",
    ZIP_MAGIC: "a packed file in a packed file. Unpack it once",
    b"BZh": "a file packed with bzip2. Unpack it",
    b"\xfd7zXZ\0": "a file packed with xz. Unpack it",
    b"7z\xbc\xaf\x27\x1c": "a file packed with 7-Zip. Unpack it",
    b"Rar!": "a file packed with RAR. Unpack it",
    b"PK\5\6": "an empty zip. Pack it again",
    b"\xd0\xcf\x11\xe0": "an Excel workbook. Save it as csv",
    b"%PDF": "a PDF. Export csv",
    b"ARROW1": "a Feather file. Write it as parquet",
    b"SQLite format 3": "a database. Export csv",
    b"<!": "a web page. Download the file itself",
    b"<html": "a web page. Download the file itself",
    b"<?xml": "XML. Export csv",
    b"{": "JSON. Export csv",
    b"[{": "JSON. Export csv",
}
"""What else users bring, by its first bytes, with what to do."""
_ZSTD = (b"\x28\xb5\x2f\xfd", *(bytes([low]) + b"\x2a\x4d\x18" for low in range(0x50, 0x60)))


def file_content(path: Path, source: str) -> bytes:
    """What a file holds, unpacked if it is one gzip, zstd or zip file with one member, text in UTF-8.

    Args:
        path: The vendor's file; its first bytes say how it is wrapped, its name says nothing.
        source: Name of the file, for errors.

    Raises:
        BadInput: If it cannot be read, is damaged, holds nothing, several members, an encrypted
            one, or more than MAX_CONTENT bytes.
    """
    try:
        if path.stat().st_size > MAX_CONTENT:
            raise _too_large(source)
        packed = path.read_bytes()
    except OSError as fault:
        raise BadInput(
            f"{source or path}: a bar file must be readable, got: {fault.strerror}. Check the path."
        ) from None
    content = _from_utf16(_unpacked(packed, source), source)
    if not content[:4096].strip():
        raise BadInput(f"{source}: a bar file must hold bars, got an empty file. Export it again.")
    return content


def foreign_kind(content: bytes) -> str | None:
    """What a file is instead of a bar file, and what to do about it; None where its bytes do not tell."""
    return next((kind for magic, kind in _FOREIGN.items() if content.startswith(magic)), None)


def _from_utf16(content: bytes, source: str) -> bytes:
    """Text that its first two bytes say is UTF-16, as MetaTrader 5 writes it, in UTF-8."""
    if not content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content
    try:
        return content.decode("utf-16").encode()
    except UnicodeError:
        raise BadInput(
            f"{source}: a csv file in UTF-16 must be whole, got bytes that are no text. Export it as UTF-8."
        ) from None


def _unpacked(packed: bytes, source: str) -> bytes:
    try:
        if packed.startswith(GZIP_MAGIC):
            return _bounded(pa.CompressedInputStream(io.BytesIO(packed), "gzip"), source)
        if packed.startswith(_ZSTD):
            return _bounded(pa.CompressedInputStream(io.BytesIO(packed), "zstd"), source)
        if packed.startswith(ZIP_MAGIC):
            return _only_member(packed, source)
    except BadInput:
        raise
    except _DAMAGE as fault:
        raise BadInput(
            f"{source}: a packed bar file must be whole and not encrypted, got: {_first_line(fault)}. "
            "Pack or export it again."
        ) from None
    return packed


def _only_member(packed: bytes, source: str) -> bytes:
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        names = archive.namelist()
        if WORKBOOK_MEMBER in names:
            raise BadInput(f"{source}: a zip must hold one bar file, got an Excel workbook. Save it as csv.")
        members = [archive.getinfo(name) for name in names if not _is_beside(name)]
        if len(members) != 1:
            raise BadInput(
                f"{source}: a zip must hold one bar file, got {len(members)}. Unpack it and add the files."
            )
        if members[0].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise zipfile.BadZipFile("another method than deflate")
        with archive.open(members[0]) as stream:
            return _bounded(stream, source)


def _is_beside(name: str) -> bool:
    """True for a folder, and for what macOS packs beside each file."""
    return name.endswith("/") or name.startswith("__MACOSX/") or name.rpartition("/")[2] == ".DS_Store"


def _bounded(stream: "io.IOBase | pa.NativeFile", source: str) -> bytes:
    content = io.BytesIO()  # gives its bytes away without a copy
    while chunk := stream.read(_CHUNK):
        if content.tell() + len(chunk) > MAX_CONTENT:
            raise _too_large(source)
        content.write(chunk)
    return content.getvalue()


def _too_large(source: str) -> BadInput:
    return BadInput(
        f"{source}: a bar file must hold at most {MAX_CONTENT // 2**20:,} MiB unpacked, got more. Split it."
    )


def _first_line(fault: Exception) -> str:
    return next(iter(str(fault).splitlines()), type(fault).__name__).rstrip(".")
