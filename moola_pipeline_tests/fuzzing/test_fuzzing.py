"""No content makes a reader end otherwise than with data that hold, or one typed line; quickly."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from moola_pipeline.errors import MAX_LINE_LENGTH, BadInput, MoolaError
from moola_pipeline_tests.fuzzing import harness
from moola_pipeline_tests.fuzzing.damage import damaged_bytes, damaged_json, damaged_table
from moola_pipeline_tests.fuzzing.harness import (
    Crash,
    Reader,
    case,
    fuzz,
    judged,
    keep_crashers,
    kept_crashers,
)
from moola_pipeline_tests.fuzzing.record_readers import forget_homes
from moola_pipeline_tests.fuzzing.suite import READERS, record_tallies

QUICK_CASES = 12
SLOW_SEED, SLOW_SECONDS = 1, 30.0
"""Seed 0 is that of the command and of the quick test."""

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module", autouse=True)
def _homes() -> Iterator[None]:
    yield
    forget_homes()


def reads(read) -> Reader:
    """A reader of one line of text."""
    return Reader("made-up", lambda: [b"time,open\n1,2\n"], damaged_bytes, read)


def test_what_ends_in_data_or_in_one_typed_line_is_no_crash(tmp_path: Path):
    def refuse(_: bytes, __: Path) -> None:
        raise BadInput("a file must hold bars, got none. Export it again.")

    assert judged(reads(lambda *_: None), b"x", tmp_path) == "accepted"
    assert judged(reads(refuse), b"x", tmp_path) == "refused"


def test_another_fault_a_hang_a_silence_and_much_memory_are_crashes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def fail(_: bytes, __: Path) -> None:
        raise KeyError("close")

    def say_nothing(_: bytes, __: Path) -> None:
        raise MoolaError("")

    def hang(_: bytes, __: Path) -> None:
        while True:
            try:
                time.sleep(0.001)
            except Exception:  # noqa: BLE001 - as a careless reader does
                continue

    def grow(_: bytes, __: Path) -> None:
        peak = harness.peak_bytes()
        monkeypatch.setattr(harness, "peak_bytes", lambda: peak + harness.MAX_GROWTH + 1)

    with pytest.raises(Crash, match="KeyError at test_fuzzing.py:fail"):
        judged(reads(fail), b"x", tmp_path)
    with pytest.raises(Crash, match="MoolaError in more than one line"):
        judged(reads(say_nothing), b"x", tmp_path)
    monkeypatch.setattr(harness, "MAX_SECONDS", 0.1)
    with pytest.raises(Crash, match="not done after 0.1 s"):
        judged(reads(hang), b"x", tmp_path)
    with pytest.raises(Crash, match="took 256 MiB"):
        judged(reads(grow), b"x", tmp_path)


def test_a_fault_of_many_lines_or_megabytes_is_said_in_one_short_line():
    long = "a file must hold bars, got\n" + "x" * 10**6 + "\r\nExport it again."
    said = str(BadInput(long))
    assert len(said) <= MAX_LINE_LENGTH == 2_000
    assert said.startswith("a file must hold bars, got xxx")
    assert said.endswith("xxx Export it again.")
    assert " ... " in said
    assert str(BadInput("as it  is")) == "as it  is"


def test_crashers_are_kept_once_for_each_reason_and_the_smallest(tmp_path: Path):
    def need_open(content: bytes, _: Path) -> None:
        if b"open" not in content:
            raise KeyError(content)

    tally = fuzz(reads(need_open), 200)
    assert tally.cases == 200
    assert tally.accepted and len(tally.crashes) + tally.accepted == 200
    (kept,) = keep_crashers(tally, tmp_path)
    assert kept.read_bytes() == min((content for _, content in tally.crashes), key=len)
    assert kept.name.startswith("made-up-")


@pytest.mark.parametrize("name", READERS)
def test_a_case_is_the_same_whenever_it_is_asked_for(name: str):
    reader = READERS[name]
    examples = reader.examples()
    first = [case(reader, examples, 5, number) for number in range(6)]
    again = [case(reader, examples, 5, number) for number in reversed(range(6))]
    assert first == again[::-1]
    assert len(set(first)) > 1


def test_damage_of_each_form_leaves_other_content_nearly_always():
    sound = b'{"a": [1, 2], "b": "text"}'
    table = b"time,open\n1,2\n3,4\n"
    for damage, content in ((damaged_bytes, sound), (damaged_json, sound), (damaged_table, table)):
        same = [damage(np.random.default_rng(seed), content) == content for seed in range(200)]
        assert np.mean(same) < 0.3


@pytest.mark.parametrize("name", READERS)
def test_sound_content_is_taken(name: str, tmp_path: Path):
    reader = READERS[name]
    assert "accepted" in [judged(reader, content, tmp_path) for content in reader.examples()]


@pytest.mark.parametrize("name", READERS)
def test_damaged_content_ends_in_data_or_one_line(name: str):
    tally = fuzz(READERS[name], QUICK_CASES)
    assert [reason for reason, _ in tally.crashes] == []
    assert tally.accepted + tally.refused == tally.cases == QUICK_CASES


CRASHED = list(kept_crashers())


def test_there_are_crashers_and_each_is_of_a_reader():
    assert len(CRASHED) >= 30
    assert {name for name, _ in CRASHED} <= set(READERS)


@pytest.mark.parametrize(("name", "path"), CRASHED, ids=[path.name for _, path in CRASHED])
def test_what_once_crashed_a_reader_no_longer_does(name: str, path: Path, tmp_path: Path):
    assert judged(READERS[name], path.read_bytes(), tmp_path) in ("accepted", "refused")


@pytest.mark.slow
def test_as_many_cases_as_half_a_minute_holds_end_in_data_or_one_line():
    tallies = [fuzz(reader, 10**6, SLOW_SEED, SLOW_SECONDS / len(READERS)) for reader in READERS.values()]
    record_tallies("fuzzed readers, half a minute", tallies)
    assert {one.reader: [reason for reason, _ in one.crashes] for one in tallies if one.crashes} == {}
    assert sum(tally.cases for tally in tallies) > 20 * len(READERS)
