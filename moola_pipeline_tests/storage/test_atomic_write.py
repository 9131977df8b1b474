"""Atomic writes: a reader sees the old file or the new one, never a part."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from filelock import Timeout

from moola_pipeline.storage.atomic_write import (
    atomic_write,
    atomic_write_bytes,
    atomic_write_json,
    file_sha256,
    files_below,
    locked,
    stale_temporary_files,
)

KILLED_WHILE_WRITING = """
import os, signal, sys
from pathlib import Path
from moola_pipeline.storage.atomic_write import atomic_write
with atomic_write(Path(sys.argv[1])) as temporary:
    temporary.write_bytes(b"half of the n")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_content_arrives_in_a_folder_that_did_not_exist(tmp_path: Path):
    target = tmp_path / "new" / "folder" / "bars.bin"
    atomic_write_bytes(target, b"new")

    assert target.read_bytes() == b"new"
    assert [path.name for path in target.parent.iterdir()] == ["bars.bin"]


def test_until_the_block_ends_a_reader_sees_the_old_bytes(tmp_path: Path):
    target = tmp_path / "bars.bin"
    target.write_bytes(b"old")
    with atomic_write(target) as temporary:
        temporary.write_bytes(b"new")
        assert target.read_bytes() == b"old"
        assert temporary.parent == target.parent, "a rename is atomic within one file system only"
        opened = target.open("rb")

    assert target.read_bytes() == b"new"
    with opened:
        assert opened.read() == b"old"


def test_content_reaches_the_disk_before_its_name_and_the_name_before_the_call_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A power failure cannot be tested; the order of the calls can."""
    asked: list[tuple[str, str]] = []
    real_sync, real_replace = os.fsync, os.replace

    def target_of(handle: int) -> str:
        inode = os.fstat(handle).st_ino
        return "folder" if inode == tmp_path.stat().st_ino else "content"

    def synced(handle: int) -> None:
        asked.append(("fsync", target_of(handle)))
        real_sync(handle)

    def replaced(source: Path, target: Path) -> None:
        asked.append(("replace", Path(target).name))
        real_replace(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    atomic_write_bytes(tmp_path / "bars.bin", b"new")
    assert asked == [("fsync", "content"), ("replace", "bars.bin"), ("fsync", "folder")]


@pytest.mark.parametrize("fault", [ValueError, OSError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_bytes_and_nothing_beside_them(tmp_path: Path, fault: type[BaseException]):
    target = tmp_path / "bars.bin"
    target.write_bytes(b"old")
    with pytest.raises(fault), atomic_write(target) as temporary:
        temporary.write_bytes(b"half of the n")
        raise fault

    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_failure_before_the_first_version_leaves_nothing(tmp_path: Path):
    with pytest.raises(RuntimeError), atomic_write(tmp_path / "bars.bin"):
        raise RuntimeError

    assert list(tmp_path.iterdir()) == []


def test_a_failed_rename_leaves_the_old_bytes_and_nothing_beside_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def full_disk(*_: object) -> None:
        raise OSError("no space left on device")

    target = tmp_path / "bars.bin"
    target.write_bytes(b"old")
    monkeypatch.setattr(os, "replace", full_disk)
    with pytest.raises(OSError, match="no space left"):
        atomic_write_bytes(target, b"new")

    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_writer_killed_halfway_leaves_the_old_bytes(tmp_path: Path):
    target = tmp_path / "bars.bin"
    target.write_bytes(b"old")
    killed = subprocess.run([sys.executable, "-c", KILLED_WHILE_WRITING, str(target)], check=False)

    assert killed.returncode == -signal.SIGKILL
    assert target.read_bytes() == b"old"


def test_of_two_writers_the_last_to_finish_wins(tmp_path: Path):
    target = tmp_path / "bars.bin"
    with atomic_write(target) as first:
        with atomic_write(target) as second:
            assert first != second
            first.write_bytes(b"first")
            second.write_bytes(b"second")
        assert target.read_bytes() == b"second"

    assert target.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [target]


def test_a_reader_among_many_writers_never_sees_a_mixture(tmp_path: Path):
    target = tmp_path / "bars.bin"
    versions = [bytes([i]) * 100_000 for i in range(20)]
    atomic_write_bytes(target, versions[0])
    with ThreadPoolExecutor(4) as writers:
        written = [writers.submit(atomic_write_bytes, target, version) for version in versions]
        contents = {target.read_bytes()}
        while not all(future.done() for future in written):
            contents.add(target.read_bytes())
        for future in written:
            future.result()

    assert contents <= set(versions)
    assert list(tmp_path.iterdir()) == [target]


def test_bytes_reach_the_disk_before_the_name_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    steps: list[str] = []
    sync, rename = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (steps.append("sync"), sync(handle)))
    monkeypatch.setattr(os, "replace", lambda *names: (steps.append("rename"), rename(*names)))
    atomic_write_bytes(tmp_path / "bars.bin", b"new")

    assert steps == ["sync", "rename", "sync"]


def test_a_published_file_can_be_read_by_everyone_and_written_by_its_owner(tmp_path: Path):
    target = tmp_path / "bars.bin"
    atomic_write_bytes(target, b"new")

    assert target.stat().st_mode & 0o777 == 0o644


def test_json_is_indented_in_the_order_given_and_ends_with_a_line_break(tmp_path: Path):
    target = tmp_path / "manifest.json"
    atomic_write_json(target, {"b": 1, "a": ["Größe", None]})

    expected = '{\n  "b": 1,\n  "a": [\n    "Größe",\n    null\n  ]\n}\n'
    assert target.read_text(encoding="utf-8") == expected


def test_content_that_json_cannot_hold_leaves_the_old_file(tmp_path: Path):
    target = tmp_path / "manifest.json"
    atomic_write_json(target, {"a": 1})
    with pytest.raises(TypeError):
        atomic_write_json(target, {"a": {1, 2}})

    assert target.read_text() == '{\n  "a": 1\n}\n'


def test_a_lock_keeps_a_second_holder_out_until_it_is_released(tmp_path: Path):
    target = tmp_path / "new" / "manifest.json"
    with locked(target):
        with pytest.raises(Timeout):
            locked(target).acquire(timeout=0)
        with locked(tmp_path / "new" / "other.json").acquire(timeout=0):
            pass
    with locked(target).acquire(timeout=0):
        assert not target.exists()


def test_the_digest_of_a_file_is_that_of_the_published_test_vector(tmp_path: Path):
    target = tmp_path / "abc"
    target.write_bytes(b"abc")  # FIPS 180-2, appendix B.1

    assert file_sha256(target) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a file that opens and cannot be read")
def test_a_file_that_opens_and_cannot_be_read_is_named():
    with pytest.raises(OSError, match=r"Input/output error: '/proc/self/mem'"):
        file_sha256(Path("/proc/self/mem"))


def test_files_of_a_folder_and_those_below_are_found_by_their_names(tmp_path: Path):
    for name in ("a.db", "b.txt", "below/c.db", "below/deep/.d.db"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.db").mkdir()

    result = sorted(path.relative_to(tmp_path).as_posix() for path in files_below(tmp_path, "*.db"))
    assert result == ["a.db", "below/c.db", "below/deep/.d.db"]
    assert list(files_below(tmp_path / "no such folder", "*")) == []


def test_a_folder_that_is_removed_during_the_search_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "ranks").mkdir()
    (tmp_path / "runs.db").touch()
    look = os.scandir

    def removed_first(path: str):
        if Path(path).name == "ranks":
            Path(path).rmdir()
        return look(path)

    monkeypatch.setattr(os, "scandir", removed_first)
    assert [path.name for path in files_below(tmp_path, "*.db")] == ["runs.db"]
    assert not (tmp_path / "ranks").exists()


def test_a_file_that_is_renamed_during_the_search_is_not_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in (".a.tmp", ".b.tmp"):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (0, 0))
    look = Path.lstat

    def renamed_first(path: Path):
        if path.name == ".b.tmp" and path.exists():
            path.rename(tmp_path / "b")
        return look(path)

    monkeypatch.setattr(Path, "lstat", renamed_first)
    assert [path.name for path in stale_temporary_files(tmp_path)] == [".a.tmp"]
    assert (tmp_path / "b").exists()
