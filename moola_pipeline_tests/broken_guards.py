"""Breaks one guard at a time in a copy of the source, and runs the suites that must notice: see --help.

A guard whose loss no suite notices guards nothing; the command then ends with 1.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from moola_pipeline.storage.home import PROJECT_ROOT
from moola_pipeline_tests.counts import record

COPIED = (
    "moola_pipeline",
    "moola_pipeline_tests",
    "pyproject.toml",
    "dagster.yaml",
    "docs",
    "deploy",
    "requirements.txt",
    "Makefile",
)
PATIENCE_SECONDS = 300
PACKAGE = "moola_pipeline"


@dataclass(frozen=True)
class Guard:
    """One guard, how it is broken, and which tests must fail then.

    Attributes:
        name: What it guards, in a few words.
        file: Below the package.
        stands: The text that does it; it must stand there exactly once.
        broken: What takes its place.
        suites: Test files, or files with `::test`, that are run.
    """

    name: str
    file: str
    stands: str
    broken: str
    suites: tuple[str, ...]


GUARDS = (
    Guard(
        "rename replaced by writing in place",
        "storage/atomic_write.py",
        "        os.replace(temporary, path)\n        kept",
        "        path.write_bytes(temporary.read_bytes())\n        kept",
        ("storage/test_atomic_write.py", "test_file_writes.py"),
    ),
    Guard(
        "content not synced before the rename",
        "storage/atomic_write.py",
        "        _sync(temporary)\n",
        "",
        ("storage/test_atomic_write.py",),
    ),
    Guard(
        "folder not synced after the rename",
        "storage/atomic_write.py",
        "        _sync(path.parent)\n    except OSError as fault:\n        if",
        "    except OSError as fault:\n        if",
        ("storage/test_atomic_write.py",),
    ),
    Guard(
        "checksums of an asset not compared",
        "storage/checksums.py",
        "    if actual.sha256 == recorded.sha256:\n",
        "    if True:\n",
        ("storage/test_asset_checksums.py",),
    ),
    Guard(
        "an asset read whose checksums are gone",
        "storage/checksums.py",
        "    if not checksums.exists():\n        if not _files(place):",
        "    if False:\n        if not _files(place):",
        ("storage/test_asset_checksums.py",),
    ),
    Guard(
        "rolls that are gone not missed",
        "bars/rolls.py",
        "        if read_manifest(store).rolls:",
        "        if False:",
        ("bars/test_rolls.py",),
    ),
    Guard(
        "a record's own digest not compared",
        "storage/checksums.py",
        "    if content != _checksummed(found):",
        "    if False:",
        ("storage/test_checksums.py",),
    ),
    Guard(
        "rolls not compared with their digest",
        "bars/rolls.py",
        "        require_csv_as_written(content,",
        "        (lambda *_: None)(content,",
        ("bars/test_rolls.py",),
    ),
    Guard(
        "bar files not proven before they are read",
        "bars/manifest.py",
        "    verify_files(store)\n    entries",
        "    entries",
        ("bars/test_manifest.py",),
    ),
    Guard(
        "manifest written before the file",
        "bars/manifest.py",
        "        _copy(path, store.raw / name, sha256)\n",
        "        publish_manifest(store, Manifest(files=(*others, entry)))\n"
        "        _copy(path, store.raw / name, sha256)\n",
        ("bars/test_manifest.py", "test_io_faults.py::test_what_was_registered_survives_every_refusal"),
    ),
    Guard(
        "weights not compared with their config",
        "models/expansion_model.py",
        '    if digest != config.get("weights_sha256"):',
        "    if False:",
        ("models/test_expansion_model.py",),
    ),
    Guard(
        "the registry's digests not compared",
        "tracking/registry.py",
        "        if recorded.get(name) != digest:",
        "        if False:",
        ("tracking/test_version_digests.py",),
    ),
    Guard(
        "lines of the promotion log not compared",
        "storage/checksums.py",
        '    if self_proving_line(f"{text}}}") != line:',
        "    if False:",
        ("storage/test_checksums.py",),
    ),
    Guard(
        "the manifest's lock dropped",
        "bars/manifest.py",
        "    with locked(store.manifest):\n        manifest = read_manifest(store)",
        "    if True:\n        manifest = read_manifest(store)",
        ("bars/test_manifest.py",),
    ),
    Guard(
        "the run lock dropped",
        "cli/run.py",
        "        lock.acquire(timeout=0)\n    except Timeout:",
        "        pass\n    except Timeout:",
        ("cli/test_run_lock.py",),
    ),
    Guard(
        "servers opened to the network",
        "cli/services.py",
        '"127.0.0.1"',
        '"0.0.0.0"',
        ("cli/test_run_lock.py",),
    ),
    Guard(
        "text in the report not escaped",
        "report/html.py",
        "autoescape=True",
        "autoescape=False",
        ("report/test_html.py",),
    ),
    Guard(
        "an archive's names not judged",
        "storage/backup.py",
        "        if not _is_safe(name):",
        "        if False:",
        ("storage/test_backup.py::test_a_name_that_leads_out_of_the_home_is_refused",),
    ),
    Guard(
        "an archive's digests not compared",
        "storage/backup.py",
        "    require_recorded(actual,",
        "    (lambda *_: None)(actual,",
        (
            "storage/test_backup.py::test_a_flipped_byte_of_an_archive_restores_nothing_wrong",
            "storage/test_backup.py::test_bytes_changed_inside_an_archive_are_refused",
        ),
    ),
    Guard(
        "a home of a later format opened",
        "storage/home.py",
        "        if (found := home_format(home)) > HOME_FORMAT:",
        "        if False:",
        ("storage/test_home.py::test_a_home_of_a_later_version_is_refused_and_left_alone",),
    ),
    Guard(
        "a password shown in an error",
        "storage/remote_stores.py",
        'shown = re.sub(r"(?s)(://[^:/]*):.*@", r"\\1:***@", uri)',
        "shown = uri",
        ("storage/test_remote_stores.py",),
    ),
)


@dataclass(frozen=True)
class Outcome:
    """What became of a broken guard.

    Attributes:
        noticed: The tests that failed; none where nobody noticed.
    """

    guard: Guard
    noticed: tuple[str, ...]
    seconds: float


def broken_tree(folder: Path) -> Path:
    """A copy of the source and its tests."""
    for name in COPIED:
        source = PROJECT_ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copyfile(source, folder / name)
    return folder


def place_of(guard: Guard, tree: Path = PROJECT_ROOT) -> tuple[Path, str]:
    """The file of a guard and its text.

    Raises:
        LookupError: If the guard does not stand there exactly once.
    """
    path = tree / PACKAGE / guard.file
    text = path.read_text(encoding="utf-8")
    if text.count(guard.stands) != 1:
        raise LookupError(
            f"{guard.name}: {guard.file} must hold it once, got {text.count(guard.stands)} times"
        )
    return path, text


def try_without(guard: Guard, tree: Path) -> Outcome:
    """Break a guard in the copy, run its suites, and put it back."""
    path, text = place_of(guard, tree)
    began = time.monotonic()
    path.write_text(text.replace(guard.stands, guard.broken), encoding="utf-8")
    try:
        output = _tested(tree, [f"moola_pipeline_tests/{suite}" for suite in guard.suites])
    finally:
        path.write_text(text, encoding="utf-8")
    failed = [line.split(" ")[1] for line in output.splitlines() if line.startswith(("FAILED ", "ERROR "))]
    return Outcome(guard, tuple(failed), time.monotonic() - began)


def _tested(tree: Path, suites: Sequence[str]) -> str:
    """What pytest says; it stops at the first failure."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "-p",
        "no:cacheprovider",
        "-m",
        "not slow",
        *suites,
    ]
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        command,
        cwd=tree,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    if done.returncode not in (0, 1):
        raise RuntimeError(f"pytest ended with {done.returncode}: {(done.stdout + done.stderr)[-1500:]}")
    return done.stdout


def main() -> int:
    """Break them all; 1 if the loss of one goes unnoticed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="guards whose name holds this")
    asked = parser.parse_args()
    began, outcomes = time.monotonic(), []
    with tempfile.TemporaryDirectory() as folder:
        tree = broken_tree(Path(folder))
        for guard in (one for one in GUARDS if asked.only in one.name):
            outcomes.append(try_without(guard, tree))
            noticed = outcomes[-1].noticed
            shown = noticed[0].removeprefix("moola_pipeline_tests/") if noticed else "NOBODY NOTICED"
            click.echo(f"{guard.name:<45} {shown} ({outcomes[-1].seconds:.0f} s)")
    missed = sum(not one.noticed for one in outcomes)
    spent = time.monotonic() - began
    if not asked.only:
        record("guards broken on purpose", guards=len(outcomes), unnoticed=missed, seconds=spent)
    click.echo(f"{len(outcomes)} guards broken, {missed} unnoticed, {spent:.0f} s")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
