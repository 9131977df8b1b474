"""The inbox: files are added or refused with the reason, and none is lost."""

import json
import os
import sys
from pathlib import Path

import pandas as pd
import pytest

from moola_pipeline.bars import inbox
from moola_pipeline.bars.inbox import InboxFile, add_inbox_files
from moola_pipeline.bars.manifest import add_bars, read_bars
from moola_pipeline.bars.store import BarStore, read_manifest, registered_store
from moola_pipeline.bars.vendor_options import VendorOptions
from moola_pipeline.errors import BadInput, IntegrityError
from moola_pipeline.storage.home import Home
from moola_pipeline_tests.bars.examples import made_up_bars, wall_clock, write_csv

NEW_YORK = '{"timezone": "America/New_York"}'


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.fixture
def store(home: Home) -> BarStore:
    return registered_store(home)


@pytest.fixture
def folder(home: Home) -> Path:
    home.inbox.mkdir(parents=True)
    return home.inbox


def take(store: BarStore) -> list[InboxFile]:
    return add_inbox_files(Home(store.root.parents[1]), settle_seconds=0)


def outcomes(files: list[InboxFile]) -> dict[str, str]:
    return {file.name: file.outcome for file in files}


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def naive_csv(path: Path, bars: pd.DataFrame | None = None) -> Path:
    return write_csv(path, wall_clock(made_up_bars() if bars is None else bars, "America/New_York"))


def test_an_added_file_leaves_the_inbox_and_its_bytes_are_stored(store: BarStore, folder: Path):
    content = write_csv(folder / "nq.csv", made_up_bars(6)).read_bytes()
    (file,) = take(store)
    assert (file.outcome, file.shown) == ("added", "nq.csv: registered, 6 bars")
    assert (store.raw / "nq.csv").read_bytes() == content
    assert names(folder) == []
    assert len(read_bars(store)) == 6


def test_a_missing_inbox_is_created(store: BarStore):
    assert take(store) == []
    assert (store.root.parent / "inbox").is_dir()


def test_the_inbox_writes_the_same_manifest_entry_as_bars_add(store: BarStore, folder: Path, tmp_path: Path):
    by_hand = BarStore(tmp_path / "by hand", simulated=False)
    path = naive_csv(folder / "nq.csv")
    (folder / "nq.csv.options.json").write_text(NEW_YORK)
    expected = add_bars(by_hand, path, VendorOptions(timezone="America/New_York")).entry
    (file,) = take(store)
    assert file.added is not None
    assert file.added.entry.model_copy(update={"added_at": expected.added_at}) == expected
    assert names(folder) == []


def test_options_of_the_folder_apply_to_files_without_their_own_options(store: BarStore, folder: Path):
    (folder / "options.json").write_text(NEW_YORK)
    naive_csv(folder / "a.csv")
    later = made_up_bars(start="2024-03-08 15:30")
    write_csv(folder / "b.csv", wall_clock(later, "UTC"))
    (folder / "b.csv.options.json").write_text('{"timezone": "UTC", "columns": {"close": "close"}}')
    assert outcomes(take(store)) == {"a.csv": "added", "b.csv": "added"}
    zones = {entry.file: entry.timezone for entry in read_manifest(store).files}
    assert zones == {"a.csv": "America/New_York", "b.csv": "UTC"}
    assert names(folder) == ["options.json"]


def test_a_file_whose_name_ends_like_an_options_file_is_taken(store: BarStore, folder: Path):
    naive_csv(folder / "NQ_options.json")
    naive_csv(folder / "nq.csv")
    (folder / "nq.csv.options.json").write_text(NEW_YORK)
    (folder / "options.json").write_text(NEW_YORK)
    assert outcomes(take(store)) == {"NQ_options.json": "added", "nq.csv": "added"}


def test_a_refused_file_is_moved_with_the_reason_and_the_others_are_added(store: BarStore, folder: Path):
    content = naive_csv(folder / "a.csv").read_bytes()
    write_csv(folder / "b.csv", made_up_bars())
    first, second = take(store)
    assert (first.outcome, second.outcome) == ("refused", "added")
    assert names(folder) == ["refused/a.csv", "refused/a.csv.reason.txt"]
    assert (folder / "refused/a.csv").read_bytes() == content
    reason = (folder / "refused/a.csv.reason.txt").read_text()
    assert reason == f"{first.why}\n"
    assert "--timezone America/New_York" in reason
    assert first.kept == folder / "refused/a.csv"


def test_a_refused_file_moved_back_with_options_is_added(store: BarStore, folder: Path):
    naive_csv(folder / "a.csv")
    take(store)
    os.replace(folder / "refused/a.csv", folder / "a.csv")
    (folder / "a.csv.options.json").write_text(NEW_YORK)
    assert outcomes(take(store)) == {"a.csv": "added"}


def test_refused_files_of_the_same_name_are_all_kept(store: BarStore, folder: Path):
    for content in ("one", "two", "three"):
        (folder / "nq.csv").write_text(content)
        (folder / "nq.csv.options.json").write_text(f'{{"stamp": "{content}"}}')
        assert outcomes(take(store)) == {"nq.csv": "refused"}
    kept = [(folder / f"refused/nq{number}.csv").read_text() for number in ("", "-2", "-3")]
    assert kept == ["one", "two", "three"]
    assert "two" in (folder / "refused/nq-2.csv.options.json").read_text()


def test_the_same_file_is_stored_once(store: BarStore, folder: Path):
    for outcome in ("registered", "unchanged"):
        write_csv(folder / "nq.csv", made_up_bars())
        (file,) = take(store)
        assert file.added is not None
        assert file.added.outcome == outcome
    write_csv(folder / "same under another name.csv", made_up_bars())
    take(store)
    assert names(store.raw) == ["nq.csv"]
    assert names(folder) == []


def test_a_file_that_was_just_written_waits(store: BarStore, folder: Path):
    path = write_csv(folder / "nq.csv", made_up_bars())
    os.utime(path, (0, 0))  # a copy may keep the original's modification time
    (file,) = add_inbox_files(Home(store.root.parents[1]))
    assert (file.outcome, file.why) == (
        "waiting",
        "it was written 0 s ago, and is added 30 s after a write",
    )
    assert names(folder) == ["nq.csv"]
    assert not store.manifest.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells who writes")
def test_a_file_open_for_writing_waits(store: BarStore, folder: Path):
    path = write_csv(folder / "nq.csv", made_up_bars())
    with path.open("a"):
        (file,) = take(store)
        assert (file.outcome, file.why) == ("waiting", "it is open for writing")
    assert outcomes(take(store)) == {"nq.csv": "added"}


@pytest.mark.parametrize("name", ["nq.csv.part", "nq.csv.tmp", "nq.csv.crdownload"])
def test_a_file_with_the_name_of_an_incomplete_file_waits(store: BarStore, folder: Path, name: str):
    write_csv(folder / name, made_up_bars())
    assert outcomes(take(store)) == {name: "waiting"}


def test_hidden_files_and_folders_are_ignored(store: BarStore, folder: Path):
    write_csv(folder / ".nq.csv.XyZ", made_up_bars())
    (folder / "old").mkdir()
    write_csv(folder / "old/nq.csv", made_up_bars())
    assert take(store) == []
    assert names(folder) == [".nq.csv.XyZ", "old/nq.csv"]


def test_a_file_that_changes_while_it_is_read_waits(
    store: BarStore, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    (folder / "nq.csv").write_text("time,op")

    def read_and_grow(*_: object) -> None:
        (folder / "nq.csv").write_text("time,open,high")
        raise BadInput("too short")

    monkeypatch.setattr(inbox, "add_bars", read_and_grow)
    (file,) = take(store)
    assert (file.outcome, file.why) == ("waiting", "it changed while it was read")
    assert names(folder) == ["nq.csv"]


def test_a_file_that_replaces_an_added_file_is_added_next(
    store: BarStore, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    write_csv(folder / "nq.csv", made_up_bars(9).head(6))

    def add_and_replace(*words: object) -> object:
        added = add_bars(*words)  # pyright: ignore[reportArgumentType]
        write_csv(folder / "nq.csv", made_up_bars(9))
        return added

    monkeypatch.setattr(inbox, "add_bars", add_and_replace)
    take(store)
    assert names(folder) == ["nq.csv"]
    monkeypatch.setattr(inbox, "add_bars", add_bars)
    assert outcomes(take(store)) == {"nq.csv": "added"}
    assert len(read_bars(store)) == 9


def test_a_file_whose_deletion_was_interrupted_is_read_again(store: BarStore, folder: Path):
    write_csv(folder / ".nq.csv.taken", made_up_bars())
    assert outcomes(take(store)) == {"nq.csv": "added"}
    assert names(folder) == []


def test_files_wait_when_the_time_limit_is_reached(store: BarStore, folder: Path):
    write_csv(folder / "nq.csv", made_up_bars())
    assert outcomes(add_inbox_files(Home(store.root.parents[1]), settle_seconds=0, most_seconds=-1)) == {
        "nq.csv": "waiting"
    }
    assert outcomes(take(store)) == {"nq.csv": "added"}


def test_a_broken_manifest_does_not_refuse_a_file(store: BarStore, folder: Path):
    write_csv(folder / "nq.csv", made_up_bars())
    store.root.mkdir()
    store.manifest.write_text("{")
    with pytest.raises(IntegrityError, match="manifest.json must list the registered files"):
        take(store)
    assert names(folder) == ["nq.csv"]


@pytest.mark.parametrize(
    ("content", "came"),
    [
        ("timezone=UTC", "got: Expecting value"),
        ("[]", "got []"),
        ('{"zone": "UTC"}', "got zone 'UTC'"),
        ('{"timezone": 5}', "got timezone 5"),
        ('{"columns": {"close": 4}}', "got columns.close 4"),
        ('{"columns": 4}', "got columns 4"),
        ('{"timezone": "New York"}', "options.json: "),
    ],
)
def test_with_unreadable_options_no_file_is_moved(store: BarStore, folder: Path, content: str, came: str):
    (folder / "options.json").write_text(content)
    write_csv(folder / "nq.csv", made_up_bars())
    with pytest.raises(BadInput) as fault:
        take(store)
    assert str(fault.value).startswith("options.json")
    assert came in str(fault.value)
    assert names(folder) == ["nq.csv", "options.json"]


def test_option_files_accept_every_option_of_bars_add(store: BarStore, folder: Path):
    bars = wall_clock(made_up_bars(), "America/New_York", minutes_late=1).rename(columns={"close": "Last"})
    write_csv(folder / "es.csv", bars)
    options = {
        "format": "csv",
        "timezone": "America/New_York",
        "stamp": "close",
        "columns": "close=Last",
        "instrument": "ES",
    }
    (folder / "options.json").write_text(json.dumps(options))
    (file,) = take(store)
    assert file.added is not None, file.why
    entry = file.added.entry
    assert (entry.timezone, entry.stamp, entry.instrument) == ("America/New_York", "close", "ES")
    assert entry.first == made_up_bars()["timestamp"].iloc[0]
