"""Breaks one guard at a time in a copy of the source, and runs the suites that must notice: see --help.

A guard is named by its function, and broken by a change of that function's syntax tree, so a rename is
followed by one word here. A guard whose loss no suite notices guards nothing; the command then ends with 1.
"""

import argparse
import ast
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from moola_pipeline.storage.home import PROJECT_ROOT
from moola_pipeline_tests.counts import record
from moola_pipeline_tests.source_trees import parsed

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
TIMEOUT_SECONDS = 300
PACKAGE = "moola_pipeline"
Change = Callable[[ast.stmt], object]
"""Changes a definition in place."""


@dataclass(frozen=True)
class Guard:
    """One guard, how it is broken, and which tests must fail then.

    Attributes:
        name: What it guards, in a few words.
        function: What does it: `room.module:function`, or a constant.
        change: How it is broken.
        suites: Test files, or files with `::test`, that are run.
    """

    name: str
    function: str
    change: Change
    suites: tuple[str, ...]


def without_raise(error: str) -> Change:
    """Go on wherever the function would raise `error`."""

    def change(node: ast.AST) -> ast.AST:
        raised = node.exc if isinstance(node, ast.Raise) else None
        return ast.Pass() if raised and _called(raised) == error else node

    return _Rewriting(change).visit


def without_call(function: str, nth: int = 0) -> Change:
    """Leave out the nth call of `function`."""
    return with_call(function, "lambda *_, **__: None", nth)


def with_call(function: str, instead: str, nth: int = 0) -> Change:
    """Call `instead`, an expression, where `function` is called for the nth time."""

    def break_it(definition: ast.stmt) -> None:
        calls = [
            one for one in ast.walk(definition) if isinstance(one, ast.Call) and _called(one) == function
        ]
        for call in calls[nth : nth + 1]:
            call.func = ast.parse(instead, mode="eval").body

    return break_it


def with_argument(name: str, value: str) -> Change:
    """Give `value`, an expression, wherever a call in the function names this argument."""

    def break_it(definition: ast.stmt) -> None:
        for one in ast.walk(definition):
            if isinstance(one, ast.keyword) and one.arg == name:
                one.value = ast.parse(value, mode="eval").body

    return break_it


def returning(value: str) -> Change:
    """Do nothing but return `value`, an expression; as a constant, be it."""

    def break_it(definition: ast.stmt) -> None:
        found = ast.parse(value, mode="eval").body
        if isinstance(definition, ast.FunctionDef):
            definition.body = [ast.Return(found)]
        elif isinstance(definition, ast.Assign):
            definition.value = found

    return break_it


class _Rewriting(ast.NodeTransformer):
    """Puts in the place of each node what `rewrite` makes of it."""

    def __init__(self, rewrite: Callable[[ast.AST], object]) -> None:
        self._rewrite = rewrite

    def visit(self, node: ast.AST) -> object:
        return self._rewrite(self.generic_visit(node))


def _called(node: ast.AST) -> str:
    """The dotted name of what is called, or of what stands there uncalled."""
    return ast.unparse(node.func if isinstance(node, ast.Call) else node)


MANIFEST_FIRST = (
    "lambda *file: (record_files(store, manifest, ()), _copy(*file), "
    "record_files(store, manifest, manifest.files))"
)
"""The manifest forgets its files until one more is there: whoever is refused in between has lost them."""


GUARDS = (
    Guard(
        "rename replaced by writing in place",
        "storage.atomic_write:atomic_write",
        with_call("os.replace", "lambda source, target: target.write_bytes(source.read_bytes())"),
        ("storage/test_atomic_write.py", "test_file_writes.py"),
    ),
    Guard(
        "content not synced before the rename",
        "storage.atomic_write:atomic_write",
        without_call("_sync"),
        ("storage/test_atomic_write.py",),
    ),
    Guard(
        "folder not synced after the rename",
        "storage.atomic_write:atomic_write",
        without_call("_sync", nth=1),
        ("storage/test_atomic_write.py",),
    ),
    Guard(
        "checksums of an asset not compared",
        "storage.checksums:require_digest",
        returning("None"),
        ("storage/test_asset_checksums.py",),
    ),
    Guard(
        "an asset read whose checksums are gone",
        "storage.asset_checksums:prove",
        without_raise("MissingFile"),
        ("storage/test_asset_checksums.py",),
    ),
    Guard(
        "rolls that are gone not missed",
        "bars.rolls:registered_rolls",
        without_raise("MissingFile"),
        ("bars/test_rolls.py",),
    ),
    Guard(
        "a record's own digest not compared",
        "storage.checksums:parse_checksummed",
        without_raise("ChecksumMismatch"),
        ("storage/test_checksums.py",),
    ),
    Guard(
        "rolls not compared with their digest",
        "bars.rolls:registered_rolls",
        without_call("verify_csv"),
        ("bars/test_rolls.py",),
    ),
    Guard(
        "bar files not proven before they are read",
        "bars.manifest:read_bars",
        without_call("verify_files"),
        ("bars/test_manifest.py",),
    ),
    Guard(
        "manifest written before the file",
        "bars.manifest:add_bars",
        with_call("_copy", MANIFEST_FIRST),
        ("bars/test_manifest.py", "test_io_faults.py::test_what_was_registered_survives_every_refusal"),
    ),
    Guard(
        "weights not compared with their config",
        "models.expansion_model:_read",
        without_raise("ChecksumMismatch"),
        ("models/test_expansion_model.py",),
    ),
    Guard(
        "the registry's digests not compared",
        "tracking.registry:_require_digests",
        without_raise("IntegrityError"),
        ("tracking/test_version_digests.py",),
    ),
    Guard(
        "lines of the promotion log not compared",
        "storage.checksums:parse_checksummed_line",
        without_raise("ChecksumMismatch"),
        ("storage/test_checksums.py",),
    ),
    Guard(
        "the manifest's lock dropped",
        "bars.manifest:add_bars",
        with_call("locked", "__import__('contextlib').nullcontext"),
        ("bars/test_manifest.py",),
    ),
    Guard(
        "the run lock dropped",
        "cli.run:exclusive_run",
        without_call("lock.acquire"),
        ("cli/test_run_lock.py",),
    ),
    Guard(
        "servers opened to the network",
        "cli.services:LOOPBACK",
        returning("'0.0.0.0'"),
        ("cli/test_run_lock.py",),
    ),
    Guard(
        "text in the report not escaped",
        "report.html:_environment",
        with_argument("autoescape", "False"),
        ("report/test_html.py",),
    ),
    Guard(
        "an archive's names not judged",
        "storage.backup:_is_safe",
        returning("True"),
        ("storage/test_backup.py::test_a_path_that_leads_out_of_the_home_is_refused",),
    ),
    Guard(
        "an archive's digests not compared",
        "storage.backup:_extract",
        without_call("require_digest"),
        (
            "storage/test_backup.py::test_a_flipped_byte_of_an_archive_restores_nothing_wrong",
            "storage/test_backup.py::test_bytes_changed_inside_an_archive_are_refused",
        ),
    ),
    Guard(
        "a home of a later format opened",
        "storage.home:ensure_format",
        without_raise("IntegrityError"),
        ("storage/test_home.py::test_a_home_of_a_later_version_is_refused_and_left_alone",),
    ),
    Guard(
        "a password shown in an error",
        "storage.remote_stores:without_secrets",
        returning("uri"),
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


def module_of(guard: Guard, tree: Path = PROJECT_ROOT) -> Path:
    """The file in which a guard's function is defined."""
    return tree / PACKAGE / f"{guard.function.partition(':')[0].replace('.', '/')}.py"


def broken_source(guard: Guard, module: Path) -> str:
    """The source of a module in which the guard is broken.

    Raises:
        LookupError: If the function is not defined there, or holds nothing that the change changes.
    """
    source, name = parsed(module), guard.function.partition(":")[2]
    found = next((one for one in source.body if name in _defined(one)), None)
    if found is None:
        raise LookupError(f"{guard.name}: {module.name} must define {name}, but it does not")
    before = ast.dump(found)
    guard.change(found)
    if ast.dump(found) == before:
        raise LookupError(f"{guard.name}: {guard.function} must hold what is to be broken, but it does not")
    return ast.unparse(ast.fix_missing_locations(source))


def _defined(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.Assign):
        return [ast.unparse(target) for target in statement.targets]
    return [statement.name] if isinstance(statement, ast.FunctionDef) else []


def try_without(guard: Guard, tree: Path) -> Outcome:
    """Break a guard in the copy, run its suites, and put it back."""
    module, began = module_of(guard, tree), time.monotonic()
    kept = module.read_bytes()
    module.write_text(broken_source(guard, module), encoding="utf-8")
    try:
        noticed = failing(tree, guard.suites)
    finally:
        module.write_bytes(kept)
    return Outcome(guard, noticed, time.monotonic() - began)


def failing(tree: Path, suites: Sequence[str]) -> tuple[str, ...]:
    """The first test of some suites that fails in a copy; none where all pass.

    Raises:
        RuntimeError: If pytest ends otherwise.
    """
    words = ["-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-m", "not slow"]
    done = subprocess.run(
        [sys.executable, *words, *(f"moola_pipeline_tests/{suite}" for suite in suites)],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    if done.returncode not in (0, 1):
        raise RuntimeError(f"pytest ended with {done.returncode}: {(done.stdout + done.stderr)[-1500:]}")
    lines = [line for line in done.stdout.splitlines() if line.startswith(("FAILED ", "ERROR "))]
    return tuple(line.split(" ")[1].removeprefix("moola_pipeline_tests/") for line in lines)


def main() -> int:
    """Break them all; 1 if the loss of one goes unnoticed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="guards whose name holds this")
    asked = parser.parse_args()
    began, outcomes = time.monotonic(), []
    guards = [one for one in GUARDS if asked.only in one.name]
    with tempfile.TemporaryDirectory() as folder:
        tree = broken_tree(Path(folder))
        for module in {module_of(guard, tree) for guard in guards}:
            module.write_text(ast.unparse(parsed(module)), encoding="utf-8")  # as they are broken, too
        if unbroken := failing(tree, sorted({suite for guard in guards for suite in guard.suites})):
            sys.exit(f"with every guard whole, the suites must pass, but {unbroken[0]} fails")
        for guard in guards:
            outcomes.append(try_without(guard, tree))
            noticed = outcomes[-1].noticed
            shown = noticed[0] if noticed else "NOBODY NOTICED"
            click.echo(f"{guard.name:<45} {shown} ({outcomes[-1].seconds:.0f} s)")
    missed = sum(not one.noticed for one in outcomes)
    spent = time.monotonic() - began
    if not asked.only:
        record("guards broken on purpose", guards=len(outcomes), unnoticed=missed, seconds=spent)
    click.echo(f"{len(outcomes)} guards broken, {missed} unnoticed, {spent:.0f} s")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
