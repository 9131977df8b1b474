"""Records, logs and tables that prove themselves: any flipped bit, any cut."""

import errno
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moola_pipeline.errors import ChecksumMismatch, IntegrityError, Truncated
from moola_pipeline.storage.checksums import (
    OWN_DIGEST,
    proven_line,
    publish_record,
    read_record,
    record_in,
    require_csv_as_written,
    self_proving_csv,
    self_proving_line,
    unreadable,
)

CONTENT = {"format": 3, "name": "NQ, Dezember", "share": 0.25, "files": [{"file": "a.csv"}]}
HEADER, ROWS = "time,old,new", "time,old,new\n2024-12-16,NQZ4,NQH5\n2025-03-17,NQH5,NQM5\n"
REMEDY = "Do it again."


def every_flip(content: bytes):
    for place in range(len(content)):
        for bit in range(8):
            changed = bytearray(content)
            changed[place] ^= 1 << bit
            yield bytes(changed)


def test_a_record_comes_back_without_its_digest(tmp_path: Path):
    publish_record(tmp_path / "record.json", CONTENT)
    assert OWN_DIGEST in json.loads((tmp_path / "record.json").read_bytes())
    assert read_record(tmp_path / "record.json", "must hold facts", REMEDY) == CONTENT


def test_every_flipped_bit_of_a_record_is_refused(tmp_path: Path):
    publish_record(tmp_path / "record.json", CONTENT)
    for changed in every_flip((tmp_path / "record.json").read_bytes()):
        with pytest.raises(IntegrityError, match="Do it again"):
            record_in(changed, "record.json must hold facts", REMEDY)


def test_every_cut_of_a_record_is_refused_and_said_to_be_one(tmp_path: Path):
    publish_record(tmp_path / "record.json", CONTENT)
    whole = (tmp_path / "record.json").read_bytes()
    for size in range(len(whole) - 2):
        with pytest.raises(Truncated if not whole[:size].rstrip().endswith(b"}") else IntegrityError):
            record_in(whole[:size], "record.json must hold facts", REMEDY)


def test_every_flipped_bit_of_a_line_is_refused_or_leaves_no_line():
    line = self_proving_line('{"version":"1","verdict":"promoted"}')
    assert proven_line(line) == '{"version":"1","verdict":"promoted"}'
    for changed in every_flip(line.encode()):
        try:
            found = proven_line(changed.decode(errors="surrogateescape"))
        except ChecksumMismatch:
            continue
        # the digest's own name or mark was hit: what is left is no entry, and is refused where it is read
        with pytest.raises(ValueError, match=r".*"):
            if set(json.loads(found)) != {"version", "verdict"}:
                raise ValueError("another key")


def test_a_table_is_still_a_table_for_those_who_know_nothing_of_digests():
    content = self_proving_csv(ROWS).decode()
    assert [line.split(",")[:3] for line in content.splitlines()] == [
        line.split(",") for line in ROWS.splitlines()
    ]
    require_csv_as_written(content.encode(), HEADER, "rolls.csv", REMEDY)


def test_every_flipped_bit_of_a_table_is_refused():
    for changed in every_flip(self_proving_csv(ROWS)):
        with pytest.raises(ChecksumMismatch, match=r"^rolls.csv: it .*Do it again\.$"):
            require_csv_as_written(changed, HEADER, "rolls.csv", REMEDY)


def test_every_cut_of_a_table_behind_its_header_is_said_to_be_one():
    whole = self_proving_csv(ROWS)
    for size in range(whole.index(b"\n") + 2, len(whole)):
        with pytest.raises(Truncated, match=f"it ends in the middle, after {size} bytes"):
            require_csv_as_written(whole[:size], HEADER, "rolls.csv", REMEDY)


def test_a_table_of_an_earlier_format_is_not_judged():
    require_csv_as_written(ROWS.encode(), HEADER, "rolls.csv", REMEDY)


@given(st.lists(st.text("abcNQ0189 ", min_size=1, max_size=5), min_size=1, max_size=5))
def test_any_table_proves_itself(cells: list[str]):
    text = "one\n" + "".join(f"{cell}\n" for cell in cells)
    require_csv_as_written(self_proving_csv(text), "one", "table.csv", REMEDY)


def test_a_refusal_to_read_is_one_line_that_names_file_reason_and_remedy():
    fault = unreadable(Path("bars.csv"), OSError(errno.EIO, os.strerror(errno.EIO)), REMEDY)
    assert str(fault) == (
        "bars.csv must be read, but that gave: Input/output error. Mend the disk or its permissions. "
        "Do it again."
    )
    assert (fault.errno, fault.filename) == (errno.EIO, "bars.csv")
