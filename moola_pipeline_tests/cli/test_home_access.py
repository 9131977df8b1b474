"""Which commands create a home, refuse one that is not there, and read one that cannot be written."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from moola_pipeline.cli import home_access, moola
from moola_pipeline.cli.exit_codes import BAD_INPUT
from moola_pipeline.cli.home_access import CREATING, HOMELESS, READING, linked_home, real_paths
from moola_pipeline.storage.home import PROJECT_ROOT, Home
from moola_pipeline_tests.cli.calls import call, complaint
from moola_pipeline_tests.homes import BARS, LABELS

REFUSED = (
    ("status",),
    ("report",),
    ("ui",),
    ("verify",),
    ("bars", "list"),
    ("bars", "rolls", "remove"),
    ("label",),
    ("labels", "add", __file__),
    ("labels", "history"),
    ("registry", "list"),
)
READ = (
    ("status", "--profile", "smoke"),
    ("report",),
    ("verify",),
    ("bars", "list"),
    ("labels", "history"),
    ("registry", "list"),
    ("registry", "history"),
    ("labels", "check", LABELS),
    ("zigzag", BARS),
    ("predict", BARS),
)


def leaves(group: click.Group, before: str = "") -> Iterator[str]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from leaves(command, f"{before}{name} ")
            if command.invoke_without_command:
                yield f"{before}{name}"
        else:
            yield f"{before}{name}"


def contents(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of change of every file and folder."""
    facts = {path: path.lstat() for path in (folder, *folder.rglob("*"))}
    return {str(path): (one.st_size, one.st_mtime_ns) for path, one in facts.items()}


def test_every_command_that_is_named_exists():
    assert set(leaves(moola)) >= CREATING | READING | HOMELESS
    assert not (CREATING & READING | CREATING & HOMELESS | READING & HOMELESS)


@pytest.mark.parametrize("words", REFUSED, ids=" ".join)
@pytest.mark.parametrize("after", [False, True])
def test_a_home_that_is_not_there_is_refused_and_not_created(
    words: tuple[str, ...], after: bool, tmp_path: Path
):
    home = tmp_path / "mistyped"
    result = call(*words, "--home", home) if after else call(*words, home=home)
    assert result.exit_code == BAD_INPUT
    assert complaint(result).startswith(f"The home must exist, but {home} is not there. Correct --home")
    assert not home.exists()


def test_a_command_that_creates_a_home_says_so(tmp_path: Path, registered_files: Path):
    home = tmp_path / "new" / "home"
    result = call("bars", "add", registered_files / BARS, home=home)
    assert result.exit_code == 0
    assert result.stderr == f"The home {home} does not exist yet: it will be created.\n"
    assert (home / "data" / "nq" / "manifest.json").is_file()
    assert call("bars", "list", home=home).stderr == ""


def test_a_bad_option_creates_no_home(tmp_path: Path):
    assert call("run", "--profile", "tiny", home=tmp_path / "new").exit_code == BAD_INPUT
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("words", [("--help",), ("run", "--help"), ("doctor", "--json")])
def test_help_and_doctor_need_no_home(words: tuple[str, ...], tmp_path: Path):
    assert "is not there" not in call(*words, home=tmp_path / "new").output
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("words", READ, ids=" ".join)
def test_a_home_that_cannot_be_written_is_read_and_left_alone(
    words: tuple[str, ...], registered_copy: Home, registered_files: Path, monkeypatch: pytest.MonkeyPatch
):
    files = [str(registered_files / word) if word in (BARS, LABELS) else word for word in words]
    monkeypatch.setattr(home_access, "_may_write", lambda folder: False)
    before, folder = contents(registered_copy.root), Path.cwd()
    result = call(*files, home=registered_copy.root)
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    assert contents(registered_copy.root) == before
    assert f"{tempfile.gettempdir()}/moola-" not in result.stdout
    assert Path.cwd() == folder


def test_a_home_that_cannot_be_written_refuses_what_would_write(
    smoke_home: Home, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(home_access, "_may_write", lambda folder: False)
    for words in (("run",), ("registry", "rollback"), ("backup", "b.zip"), ("bars", "add", "x.csv")):
        assert complaint(call(*words, home=smoke_home.root)) == (
            f"The home must be writable, but {smoke_home.root} is not. Name another folder with --home."
        )


def test_paths_of_the_links_are_shown_as_those_of_the_home(smoke_home: Home):
    with linked_home(smoke_home) as links:
        assert links.root != smoke_home.root
        shown = real_paths(f"report    {links.reports / 'report.html'}")
    assert shown == f"report    {smoke_home.reports / 'report.html'}"
    assert not links.root.exists()


def test_a_folder_below_a_closed_one_is_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    may = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path and may(path, mode))
    assert complaint(call("status", home=tmp_path)) == (
        f"The home must be readable, but {tmp_path} is not. Name another folder with --home."
    )
    assert complaint(call("run", home=tmp_path / "new")).startswith(
        f"The home must be writable, but {tmp_path} is not."
    )


MOUNT_READ_ONLY = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'


@pytest.mark.parametrize("words", [READ[0], ("report",), ("verify",), ("registry", "list")], ids=" ".join)
def test_a_home_on_a_read_only_file_system_is_read(words: tuple[str, ...], smoke_home: Home):
    apart = ["unshare", "--map-root-user", "--mount", "sh", "-c"]  # mounts of its own, root or not
    if shutil.which("unshare") is None or subprocess.run([*apart, "true"], check=False).returncode:
        pytest.skip("needs Linux and the right to mount")
    moola = [sys.executable, "-m", "moola_pipeline", "--home", str(smoke_home.root), *words]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT_ROOT)}
    command = [*apart, MOUNT_READ_ONLY, str(smoke_home.root), *moola]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_a_changed_file_is_found_through_its_link(registered_copy: Home, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(home_access, "_may_write", lambda folder: False)
    (raw,) = (registered_copy.data / "nq" / "raw").iterdir()
    raw.write_bytes(raw.read_bytes() + b"x")
    assert "SHA256" in call("bars", "list", home=registered_copy.root).output
