"""Read a file, plain or compressed once (gzip, zstd, zip), up to a size limit."""

import codecs
import io
import zipfile
import zlib
from pathlib import Path

import pyarrow as pa

from moola_pipeline.errors import BadInput

MAX_CONTENT = 2**30
"""Most bytes of a decompressed file: six times a csv of five years of minutes."""
_CHUNK = 2**22
WORKBOOK_MEMBER = "[Content_Types].xml"
_DAMAGE = (OSError, EOFError, ValueError, RuntimeError, zlib.error, zipfile.BadZipFile, zipfile.LargeZipFile)
GZIP_MAGIC, ZIP_MAGIC = b"\x1f\x8b", b"PK\x03\x04"
_FOREIGN = {
    GZIP_MAGIC: "a compressed file in a compressed file. Decompress it once",
    ZIP_MAGIC: "a compressed file in a compressed file. Decompress it once",
    b"BZh": "a bzip2 file. Decompress it",
    b"\xfd7zXZ\0": "an xz file. Decompress it",
    b"7z\xbc\xaf\x27\x1c": "a 7-Zip file. Decompress it",
    b"Rar!": "a RAR file. Decompress it",
    b"PK\5\6": "an empty zip. Create it again",
    b"\xd0\xcf\x11\xe0": "an Excel workbook. Save it as csv",
    b"%PDF": "a PDF. Export csv",
    b"ARROW1": "a Feather file. Write it as parquet",
    b"SQLite format 3": "a database. Export csv",
    b"<!": "a web page. Download the file itself",
    b"<html": "a web page. Download the file itself",
    b"<?xml": "XML. Export csv",
}
"""Other kinds of files by their first bytes, with the remedy."""
_ZSTD = (b"\x28\xb5\x2f\xfd", *(bytes([low]) + b"\x2a\x4d\x18" for low in range(0x50, 0x60)))


def file_content(path: Path, source: str, most: int | None = None) -> bytes:
    """Content of a file, decompressed if it is gzip, zstd or a zip with one member, text in UTF-8.

    Args:
        path: The file; its first bytes decide the compression, its name is ignored.
        source: Name of the file, for errors.
        most: Most bytes of content; None: MAX_CONTENT.

    Raises:
        BadInput: If the file cannot be read, is damaged or empty, has several members or an
            encrypted one, or more than MAX_CONTENT bytes.
    """
    most = MAX_CONTENT if most is None else most
    try:
        if path.stat().st_size > most:
            raise _too_large(source, most)
        stored = path.read_bytes()
    except OSError as fault:
        raise BadInput(
            f"{source or path}: a data file must be readable, got: {fault.strerror}. Check the path."
        ) from None
    content = _from_utf16(_decompressed(stored, source, most), source)
    if not content[:4096].strip():
        raise BadInput(f"{source}: a data file must hold rows, but it is empty. Export it again.")
    return content


def other_file_kind(content: bytes) -> str | None:
    """Kind of a file that is no table, with the remedy; None if its first bytes are unknown."""
    return next((kind for magic, kind in _FOREIGN.items() if content.startswith(magic)), None)


def _from_utf16(content: bytes, source: str) -> bytes:
    """Convert text with a UTF-16 byte order mark, as MetaTrader 5 writes it, to UTF-8."""
    if not content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content
    try:
        return content.decode("utf-16").encode()
    except UnicodeError:
        raise BadInput(
            f"{source}: a csv file in UTF-16 must be whole, got bytes that are not text. Export it as UTF-8."
        ) from None


def _decompressed(stored: bytes, source: str, most: int) -> bytes:
    try:
        if stored.startswith(GZIP_MAGIC):
            return _bounded(pa.CompressedInputStream(io.BytesIO(stored), "gzip"), source, most)
        if stored.startswith(_ZSTD):
            return _bounded(pa.CompressedInputStream(io.BytesIO(stored), "zstd"), source, most)
        if stored.startswith(ZIP_MAGIC):
            return _only_member(stored, source, most)
    except BadInput:
        raise
    except _DAMAGE as fault:
        raise BadInput(
            f"{source}: a compressed file must be whole and not encrypted, got: {_first_line(fault)}. "
            "Compress or export it again."
        ) from None
    return stored


def _only_member(stored: bytes, source: str, most: int) -> bytes:
    with zipfile.ZipFile(io.BytesIO(stored)) as archive:
        names = archive.namelist()
        if WORKBOOK_MEMBER in names:
            raise BadInput(f"{source}: a zip must hold one data file, got an Excel workbook. Save it as csv.")
        members = [archive.getinfo(name) for name in names if not _is_ignored(name)]
        if len(members) != 1:
            raise BadInput(
                f"{source}: a zip must hold one data file, got {len(members)}. Extract and add the files."
            )
        if members[0].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise zipfile.BadZipFile("a method other than deflate")
        with archive.open(members[0]) as stream:
            return _bounded(stream, source, most)


def _is_ignored(name: str) -> bool:
    """True for folders and for the extra members that macOS adds."""
    return name.endswith("/") or name.startswith("__MACOSX/") or name.rpartition("/")[2] == ".DS_Store"


def _bounded(stream: "io.IOBase | pa.NativeFile", source: str, most: int) -> bytes:
    content = io.BytesIO()  # getvalue() makes no copy
    while chunk := stream.read(_CHUNK):
        if content.tell() + len(chunk) > most:
            raise _too_large(source, most)
        content.write(chunk)
    return content.getvalue()


def _too_large(source: str, most: int) -> BadInput:
    return BadInput(
        f"{source}: a data file must have at most {most // 2**20:,} MiB of content, got more. Split it."
    )


def _first_line(fault: Exception) -> str:
    return next(iter(str(fault).splitlines()), type(fault).__name__).rstrip(".")
