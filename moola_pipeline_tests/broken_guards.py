"""Break one guard at a time in a copy of the source, and run the tests that must fail: see --help.

A guard is a function that is broken by a change of its syntax tree, so a rename needs one edit here.
If no test fails without a guard, the command exits with 1.
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
    """One guard, the change that breaks it, and the tests that must then fail.

    Attributes:
        name: Short description of the broken state.
        function: `room.module:function`, or a constant.
        change: Breaks the function.
        suites: Test files, or files with `::test`.
    """

    name: str
    function: str
    change: Change
    suites: tuple[str, ...]


def without_raise(error: str) -> Change:
    """Replace each `raise` of `error` with `pass`."""

    def change(node: ast.AST) -> ast.AST:
        raised = node.exc if isinstance(node, ast.Raise) else None
        return ast.Pass() if raised and _called(raised) == error else node

    return _Rewriting(change).visit


def without_call(function: str, nth: int = 0) -> Change:
    """Remove the nth call of `function`."""
    return with_call(function, "lambda *_, **__: None", nth)


def with_call(function: str, instead: str, nth: int = 0) -> Change:
    """Replace the called `function` with the expression `instead`, in its nth call."""

    def break_it(definition: ast.stmt) -> None:
        calls = [
            node for node in ast.walk(definition) if isinstance(node, ast.Call) and _called(node) == function
        ]
        for call in calls[nth : nth + 1]:
            call.func = ast.parse(instead, mode="eval").body

    return break_it


def with_argument(name: str, value: str) -> Change:
    """Replace the value of a keyword argument with the expression `value`, in every call."""

    def break_it(definition: ast.stmt) -> None:
        for node in ast.walk(definition):
            if isinstance(node, ast.keyword) and node.arg == name:
                node.value = ast.parse(value, mode="eval").body

    return break_it


def returning(value: str) -> Change:
    """Replace the body of a function, or the value of a constant, with the expression `value`."""

    def break_it(definition: ast.stmt) -> None:
        expression = ast.parse(value, mode="eval").body
        if isinstance(definition, ast.FunctionDef):
            definition.body = [ast.Return(expression)]
        elif isinstance(definition, ast.Assign):
            definition.value = expression

    return break_it


class _Rewriting(ast.NodeTransformer):
    """Replaces each node with the result of `rewrite`."""

    def __init__(self, rewrite: Callable[[ast.AST], object]) -> None:
        self._rewrite = rewrite

    def visit(self, node: ast.AST) -> object:
        return self._rewrite(self.generic_visit(node))


def _called(node: ast.AST) -> str:
    """The dotted name of a called function, or of an expression that is not called."""
    return ast.unparse(node.func if isinstance(node, ast.Call) else node)


MANIFEST_FIRST = (
    "lambda *file: (record_files(store, manifest, ()), _copy(*file), "
    "record_files(store, manifest, manifest.files))"
)
"""Empties the manifest before the copy: if the copy fails, the registered files are lost."""


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
        "assets without checksums accepted",
        "storage.asset_checksums:prove",
        without_raise("MissingFile"),
        ("storage/test_asset_checksums.py",),
    ),
    Guard(
        "missing rolls not noticed",
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
        "checksums of bar files not compared before reading",
        "bars.manifest:read_bars",
        without_call("verify_files"),
        ("bars/test_manifest.py",),
    ),
    Guard(
        "manifest written before the file",
        "bars.manifest:add_bars",
        with_call("_copy", MANIFEST_FIRST),
        ("bars/test_manifest.py", "test_io_faults.py::test_registered_data_survives_every_failed_request"),
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
        "file names in an archive not checked",
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
    """Result of breaking a guard.

    Attributes:
        noticed: The tests that failed; empty if none did.
    """

    guard: Guard
    noticed: tuple[str, ...]
    seconds: float


def copied_source(folder: Path) -> Path:
    """A copy of the source and its tests."""
    for name in COPIED:
        source = PROJECT_ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copyfile(source, folder / name)
    return folder


def module_of(guard: Guard, tree: Path = PROJECT_ROOT) -> Path:
    """The file that defines a guard's function."""
    return tree / PACKAGE / f"{guard.function.partition(':')[0].replace('.', '/')}.py"


def broken_source(guard: Guard, module: Path) -> str:
    """The source of a module with the guard broken.

    Raises:
        LookupError: If the function is not defined there, or the change has no effect on it.
    """
    source, name = parsed(module), guard.function.partition(":")[2]
    definition = next((statement for statement in source.body if name in _defined(statement)), None)
    if definition is None:
        raise LookupError(f"{guard.name}: {module.name} must define {name}, but it does not")
    before = ast.dump(definition)
    guard.change(definition)
    if ast.dump(definition) == before:
        raise LookupError(f"{guard.name}: the change must alter {guard.function}, but it does not")
    return ast.unparse(ast.fix_missing_locations(source))


def _defined(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.Assign):
        return [ast.unparse(target) for target in statement.targets]
    return [statement.name] if isinstance(statement, ast.FunctionDef) else []


def try_without(guard: Guard, tree: Path) -> Outcome:
    """Break a guard in the copy, run its tests, and restore it."""
    module, began = module_of(guard, tree), time.monotonic()
    original = module.read_bytes()
    module.write_text(broken_source(guard, module), encoding="utf-8")
    try:
        noticed = failing(tree, guard.suites)
    finally:
        module.write_bytes(original)
    return Outcome(guard, noticed, time.monotonic() - began)


def failing(tree: Path, suites: Sequence[str]) -> tuple[str, ...]:
    """The first failing test of some suites in a copy; empty if all pass.

    Raises:
        RuntimeError: If pytest exits with another code than 0 or 1.
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
        raise RuntimeError(f"pytest exited with {done.returncode}: {(done.stdout + done.stderr)[-1500:]}")
    lines = [line for line in done.stdout.splitlines() if line.startswith(("FAILED ", "ERROR "))]
    return tuple(line.split(" ")[1].removeprefix("moola_pipeline_tests/") for line in lines)


def main() -> int:
    """Break every guard; return 1 if no test fails for one of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="break only guards whose name contains this text")
    options = parser.parse_args()
    began, outcomes = time.monotonic(), []
    guards = [guard for guard in GUARDS if options.only in guard.name]
    with tempfile.TemporaryDirectory() as folder:
        tree = copied_source(Path(folder))
        for module in {module_of(guard, tree) for guard in guards}:
            module.write_text(
                ast.unparse(parsed(module)), encoding="utf-8"
            )  # same formatting as broken modules
        if unbroken := failing(tree, sorted({suite for guard in guards for suite in guard.suites})):
            sys.exit(f"without any broken guard, all tests must pass, but {unbroken[0]} fails")
        for guard in guards:
            outcomes.append(try_without(guard, tree))
            noticed = outcomes[-1].noticed
            text = noticed[0] if noticed else "NO TEST FAILED"
            click.echo(f"{guard.name:<45} {text} ({outcomes[-1].seconds:.0f} s)")
    missed = sum(not outcome.noticed for outcome in outcomes)
    spent = time.monotonic() - began
    if not options.only:
        record("guards broken on purpose", guards=len(outcomes), unnoticed=missed, seconds=spent)
    click.echo(f"{len(outcomes)} guards broken, {missed} unnoticed, {spent:.0f} s")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
