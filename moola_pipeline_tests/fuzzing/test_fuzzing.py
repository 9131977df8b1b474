"""For any content, a reader returns valid data or raises one of our errors in one line, in time."""

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
    outcome_of,
    save_crashers,
    saved_crashers,
)
from moola_pipeline_tests.fuzzing.record_readers import forget_homes
from moola_pipeline_tests.fuzzing.suite import READERS, record_tallies

QUICK_CASES = 12
SLOW_SEED, SLOW_SECONDS = 1, 30.0
"""The command and the quick test use seed 0."""

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module", autouse=True)
def _homes() -> Iterator[None]:
    yield
    forget_homes()


def reads(read) -> Reader:
    """A reader with one example: two lines of text."""
    return Reader("made-up", lambda: [b"time,open\n1,2\n"], damaged_bytes, read)


def test_data_or_one_of_our_errors_is_no_crash(tmp_path: Path):
    def refuse(_: bytes, __: Path) -> None:
        raise BadInput("a file must hold bars, got none. Export it again.")

    assert outcome_of(reads(lambda *_: None), b"x", tmp_path) == "accepted"
    assert outcome_of(reads(refuse), b"x", tmp_path) == "refused"


def test_other_errors_hangs_empty_messages_and_much_memory_are_crashes(
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
            except Exception:  # noqa: BLE001 - like a careless reader
                continue

    def grow(_: bytes, __: Path) -> None:
        peak = harness.peak_bytes()
        monkeypatch.setattr(harness, "peak_bytes", lambda: peak + harness.MAX_GROWTH + 1)

    with pytest.raises(Crash, match="KeyError at test_fuzzing.py:fail"):
        outcome_of(reads(fail), b"x", tmp_path)
    with pytest.raises(Crash, match="MoolaError in more than one line"):
        outcome_of(reads(say_nothing), b"x", tmp_path)
    monkeypatch.setattr(harness, "MAX_SECONDS", 0.1)
    with pytest.raises(Crash, match="not done after 0.1 s"):
        outcome_of(reads(hang), b"x", tmp_path)
    with pytest.raises(Crash, match="took 256 MiB"):
        outcome_of(reads(grow), b"x", tmp_path)


def test_a_message_of_many_lines_or_megabytes_becomes_one_short_line():
    long = "a file must hold bars, got\n" + "x" * 10**6 + "\r\nExport it again."
    message = str(BadInput(long))
    assert len(message) <= MAX_LINE_LENGTH == 2_000
    assert message.startswith("a file must hold bars, got xxx")
    assert message.endswith("xxx Export it again.")
    assert " ... " in message
    assert str(BadInput("as it  is")) == "as it  is"


def test_the_smallest_crasher_of_each_reason_is_saved(tmp_path: Path):
    def need_open(content: bytes, _: Path) -> None:
        if b"open" not in content:
            raise KeyError(content)

    tally = fuzz(reads(need_open), 200)
    assert tally.cases == 200
    assert tally.accepted and len(tally.crashes) + tally.accepted == 200
    (path,) = save_crashers(tally, tmp_path)
    assert path.read_bytes() == min((content for _, content in tally.crashes), key=len)
    assert path.name.startswith("made-up-")


@pytest.mark.parametrize("name", READERS)
def test_a_case_depends_on_reader_seed_and_number_only(name: str):
    reader = READERS[name]
    examples = reader.examples()
    first = [case(reader, examples, 5, number) for number in range(6)]
    again = [case(reader, examples, 5, number) for number in reversed(range(6))]
    assert first == again[::-1]
    assert len(set(first)) > 1


def test_damage_nearly_always_changes_the_content():
    sound = b'{"a": [1, 2], "b": "text"}'
    table = b"time,open\n1,2\n3,4\n"
    for damage, content in ((damaged_bytes, sound), (damaged_json, sound), (damaged_table, table)):
        same = [damage(np.random.default_rng(seed), content) == content for seed in range(200)]
        assert np.mean(same) < 0.3


@pytest.mark.parametrize("name", READERS)
def test_valid_content_is_accepted(name: str, tmp_path: Path):
    reader = READERS[name]
    assert "accepted" in [outcome_of(reader, content, tmp_path) for content in reader.examples()]


@pytest.mark.parametrize("name", READERS)
def test_damaged_content_gives_data_or_one_line(name: str):
    tally = fuzz(READERS[name], QUICK_CASES)
    assert [reason for reason, _ in tally.crashes] == []
    assert tally.accepted + tally.refused == tally.cases == QUICK_CASES


CRASHED = list(saved_crashers())


def test_each_saved_crasher_belongs_to_a_reader():
    assert len(CRASHED) >= 30
    assert {name for name, _ in CRASHED} <= set(READERS)


@pytest.mark.parametrize(("name", "path"), CRASHED, ids=[path.name for _, path in CRASHED])
def test_saved_crashers_no_longer_crash_their_reader(name: str, path: Path, tmp_path: Path):
    assert outcome_of(READERS[name], path.read_bytes(), tmp_path) in ("accepted", "refused")


@pytest.mark.slow
def test_half_a_minute_of_cases_gives_data_or_one_line():
    tallies = [fuzz(reader, 10**6, SLOW_SEED, SLOW_SECONDS / len(READERS)) for reader in READERS.values()]
    record_tallies("fuzzed readers, half a minute", tallies)
    assert {tally.reader: [reason for reason, _ in tally.crashes] for tally in tallies if tally.crashes} == {}
    assert sum(tally.cases for tally in tallies) > 20 * len(READERS)
