"""Backup of a home, and restore."""

import json
import sqlite3
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from moola_pipeline.bars.manifest import read_bars
from moola_pipeline.bars.schema import nanoseconds
from moola_pipeline.bars.store import registered_store
from moola_pipeline.errors import BadInput, ChecksumMismatch, IntegrityError, Truncated, UnwritableFile
from moola_pipeline.labels.registry import add_judgments, open_judgments, registered_judgments
from moola_pipeline.selftest.verify import verify_home
from moola_pipeline.storage import backup, sqlite
from moola_pipeline.storage.atomic_write import file_sha256, move, unwritable
from moola_pipeline.storage.backup import LIST_NAME, back_up, backed_up_files, restore
from moola_pipeline.storage.checksums import OWN_SHA256, write_checksummed
from moola_pipeline.storage.home import HOME_FORMAT, Home
from moola_pipeline_tests.cli.calls import call, complaint, facts
from moola_pipeline_tests.outputs import disorder, outputs


@pytest.fixture
def small(tmp_path: Path) -> Home:
    """A home of three files and a database."""
    home = Home(tmp_path / "small")
    (home.data / "raw").mkdir(parents=True)
    (home.data / "raw" / "bars.csv").write_text("time,open\n" * 500)
    write_checksummed(home.data / "manifest.json", {"files": []})
    home.dagster.mkdir()
    with closing(sqlite3.connect(home.dagster / "runs.db")) as connection, connection:
        connection.execute("CREATE TABLE runs (id TEXT)")
        connection.execute("INSERT INTO runs VALUES ('one')")
    return home


def content(home: Home) -> dict[str, object]:
    """Digest of each file; of a database its content, as headers of copies differ."""
    paths = {path.relative_to(home.root).as_posix(): path for path in backed_up_files(home)}
    return {name: _held(path) if path.suffix == ".db" else file_sha256(path) for name, path in paths.items()}


def _held(path: Path) -> list[str]:
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        return list(connection.iterdump())


def test_what_was_backed_up_comes_back_byte_for_byte(small: Home, tmp_path: Path):
    made = back_up(small, tmp_path / "b.zip")
    done = restore(Home(tmp_path / "new"), tmp_path / "b.zip", force=False)
    assert content(Home(tmp_path / "new")) == content(small)
    assert made.files == done.files == 3
    assert done.aside is None


def test_a_home_after_a_run_is_restored_elsewhere_with_all_its_data(smoke_home: Home, tmp_path: Path):
    archive, there = tmp_path / "b.zip", Home(tmp_path / "another place")
    assert facts(call("backup", archive, "--json", home=smoke_home.root))["files"] > 40
    assert call("restore", archive, home=there.root).exit_code == 0
    assert outputs(there) == outputs(smoke_home)
    assert disorder(there) == []
    assert verify_home(there).findings == []
    assert facts(call("status", "--profile", "smoke", "--json", home=there.root))["would_make"] == []


def test_rows_written_but_not_yet_in_the_file_of_the_database_are_backed_up(small: Home, tmp_path: Path):
    with closing(sqlite3.connect(small.dagster / "runs.db")) as connection, connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("INSERT INTO runs VALUES ('two')")
        connection.commit()
        assert (small.dagster / "runs.db-wal").stat().st_size
        back_up(small, tmp_path / "b.zip")
    restore(Home(tmp_path / "new"), tmp_path / "b.zip", force=False)
    with closing(sqlite3.connect(tmp_path / "new" / ".dagster" / "runs.db")) as connection:
        assert connection.execute("SELECT id FROM runs").fetchall() == [("one",), ("two",)]


def test_a_home_with_data_is_not_overwritten(small: Home, tmp_path: Path):
    back_up(small, tmp_path / "b.zip")
    (small.data / "manifest.json").write_text("later")
    refused = call("restore", tmp_path / "b.zip", home=small.root)
    assert refused.exit_code == 2
    assert complaint(refused).endswith("or move its data aside with --force.")
    assert (small.data / "manifest.json").read_text() == "later"

    done = restore(small, tmp_path / "b.zip", force=True)
    assert done.aside is not None
    assert (done.aside / "data" / "manifest.json").read_text() == "later"
    assert json.loads((small.data / "manifest.json").read_bytes())["files"] == []


KILLED_AT_WORK = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size=5")  # so that uncommitted rows reach the disk, too
connection.execute("INSERT INTO runs VALUES ('committed')")
connection.execute("BEGIN")
connection.execute("DELETE FROM runs")
connection.executemany("INSERT INTO runs VALUES (?)", [("never committed" * 99,)] * 500)
os._exit(9)
"""
OPEN_ELSEWHERE = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("INSERT INTO runs VALUES ('committed')")
print("open", flush=True)
sys.stdin.readline()
try:
    connection.execute("INSERT INTO runs VALUES ('late')")
except sqlite3.Error as fault:
    print(fault.sqlite_errorname)
"""


@contextmanager
def open_elsewhere(database: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process that adds a row, keeps the database open, and adds another row on command."""
    command = [sys.executable, "-c", OPEN_ELSEWHERE, str(database)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout and other.stdout.readline() == "open\n"
        yield other


def set_mode(database: Path, mode: str) -> None:
    """SQLite's journal mode; WAL is stored in the file."""
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute(f"PRAGMA journal_mode={mode}").fetchone() == (mode,)


def rows(database: Path) -> list[str]:
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return [row[0] for row in connection.execute("SELECT id FROM runs")]


@pytest.mark.parametrize(("mode", "left"), [("wal", "-wal"), ("delete", "-journal")])
def test_a_journal_of_a_killed_process_is_backed_up_and_not_applied_to_a_restored_database(
    small: Home, tmp_path: Path, mode: str, left: str
):
    database = small.dagster / "runs.db"
    set_mode(database, mode)
    back_up(small, tmp_path / "b.zip")
    subprocess.run([sys.executable, "-c", KILLED_AT_WORK, str(database)], check=False)
    assert database.with_name(f"runs.db{left}").stat().st_size
    done = restore(small, tmp_path / "b.zip", force=True)
    assert done.aside is not None
    assert rows(database) == ["one"]
    assert rows(done.aside / ".dagster" / "runs.db") == ["one", "committed"]
    assert not [path for path in small.root.rglob("*") if path.name.endswith(sqlite.JOURNALS)]


def test_a_backup_rolls_back_the_transaction_of_a_killed_process(small: Home, tmp_path: Path):
    subprocess.run([sys.executable, "-c", KILLED_AT_WORK, str(small.dagster / "runs.db")], check=False)
    assert (small.dagster / "runs.db-journal").exists()
    back_up(small, tmp_path / "b.zip")
    restore(Home(tmp_path / "new"), tmp_path / "b.zip", force=False)
    assert rows(tmp_path / "new" / ".dagster" / "runs.db") == ["one", "committed"]


def test_an_old_journal_is_not_applied_to_a_restored_database(small: Home, tmp_path: Path):
    database = small.dagster / "runs.db"
    back_up(small, tmp_path / "b.zip")
    subprocess.run([sys.executable, "-c", KILLED_AT_WORK, str(database)], check=False)
    there = Home(tmp_path / "new")
    move(database.with_name("runs.db-journal"), there.dagster / "runs.db-journal")
    done = restore(there, tmp_path / "b.zip", force=False)
    assert rows(there.dagster / "runs.db") == ["one"]
    assert done.aside is not None
    assert (done.aside / ".dagster" / "runs.db-journal").stat().st_size


def test_nothing_is_restored_while_another_process_has_a_database_open(
    small: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    database = small.dagster / "runs.db"
    set_mode(database, "wal")
    back_up(small, tmp_path / "b.zip")
    monkeypatch.setattr(sqlite, "TIMEOUT_SECONDS", 0)
    with open_elsewhere(database) as other:
        before = content(small)
        refused = call("restore", tmp_path / "b.zip", "--force", home=small.root)
        assert refused.exit_code == 2
        assert complaint(refused).endswith(
            "runs.db must not be open in another process, but it is. Stop moola ui and every other process "
            "that uses this home, then try again."
        )
        assert content(small) == before
        assert not list(small.root.glob("before-restore-*"))
        other.communicate("go on\n")
    assert rows(database) == ["one", "committed", "late"]
    assert call("restore", tmp_path / "b.zip", "--force", home=small.root).exit_code == 0
    assert rows(database) == ["one"]


def test_a_process_with_an_open_database_without_wal_cannot_write_into_the_restored_one(
    small: Home, tmp_path: Path
):
    database = small.dagster / "runs.db"
    back_up(small, tmp_path / "b.zip")
    with open_elsewhere(database) as other:
        done = restore(small, tmp_path / "b.zip", force=True)
        assert other.communicate("go on\n")[0] == "SQLITE_READONLY_DBMOVED\n"
    assert done.aside is not None
    assert rows(database) == ["one"]
    assert rows(done.aside / ".dagster" / "runs.db") == ["one", "committed"]


def test_a_broken_database_is_moved_aside_unchanged(small: Home, tmp_path: Path):
    back_up(small, tmp_path / "b.zip")
    (small.dagster / "runs.db").write_bytes(b"no database" * 99)
    (small.dagster / "runs.db-wal").write_bytes(b"no journal")
    done = restore(small, tmp_path / "b.zip", force=True)
    assert done.aside is not None
    assert (done.aside / ".dagster" / "runs.db").read_bytes() == b"no database" * 99
    assert (done.aside / ".dagster" / "runs.db-wal").read_bytes() == b"no journal"
    assert rows(small.dagster / "runs.db") == ["one"]


def test_moved_files_come_back_if_not_all_can_be_moved_aside(
    small: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    back_up(small, tmp_path / "b.zip")
    before = content(small)

    def refusing(source: Path, target: Path) -> None:
        if source == small.dagster / "runs.db":
            raise unwritable(target, OSError(5, "Input/output error"))
        move(source, target)

    monkeypatch.setattr(backup, "move", refusing)
    with pytest.raises(UnwritableFile):
        restore(small, tmp_path / "b.zip", force=True)
    assert content(small) == before


@pytest.mark.parametrize(
    "name", ["../out", "data/../../out", "/etc/out", "elsewhere/out", "data\\..\\out", "data//out", "C:/out"]
)
def test_a_path_that_leads_out_of_the_home_is_refused(small: Home, tmp_path: Path, name: str):
    back_up(small, tmp_path / "b.zip")
    with zipfile.ZipFile(tmp_path / "b.zip") as archive:
        listed = json.loads(archive.read(LIST_NAME))
    listed.pop(OWN_SHA256)
    listed["files"] = {name: {"sha256": "0" * 64, "bytes": 3}}
    write_checksummed(tmp_path / LIST_NAME, listed)
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr(zipfile.ZipInfo(name), b"bad")
        archive.write(tmp_path / LIST_NAME, LIST_NAME)
    with pytest.raises(BadInput, match="every path must lie below data or .dagster"):
        restore(Home(tmp_path / "new" / "home"), tmp_path / "evil.zip", force=False)
    assert not list(tmp_path.rglob("out"))


def test_a_file_that_is_not_in_the_list_is_refused(small: Home, tmp_path: Path):
    back_up(small, tmp_path / "b.zip")
    with zipfile.ZipFile(tmp_path / "b.zip", "a") as archive:
        archive.writestr("data/more.txt", "more")
    with pytest.raises(ChecksumMismatch, match="they differ in 'data/more.txt'"):
        restore(Home(tmp_path / "new"), tmp_path / "b.zip", force=False)


def test_bytes_changed_inside_an_archive_are_refused(small: Home, tmp_path: Path):
    """An archive that was unpacked, changed and repacked: zip's checksums fit, the list does not."""
    back_up(small, tmp_path / "b.zip")
    with zipfile.ZipFile(tmp_path / "b.zip") as whole, zipfile.ZipFile(tmp_path / "c.zip", "w") as changed:
        for name in whole.namelist():
            content = whole.read(name)
            changed.writestr(name, content.replace(b"time", b"tide", 1) if name.endswith(".csv") else content)
    with pytest.raises(ChecksumMismatch, match=r"^c.zip: data/raw/bars.csv: SHA256 is [0-9a-f]{64}"):
        restore(Home(tmp_path / "new"), tmp_path / "c.zip", force=False)
    assert not list(backed_up_files(Home(tmp_path / "new")))


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_an_archive_cut_off_anywhere_is_named_and_nothing_is_restored(
    small: Home, tmp_path: Path, share: float
):
    back_up(small, tmp_path / "b.zip")
    whole = (tmp_path / "b.zip").read_bytes()
    (tmp_path / "b.zip").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(Truncated if share else BadInput, match=r"^b.zip"):
        restore(Home(tmp_path / "new"), tmp_path / "b.zip", force=False)
    assert not list(backed_up_files(Home(tmp_path / "new")))


def test_a_flipped_byte_of_an_archive_restores_nothing_wrong(small: Home, tmp_path: Path):
    back_up(small, tmp_path / "b.zip")
    whole, before, refused = (tmp_path / "b.zip").read_bytes(), content(small), 0
    for offset in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[offset] ^= 1 << offset % 8
        (tmp_path / "d.zip").write_bytes(damaged)
        home = Home(tmp_path / f"new {offset}")
        try:
            restore(home, tmp_path / "d.zip", force=False)
        except (BadInput, IntegrityError):
            refused += 1
            assert not list(backed_up_files(home))
        else:
            assert content(home) == before  # the byte is in zip metadata, such as times
    assert refused > len(range(0, len(whole), 7)) / 2


def test_the_archive_may_not_lie_in_the_backed_up_folders_and_an_empty_home_has_none(
    small: Home, tmp_path: Path
):
    with pytest.raises(BadInput, match="FILE must lie outside the folders that are backed up"):
        back_up(small, small.data / "b.zip")
    with pytest.raises(BadInput, match="A backup needs a home with data"):
        back_up(Home(tmp_path / "empty"), tmp_path / "b.zip")


def test_an_archive_of_a_later_version_is_refused(small: Home, tmp_path: Path):
    write_checksummed(small.data / "format.json", {"format": HOME_FORMAT + 1})
    back_up(small, tmp_path / "b.zip")
    with pytest.raises(IntegrityError, match=r"^b.zip must have format 1 or earlier, got 2"):
        restore(Home(tmp_path / "new"), tmp_path / "b.zip", force=False)
    assert not list(backed_up_files(Home(tmp_path / "new")))


@pytest.mark.parametrize("linked", ["raw", "raw/bars.csv"])
def test_a_link_in_the_home_is_refused_by_name(small: Home, tmp_path: Path, linked: str):
    path = small.data / linked
    path.rename(tmp_path / "another disk")
    path.symlink_to(tmp_path / "another disk")
    with pytest.raises(BadInput, match=f"the files themselves, but .*{linked} is a link"):
        back_up(small, tmp_path / "b.zip")
    assert not (tmp_path / "b.zip").exists()


def test_a_label_saved_during_a_backup_is_in_it_whole_or_not_at_all(
    registered_copy: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    store = registered_store(registered_copy)
    known = open_judgments(store.labels, nanoseconds(read_bars(store)))
    first = next(iter(known.journal.current().values()))
    saved = replace(first, window_id="another", spans=(), why="", supersedes=None)
    add = backup._add
    with ThreadPoolExecutor(1) as beside:
        adding: list[Future[Any]] = []

        def slow(archive: zipfile.ZipFile, name: str, source: Path) -> Any:
            digest = add(archive, name, source)
            if name.endswith("judgments.jsonl"):  # before the ledger is copied
                adding.append(beside.submit(add_judgments, store.labels, [saved], known))
                time.sleep(0.2)
            return digest

        monkeypatch.setattr(backup, "_add", slow)
        back_up(registered_copy, tmp_path / "b.zip")
        adding[0].result(timeout=30)
    there = Home(tmp_path / "there")
    restore(there, tmp_path / "b.zip", force=False)
    assert len(registered_judgments(registered_store(there).labels).judgments) == len(known.journal.judgments)
    assert len(registered_judgments(store.labels).judgments) == len(known.journal.judgments) + 1
    assert verify_home(there).findings == []
