"""`moola bars inbox`: a single pass of the sensor."""

from pathlib import Path

import pytest

from moola_pipeline.bars import inbox as room
from moola_pipeline.cli import bar_files as command
from moola_pipeline.cli.exit_codes import BAD_INPUT
from moola_pipeline_tests.bars.examples import made_up_bars, wall_clock, write_csv
from moola_pipeline_tests.cli.calls import call, complaint, facts


@pytest.fixture
def inbox(isolated_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(command, "add_inbox_files", lambda home: room.add_inbox_files(home, settle_seconds=0))
    folder = isolated_home / "data/inbox"
    folder.mkdir(parents=True)
    return folder


def test_an_empty_inbox_is_not_an_error(inbox: Path):
    result = call("bars", "inbox")
    assert (result.exit_code, result.stdout) == (0, f"There are no files in {inbox}.\n")


def test_an_added_file_is_printed_as_by_bars_add(inbox: Path, tmp_path: Path):
    path = write_csv(inbox / "nq.csv", made_up_bars())
    content = path.read_bytes()
    result = call("bars", "inbox")
    assert result.exit_code == 0
    by_hand = tmp_path / "nq.csv"
    by_hand.write_bytes(content)
    expected = call("bars", "add", by_hand, home=tmp_path / "other").stdout.splitlines()
    assert result.stdout.splitlines() == expected[: expected.index("Next:")]


def test_json_has_the_outcome_of_each_file(inbox: Path):
    write_csv(inbox / "a.csv", wall_clock(made_up_bars(), "America/New_York"))
    write_csv(inbox / "b.csv", made_up_bars())
    write_csv(inbox / "c.csv.part", made_up_bars())
    result = call("bars", "inbox", "--json")
    refused, added, waiting = facts(result)["files"]
    assert (refused["source"], refused["inbox"]) == ("a.csv", "refused")
    assert refused["kept"] == str(inbox / "refused/a.csv")
    assert (added["inbox"], added["outcome"], added["rows"]["kept"]) == ("added", "registered", 6)
    assert (waiting["inbox"], waiting["kept"]) == ("waiting", None)


def test_a_refused_file_exits_2_with_the_folder_and_the_reason(inbox: Path):
    write_csv(inbox / "a.csv", wall_clock(made_up_bars(), "America/New_York"))
    result = call("bars", "inbox")
    assert result.exit_code == BAD_INPUT
    assert complaint(result) == (
        "Files in the inbox must be readable without a guess, but these are not: a.csv. "
        f"Read the reasons in {inbox / 'refused'}, correct the files, and move them back."
    )
    assert result.stdout.startswith("a.csv: refused, ")


def test_a_file_that_was_just_written_waits(isolated_home: Path):
    folder = isolated_home / "data/inbox"
    folder.mkdir(parents=True)
    write_csv(folder / "nq.csv", made_up_bars())
    result = call("bars", "inbox")
    assert result.exit_code == 0
    assert result.stdout == ("nq.csv: waiting, it was written 0 s ago, and is added 30 s after a write\n")
