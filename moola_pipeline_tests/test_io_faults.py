"""Every disk request fails once: old outputs survive, and the message names file and reason."""

import errno
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from moola_pipeline.bars.manifest import add_bars, read_bars
from moola_pipeline.bars.rolls import register_rolls, registered_rolls
from moola_pipeline.bars.store import BarStore
from moola_pipeline.errors import MoolaError, UnreadableFile, UnwritableFile
from moola_pipeline.labels.chosen_splits import read_split_choice, write_split_choice
from moola_pipeline.labels.importing import add_labels
from moola_pipeline.labels.registry import registered_labels
from moola_pipeline.labels.splits import SplitSettings
from moola_pipeline.storage.asset_checksums import prove, write_checksums
from moola_pipeline.storage.atomic_write import atomic_write_bytes, file_sha256
from moola_pipeline.storage.checksums import read_checksummed, write_checksummed
from moola_pipeline.storage.home import HOME_VARIABLE, Home
from moola_pipeline_tests.asset_readers import MANAGERS, read_asset
from moola_pipeline_tests.bars.examples import made_up_bars, write_csv
from moola_pipeline_tests.cli.calls import call
from moola_pipeline_tests.counts import record
from moola_pipeline_tests.failing_disk import failing_disk, unreadable_file
from moola_pipeline_tests.labels.weekly_market import weekly_bars, weekly_labels
from moola_pipeline_tests.outputs import disorder, outputs
from moola_pipeline_tests.surroundings import surroundings_kept

MAX_REQUESTS = 400
WANTED = SplitSettings()
ROLLS = pd.DataFrame(
    {"time": pd.to_datetime(["2024-03-15T22:00Z"]).as_unit("ns"), "old": ["NQH4"], "new": ["NQM4"]}
)


def refuse_each(folder: Path, work: Callable[[], object], still_whole: Callable[[], object]) -> int:
    """Do the work with a failing n-th disk request, for all n; return the number of failures.

    Each attempt begins with the original folder, without files of an earlier attempt.
    """
    before = shutil.copytree(folder, folder.with_name(f"{folder.name} as it was"))
    for code in (errno.ENOSPC, errno.EIO):
        for n in range(1, MAX_REQUESTS):
            shutil.rmtree(folder)
            shutil.copytree(before, folder)
            with failing_disk(folder, n, code) as disk:
                try:
                    work()
                    error = None
                except (MoolaError, OSError) as raised:
                    error = raised
            assert not list(folder.rglob("*.tmp")), (n, disk.requests)
            still_whole()
            if len(disk.requests) < n:
                assert error is None
                break
            if isinstance(error, UnwritableFile):
                assert os.strerror(code) in str(error) and str(folder) in str(error), n
            assert error is None or "\n" not in str(error)
        else:
            raise AssertionError(f"more than {MAX_REQUESTS} requests")
    return 2 * (n - 1)


def test_a_disk_without_failures_writes_the_file_and_counts_requests(tmp_path: Path):
    with failing_disk(tmp_path, 0) as disk:
        atomic_write_bytes(tmp_path / "bars.bin", b"new")
    assert (tmp_path / "bars.bin").read_bytes() == b"new"
    assert {"open wb", "write", "os.fsync", "os.replace"} <= set(disk.requests)


def test_a_failed_write_leaves_the_old_bytes_or_the_new(tmp_path: Path):
    target, began = tmp_path / "home" / "bars.bin", time.monotonic()
    atomic_write_bytes(target, b"old")

    def whole() -> None:
        assert target.read_bytes() in (b"old", b"new")
        atomic_write_bytes(target, b"old")

    n = refuse_each(target.parent, lambda: atomic_write_bytes(target, b"new"), whole)
    record("refused requests: atomic_write", faults=n, lost=0, seconds=time.monotonic() - began)
    assert n >= 2 * 6


def test_the_message_names_file_reason_and_the_kept_content(tmp_path: Path):
    target = tmp_path / "home" / "bars.bin"
    atomic_write_bytes(target, b"old")
    with pytest.raises(UnwritableFile) as refused, failing_disk(target.parent, 3):
        atomic_write_bytes(target, b"new")
    assert str(refused.value) == (
        f"{target} must be writable, but writing failed: No space left on device. Its previous content is "
        "kept. Free space on its disk or repair it, then try again."
    )
    assert (refused.value.errno, refused.value.filename) == (errno.ENOSPC, str(target))


def records(folder: Path) -> tuple[Callable, Callable]:
    path = folder / "manifest.json"
    write_checksummed(path, {"version": 1})
    return (
        lambda: (write_checksummed(path, {"version": 2}), read_checksummed(path, "must", "Restore it.")),
        lambda: (
            read_checksummed(path, "must", "Restore it.")["version"] in (1, 2)
            or pytest.fail("another version")
        ),
    )


def checksums(folder: Path) -> tuple[Callable, Callable]:
    atomic_write_bytes(folder / "table.bin", b"rows")
    place = folder / "table"
    write_checksums(place)
    return lambda: (write_checksums(place), prove(place)), lambda: prove(place)


def splits(folder: Path) -> tuple[Callable, Callable]:
    write_split_choice(folder, WANTED)
    later = SplitSettings(rule="rolling")
    return (
        lambda: (write_split_choice(folder, later), read_split_choice(folder)),
        lambda: read_split_choice(folder) in (WANTED, later) or pytest.fail("choice lost"),
    )


def rolls(folder: Path) -> tuple[Callable, Callable]:
    store = BarStore(folder, simulated=False)
    register_rolls(store, ROLLS)
    later = ROLLS.assign(new="NQU4")

    def still_whole() -> None:
        kept = registered_rolls(store)
        assert kept is not None and kept["new"].tolist() in (["NQM4"], ["NQU4"])

    return lambda: register_rolls(store, later), still_whole


def bars(folder: Path) -> tuple[Callable, Callable]:
    store = BarStore(folder / "data", simulated=False)
    add_bars(store, write_csv(folder.parent / "a.csv", made_up_bars(30)))
    second = write_csv(folder.parent / "b.csv", made_up_bars(30, start="2024-03-12 14:30"))
    return lambda: add_bars(
        store, second
    ), lambda: len(read_bars(store)) in (30, 60) or pytest.fail("rows lost")


def labels(folder: Path) -> tuple[Callable, Callable]:
    table = weekly_bars(4)
    rows = weekly_labels(table)
    half = len(rows) // 2
    rows.iloc[:half].to_csv(folder.parent / "a.csv", index=False)
    rows.iloc[half:].to_csv(folder.parent / "b.csv", index=False)
    add_labels(folder, folder.parent / "a.csv", table, drop_bad=False)
    return (
        lambda: add_labels(folder, folder.parent / "b.csv", table, drop_bad=False),
        lambda: len(registered_labels(folder)) in (half, len(rows)) or pytest.fail("labels lost"),
    )


@pytest.mark.parametrize(
    "made", [records, checksums, splits, rolls, bars, pytest.param(labels, marks=pytest.mark.slow)]
)
def test_registered_data_survives_every_failed_request(made: Callable, tmp_path: Path):
    folder, began = tmp_path / "home", time.monotonic()
    folder.mkdir()
    work, still_whole = made(folder)
    n = refuse_each(folder, work, still_whole)
    record(f"refused requests: {made.__name__}", faults=n, lost=0, seconds=time.monotonic() - began)
    assert n >= 6


@pytest.mark.parametrize("asset", MANAGERS)
def test_every_failed_read_of_an_asset_names_file_and_reason(
    asset: str, smoke_home: Home, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(HOME_VARIABLE, str(smoke_home.root))
    began = time.monotonic()
    n = 0
    for n in range(1, MAX_REQUESTS):
        with failing_disk(smoke_home.data, n, errno.EIO) as disk:
            message = ""
            try:
                read_asset(asset)
            except UnreadableFile as error:
                message = str(error)
        if len(disk.requests) < n:
            break
        assert (
            "must be readable, but reading failed: Input/output error. Repair the disk or its permissions."
            in message
        )
        assert str(smoke_home.data) in message
        assert "\n" not in message
    record(f"refused reads: {asset}", faults=n - 1, lost=0, seconds=time.monotonic() - began)
    assert n - 1 >= 6  # an open and a read each for: checksum file, digests of the files, contents


@pytest.mark.slow
def test_a_run_that_cannot_read_fails_in_one_line_and_the_next_one_succeeds(smoke_copy: Home):
    """The first asset cannot read the bar file: the run fails, and earlier outputs stay."""
    began, before = time.monotonic(), outputs(smoke_copy)
    bars = smoke_copy.simulated / "smoke" / "raw" / "bars.parquet"
    with unreadable_file(bars, errno.EIO), surroundings_kept():
        failed = call("run", "--profile", "smoke", "--force", home=smoke_copy.root)
    assert failed.exit_code == 1
    [line] = [line for line in failed.stderr.splitlines() if line.startswith("Error: ")]
    assert f"{bars} must be readable, but reading failed: Input/output error. Repair the disk" in line
    assert outputs(smoke_copy) == before
    with surroundings_kept():
        (smoke_copy.store / "simulated-smoke" / "latest_expansions.parquet").unlink()
        done = call("run", "--profile", "smoke", home=smoke_copy.root)
    assert done.exit_code == 0, done.output
    assert outputs(smoke_copy) == before
    assert disorder(smoke_copy) == []
    record("runs that could not read", runs=2, lost=0, seconds=time.monotonic() - began)


WRITER = """
import resource, signal, sys
from pathlib import Path
import pandas as pd
from moola_pipeline.storage.atomic_write import atomic_write_bytes
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    atomic_write_bytes(Path(sys.argv[1]), b"new" * 1000)
except OSError as fault:
    sys.exit(str(fault))
"""


@pytest.mark.parametrize("room", [0, 1, 1500, 2999])
def test_a_write_stopped_halfway_by_the_kernel_leaves_the_old_bytes(tmp_path: Path, room: int):
    """RLIMIT_FSIZE stops the write after so many bytes, like a full disk."""
    target = tmp_path / "bars.bin"
    atomic_write_bytes(target, b"old" * 1000)
    before = file_sha256(target)
    done = subprocess.run(
        [sys.executable, "-c", WRITER, str(target), str(room)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert f"{target} must be writable, but writing failed: File too large." in done.stderr
    assert file_sha256(target) == before
    assert list(tmp_path.iterdir()) == [target]


FULL_DISK = """
mount -t tmpfs -o size=64k none "$1" && exec "$2" -c "
import sys
from pathlib import Path
from moola_pipeline.storage.atomic_write import atomic_write_bytes
target = Path(sys.argv[1]) / 'bars.bin'
atomic_write_bytes(target, b'old' * 10000)
try:
    atomic_write_bytes(target, b'new' * 20000)
except OSError as fault:
    print(fault)
print(target.read_bytes() == b'old' * 10000, len(list(target.parent.iterdir())))
" "$1"
"""


def test_a_full_disk_leaves_the_old_bytes(tmp_path: Path):
    """A file system of 64 KB; skipped if the machine cannot mount one."""
    if sys.platform != "linux" or subprocess.run(["unshare", "-rm", "true"], check=False).returncode:
        pytest.skip("this machine cannot mount a file system")
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", FULL_DISK, "sh", str(tmp_path), sys.executable],
        capture_output=True,
        text=True,
        check=False,
    )
    if "mount" in done.stderr:
        pytest.skip("this machine cannot mount a file system")
    assert done.stdout.splitlines()[1:] == ["True 1"], done.stderr
    assert "writing failed: No space left on device. Its previous content is kept." in done.stdout
