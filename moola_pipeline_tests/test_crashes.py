"""After a crash at any crash point, one more run gives the outputs of an uninterrupted run."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from moola_pipeline.staleness.stages import STAGES
from moola_pipeline.storage.atomic_write import atomic_write_bytes
from moola_pipeline.storage.crash_injection import (
    CRASH_VARIABLE,
    SIGNALS,
    WRITE_POINTS,
    InjectedFault,
    arm,
    crash_point,
    points,
)
from moola_pipeline.storage.home import PROJECT_ROOT, Home
from moola_pipeline_tests.counts import record
from moola_pipeline_tests.crashes import matrix
from moola_pipeline_tests.homes import copied
from moola_pipeline_tests.outputs import disorder, outputs

# If the parent of pytest ignores SIGTERM, child processes inherit that.
WRITE = "import signal; signal.signal(signal.SIGTERM, signal.SIG_DFL); "
WRITE += "import sys; from pathlib import Path; "
WRITE += "from moola_pipeline.storage.atomic_write import atomic_write_bytes; "
WRITE += "atomic_write_bytes(Path(sys.argv[1]), b'new')"
LAST = "latest_expansions"
AT_THE_LAST_STAGE = [
    f"{LAST}.before_compute:SIGKILL",
    f"{LAST}.after_compute:SIGTERM",
    f"atomic_write.after_write@{LAST}.parquet:SIGKILL",
    f"atomic_write.after_rename@{LAST}.parquet:SIGKILL",
    f"atomic_write.after_rename@{LAST}.parquet:exception",
    f"{LAST}.after_keep:SIGKILL",
]


@pytest.fixture(autouse=True)
def disarmed():
    yield
    arm(None)


def test_crash_points_have_unique_names_and_all_are_tried():
    names = points(STAGES)
    assert len(names) == len(set(names)) >= 20
    tried = {case.crash.partition(":")[0].partition("@")[0] for case in matrix() if case.crash}
    assert tried == set(names)
    assert {case.crash.rpartition(":")[2] for case in matrix() if case.crash} == set(SIGNALS)


def test_every_crash_point_is_in_the_source():
    written = "".join(
        path.read_text()
        for path in (PROJECT_ROOT / "moola_pipeline").rglob("*.py")
        if path.name != "crash_injection.py"
    )
    for point in points(STAGES):
        stage, _, ending = point.partition(".")
        shown = f'crash_point(f"{{asset}}.{ending}")' if stage in STAGES else f'crash_point("{point}"'
        assert shown in written, point


@pytest.mark.parametrize("text", ["a.b", "a.b:SIGHUP", "a.b:SIGKILL:x"])
def test_an_invalid_crash_setting_is_refused(text: str):
    with pytest.raises(ValueError, match=f"{CRASH_VARIABLE} must be POINT"):
        arm(text)


def test_only_the_given_point_file_and_pass_raise(tmp_path: Path):
    arm("atomic_write.after_rename@b.json:exception:2")
    crash_point("atomic_write.after_rename")
    for name in ("a.json", "b.json", "a.json"):
        atomic_write_bytes(tmp_path / name, b"first")
    with pytest.raises(InjectedFault):
        atomic_write_bytes(tmp_path / "b.json", b"second")
    atomic_write_bytes(tmp_path / "b.json", b"third")
    assert (tmp_path / "b.json").read_bytes() == b"third"


@pytest.mark.parametrize("point", WRITE_POINTS[:-1])
@pytest.mark.parametrize("sign", ["SIGKILL", "SIGTERM"])
def test_a_killed_writer_leaves_the_old_bytes_or_the_new(tmp_path: Path, point: str, sign: str):
    target = tmp_path / "bars.bin"
    target.write_bytes(b"old")
    died = subprocess.run(
        [sys.executable, "-c", WRITE, str(target)],
        env={**os.environ, CRASH_VARIABLE: f"{point}:{sign}", "PYTHONPATH": str(PROJECT_ROOT)},
        check=False,
    )
    assert died.returncode == -getattr(signal, sign)
    assert target.read_bytes() == (b"new" if point == "atomic_write.after_rename" else b"old")
    atomic_write_bytes(target, b"newer")
    assert target.read_bytes() == b"newer"


def moola_run(home: Home, crash: str = "") -> int:
    command = [sys.executable, "-m", "moola_pipeline", "--home", str(home.root), "run", "--profile", "smoke"]
    done = subprocess.run(
        command, env={**os.environ, CRASH_VARIABLE: crash}, cwd=PROJECT_ROOT, capture_output=True, check=False
    )
    return done.returncode


@pytest.mark.slow
def test_a_run_killed_in_its_last_stage_is_resumed(smoke_home: Home, tmp_path: Path):
    began, expected = time.monotonic(), outputs(smoke_home)
    for crash in AT_THE_LAST_STAGE:
        shutil.rmtree(tmp_path / "home", ignore_errors=True)
        home = copied(smoke_home, tmp_path / "home")
        (home.store / "simulated-smoke" / f"{LAST}.parquet").unlink()
        assert moola_run(home, crash) != 0, crash
        assert moola_run(home) == 0, crash
        assert outputs(home) == expected, crash
        assert disorder(home) == [], crash
    n = len(AT_THE_LAST_STAGE)
    record("kills in the last stage", kills=n, lost=0, seconds=time.monotonic() - began)
