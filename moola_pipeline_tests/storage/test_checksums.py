"""Digests of files, and of JSON, lines and tables with their own: every flipped bit and truncation."""

import errno
import hashlib
import io
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moola_pipeline.errors import ChecksumMismatch, IntegrityError, Truncated
from moola_pipeline.storage.checksums import (
    CHUNK_BYTES,
    OWN_SHA256,
    FileDigest,
    bytes_digest,
    checksummed_csv,
    checksummed_line,
    digests_in,
    listed,
    parse_checksummed,
    parse_checksummed_line,
    read_checksummed,
    unreadable,
    verify_csv,
    write_checksummed,
)

CONTENT = {"format": 3, "name": "NQ, Dezember", "share": 0.25, "files": [{"file": "a.csv"}]}
HEADER, ROWS = "time,old,new", "time,old,new\n2024-12-16,NQZ4,NQH5\n2025-03-17,NQH5,NQM5\n"
REMEDY = "Do it again."


def every_flip(content: bytes):
    for offset in range(len(content)):
        for bit in range(8):
            changed = bytearray(content)
            changed[offset] ^= 1 << bit
            yield bytes(changed)


def test_a_record_comes_back_without_its_digest(tmp_path: Path):
    write_checksummed(tmp_path / "record.json", CONTENT)
    assert OWN_SHA256 in json.loads((tmp_path / "record.json").read_bytes())
    assert read_checksummed(tmp_path / "record.json", "must hold facts", REMEDY) == CONTENT


def test_every_flipped_bit_of_a_record_is_refused(tmp_path: Path):
    write_checksummed(tmp_path / "record.json", CONTENT)
    for changed in every_flip((tmp_path / "record.json").read_bytes()):
        with pytest.raises(IntegrityError, match="Do it again"):
            parse_checksummed(changed, "record.json must hold facts", REMEDY)


def test_a_record_without_its_digest_is_refused():
    content = (json.dumps(CONTENT, indent=2) + "\n").encode()
    with pytest.raises(ChecksumMismatch, match=r"it was changed: .* it records none\. Do it again\.$"):
        parse_checksummed(content, "record.json must hold facts", REMEDY)


def test_every_truncated_record_is_refused_as_truncated(tmp_path: Path):
    write_checksummed(tmp_path / "record.json", CONTENT)
    whole = (tmp_path / "record.json").read_bytes()
    for size in range(len(whole) - 2):
        with pytest.raises(Truncated if not whole[:size].rstrip().endswith(b"}") else IntegrityError):
            parse_checksummed(whole[:size], "record.json must hold facts", REMEDY)


def test_every_flipped_bit_of_a_line_is_refused():
    line = checksummed_line('{"version":"1","verdict":"promoted"}')
    assert parse_checksummed_line(line) == '{"version":"1","verdict":"promoted"}'
    for changed in every_flip(line.encode()):
        with pytest.raises(ChecksumMismatch):
            parse_checksummed_line(changed.decode(errors="surrogateescape"))


def test_a_line_without_its_digest_is_refused():
    with pytest.raises(ChecksumMismatch):
        parse_checksummed_line('{"version":"1","verdict":"promoted"}')


def test_a_checksummed_table_is_still_plain_csv():
    content = checksummed_csv(ROWS).decode()
    assert [line.split(",")[:3] for line in content.splitlines()] == [
        line.split(",") for line in ROWS.splitlines()
    ]
    verify_csv(content.encode(), HEADER, "rolls.csv", REMEDY)


def test_every_flipped_bit_of_a_table_is_refused():
    for changed in every_flip(checksummed_csv(ROWS)):
        with pytest.raises(ChecksumMismatch, match=r"^rolls.csv: it .*Do it again\.$"):
            verify_csv(changed, HEADER, "rolls.csv", REMEDY)


def test_every_table_truncated_after_its_header_is_refused_as_truncated():
    whole = checksummed_csv(ROWS)
    for size in range(whole.index(b"\n") + 2, len(whole)):
        with pytest.raises(Truncated, match=f"it is truncated after {size} bytes"):
            verify_csv(whole[:size], HEADER, "rolls.csv", REMEDY)


def test_a_table_without_its_digest_is_refused():
    with pytest.raises(ChecksumMismatch, match="it was changed"):
        verify_csv(ROWS.encode(), HEADER, "rolls.csv", REMEDY)


@given(st.lists(st.text("abcNQ0189 ", min_size=1, max_size=5), min_size=1, max_size=5))
def test_any_table_can_be_verified(cells: list[str]):
    text = "one\n" + "".join(f"{cell}\n" for cell in cells)
    verify_csv(checksummed_csv(text), "one", "table.csv", REMEDY)


def test_a_digest_is_the_same_of_a_file_of_its_bytes_and_of_a_stream(tmp_path: Path):
    content = bytes(range(256)) * 40_000  # more than one chunk
    (tmp_path / "file").write_bytes(content)
    digest, copy = FileDigest(hashlib.sha256(content).hexdigest(), len(content)), io.BytesIO()
    assert FileDigest.of(tmp_path / "file") == bytes_digest(content) == digest
    assert FileDigest.of_stream(io.BytesIO(content), copy) == digest
    assert copy.getvalue() == content


def test_reading_a_stream_stops_soon_after_its_limit():
    stream = io.BytesIO(bytes(3 * CHUNK_BYTES))
    digest = FileDigest.of_stream(stream, limit=10)
    assert digest.bytes == stream.tell() == CHUNK_BYTES


@pytest.mark.parametrize("digest", [FileDigest("0" * 64, 12), FileDigest("f" * 64, None)])
def test_a_digest_survives_text_and_json(digest: FileDigest):
    assert FileDigest.parse(str(digest)) == digest
    if digest.bytes is not None:
        assert digests_in({"files": listed({"a.csv": digest})}, "it must list", REMEDY) == {"a.csv": digest}


@pytest.mark.parametrize("text", ["", "0" * 63, "0" * 64 + " ", "0" * 64 + " 1 ", "G" * 64])
def test_text_that_is_not_a_digest_is_refused(text: str):
    with pytest.raises(ValueError, match=f"^{text}$"):
        FileDigest.parse(text)


@pytest.mark.parametrize(
    "files", [None, [], {"a": "0"}, {"a": {"sha256": "0"}}, {"a": {"sha256": "0", "bytes": None}}]
)
def test_a_list_without_digests_and_sizes_is_refused(files: object):
    with pytest.raises(IntegrityError, match=r"^it must list, but it cannot be read\. Do it again\.$"):
        digests_in({"files": files}, "it must list", REMEDY)


def test_a_failed_read_is_one_line_with_file_reason_and_remedy():
    fault = unreadable(Path("bars.csv"), OSError(errno.EIO, os.strerror(errno.EIO)), REMEDY)
    assert str(fault) == (
        "bars.csv must be readable, but reading failed: Input/output error. Repair the disk or its "
        "permissions. Do it again."
    )
    assert (fault.errno, fault.filename) == (errno.EIO, "bars.csv")
