"""deploy/runpod, tested with a local folder as the pod."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from moola_pipeline.storage.home import HOME_VARIABLE, PROJECT_ROOT, Home

RUNPOD = PROJECT_ROOT / "deploy" / "runpod"
CODE = ("pyproject.toml", "requirements.txt", "Makefile", "README.md", "workspace.yaml", "dagster.yaml")
SENT = (
    "data/nq/manifest.json",
    "data/nq/rolls.csv",
    "data/nq/label_choice.json",
    "data/nq/splits.json",
    "data/nq/raw/nq 2024.csv",
    "data/nq/parsed/nq 2024.csv.0123456789ab.parquet",
    "data/nq/labels/labels.csv",
    "data/nq/labels/raw/mine.csv",
    "data/m2k/manifest.json",
)
NOT_SENT = (
    "data/nq/raw/.nq.csv.x.tmp",
    "data/nq/quarantine/rows.csv",
    "data/simulated/smoke/raw/bars.parquet",
    "data/simulated/smoke/manifest.json",
    "data/mlflow/mlflow.db",
    "data/store/demo/raw_nq_bars.parquet",
    "data/inbox/today.csv",
    "data/secrets.env",
    ".env",
    ".dagster/storage/runs.db",
    "notes.txt",
)

pytestmark = pytest.mark.skipif(shutil.which("rsync") is None, reason="rsync is not installed")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for name in (*SENT, *NOT_SENT):
        _write(tmp_path / "home" / name, name)
    return tmp_path / "home"


@pytest.fixture
def pod(tmp_path: Path) -> Path:
    """A folder with a space in its path, and a settings file for it."""
    folder = tmp_path / "a pod" / "moola"
    _write(tmp_path / "settings.env", f'POD_HOST=\nPOD_FOLDER="{folder}"\n')
    return folder


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _sync(pod: Path, home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    settings = pod.parent.parent / "settings.env"
    command = ["bash", str(RUNPOD / words[0]), *words[1:], "--settings", str(settings), "--home", str(home)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def _listed(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def _ours() -> set[str]:
    package = (path for path in (PROJECT_ROOT / "moola_pipeline").rglob("*") if path.is_file())
    named = {str(path.relative_to(PROJECT_ROOT)) for path in package if "__pycache__" not in path.parts}
    return named | set(CODE) | {"data/README.md"}


def test_a_dry_run_lists_exactly_the_allowed_files_and_sends_none(pod: Path, home: Path) -> None:
    shown = _sync(pod, home, "sync_up")
    assert shown.returncode == 0, shown.stderr
    assert set(shown.stdout.splitlines()) == _ours() | set(SENT)
    assert "nothing was sent" in shown.stderr
    assert not pod.exists()


def test_the_sent_files_are_the_listed_ones_byte_for_byte(pod: Path, home: Path) -> None:
    sent = _sync(pod, home, "sync_up", "--go")
    assert sent.returncode == 0, sent.stderr
    assert _listed(pod) == _ours() | set(SENT)
    assert all((pod / name).read_text() == name for name in SENT)
    assert (pod / "pyproject.toml").read_bytes() == (PROJECT_ROOT / "pyproject.toml").read_bytes()
    assert "sent and verified" in sent.stderr


def test_nothing_on_the_pod_is_deleted_and_a_changed_file_is_sent_again(pod: Path, home: Path) -> None:
    _sync(pod, home, "sync_up", "--go")
    _write(pod / "data" / "mlflow" / "mlflow.db", "a week of training")
    _write(pod / "data" / "nq" / "rolls.csv", "data/nq/rolls.XXX")  # same length as the sent file
    again = _sync(pod, home, "sync_up", "--go")
    assert again.returncode == 0, again.stderr
    assert (pod / "data" / "mlflow" / "mlflow.db").read_text() == "a week of training"
    assert (pod / "data" / "nq" / "rolls.csv").read_text() == "data/nq/rolls.csv"


def test_a_file_changed_in_transfer_is_named(pod: Path, home: Path, monkeypatch, tmp_path: Path) -> None:
    """A fake rsync copies and then changes a file."""
    real = shutil.which("rsync")
    script = f'#!/bin/bash\n{real} "$@"; f="{pod}/data/nq/rolls.csv"; [ ! -e "$f" ] || echo spoilt > "$f"\n'
    _write(tmp_path / "bin" / "rsync", script)
    (tmp_path / "bin" / "rsync").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    result = _sync(pod, home, "sync_up", "--go")
    assert result.returncode == 1
    assert "data/nq/rolls.csv: FAILED" in result.stdout + result.stderr
    assert "differs from the sent one" in result.stderr


def test_results_are_fetched_as_a_separate_home_and_never_overwritten(pod: Path, home: Path) -> None:
    results = ("data/mlflow/mlflow.db", "data/reports/full/report.html", "data/store/full/training.json")
    for name in (*results, ".env", "data/nq/raw/nq.csv", "moola_pipeline/x.py"):
        _write(pod / name, name)
    shown = _sync(pod, home, "sync_down", "monday")
    assert set(shown.stdout.splitlines()) == set(results)
    assert not (home / "data" / "pods").exists()
    fetched = _sync(pod, home, "sync_down", "monday", "--go")
    assert fetched.returncode == 0, fetched.stderr
    place = home / "data" / "pods" / "monday"
    assert _listed(place) == set(results)
    assert f"moola registry import {place}" in fetched.stderr
    again = _sync(pod, home, "sync_down", "monday", "--go")
    assert again.returncode == 2
    assert "must be new" in again.stderr


def test_a_file_that_changes_during_the_copy_is_detected_and_fetching_can_be_repeated(
    pod: Path, home: Path, monkeypatch, tmp_path: Path
) -> None:
    database = pod / "data" / "mlflow" / "mlflow.db"
    _write(database, "before")
    real = shutil.which("rsync")
    _write(tmp_path / "bin" / "rsync", f'#!/bin/bash\n{real} "$@"; echo after > "{database}"\n')
    (tmp_path / "bin" / "rsync").chmod(0o755)
    with monkeypatch.context() as busy:
        busy.setenv("PATH", str(tmp_path / "bin"), prepend=":")
        caught = _sync(pod, home, "sync_down", "monday", "--go")
    assert caught.returncode == 1
    assert "Wait until the run on the pod has ended" in caught.stderr
    again = _sync(pod, home, "sync_down", "monday", "--go")
    assert again.returncode == 0, again.stderr
    assert (home / "data" / "pods" / "monday" / "data" / "mlflow" / "mlflow.db").read_text() == "after\n"


def test_sync_works_the_same_over_ssh(pod: Path, home: Path, monkeypatch, tmp_path: Path) -> None:
    """A fake ssh runs the command on this machine, like a login shell."""
    _write(
        tmp_path / "bin" / "ssh",
        '#!/bin/bash\necho "$@" >> "$(dirname "$0")/calls"\n'
        "while [ $# -gt 0 ]; do case $1 in -p|-o|-i|-l) shift 2;; *) break;; esac; done\n"
        'shift; cd /; exec bash -c "$*"\n',
    )
    (tmp_path / "bin" / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    folder = tmp_path / "far" / "moola"
    _write(tmp_path / "settings.env", f"POD_HOST=pod.example\nPOD_PORT=4022\nPOD_FOLDER={folder}\n")
    sent = _sync(pod, home, "sync_up", "--go")
    assert sent.returncode == 0, sent.stderr
    assert _listed(folder) == _ours() | set(SENT)
    _write(folder / "data" / "mlflow" / "mlflow.db", "results")
    fetched = _sync(pod, home, "sync_down", "monday", "--go")
    assert fetched.returncode == 0, fetched.stderr
    assert (home / "data/pods/monday/data/mlflow/mlflow.db").read_text() == "results"
    calls = (tmp_path / "bin" / "calls").read_text().splitlines()
    assert calls and all("-p 4022" in call and "pod.example" in call for call in calls)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("sync_up", "--gone"), "got --gone"),
        (("sync_down", "../up"), "got '../up'"),
        (("sync_down",), "got ''"),
        (("sync_down", "a", "b"), "got a and b"),
    ],
)
def test_wrong_arguments_give_one_line_and_exit_code_2(
    pod: Path, home: Path, words: tuple[str, ...], message: str
) -> None:
    refused = _sync(pod, home, *words)
    assert refused.returncode == 2
    assert message in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def test_settings_without_a_folder_are_refused(pod: Path, home: Path) -> None:
    (pod.parent.parent / "settings.env").write_text("POD_HOST=\n")
    refused = _sync(pod, home, "sync_up")
    assert (refused.returncode, len(refused.stderr.splitlines())) == (2, 1)
    assert "must set POD_FOLDER" in refused.stderr


@pytest.mark.slow
def test_a_model_trained_on_a_pod_predicts_here(pod: Path, tmp_path: Path, registered_files: Path):
    """Send bars and labels, run on the pod with the sent code, fetch and import the version."""
    from moola_pipeline_tests.homes import BARS, LABELS, moola

    here = Home(tmp_path / "here")
    moola(here, "bars", "add", registered_files / BARS)
    moola(here, "labels", "add", registered_files / LABELS)
    sent = _sync(pod, here.root, "sync_up", "--go")
    assert sent.returncode == 0, sent.stderr
    foreign = {HOME_VARIABLE, "PYTHONPATH"}
    ran = subprocess.run(
        [sys.executable, "-m", "moola_pipeline", "run", "--profile", "smoke"],
        cwd=pod,
        env={name: value for name, value in os.environ.items() if name not in foreign},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    assert (pod / "data" / "mlflow" / "mlflow.db").exists()
    back = _sync(pod, here.root, "sync_down", "monday", "--go")
    assert back.returncode == 0, back.stderr
    place = here.root / "data" / "pods" / "monday"
    imported = json.loads(moola(here, "registry", "import", place, "--json"))
    assert str(imported["version"]) == "1", imported
    moola(here, "registry", "promote", "1")
    local = json.loads(moola(here, "predict", registered_files / BARS, "--json"))
    fetched = json.loads(moola(Home(place), "predict", registered_files / BARS, "--json"))
    assert local["expansions"] == fetched["expansions"] != []
