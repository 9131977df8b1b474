"""Every guard that is broken on purpose is there, and broken by what is said of it."""

import ast
from pathlib import Path

import pytest

from moola_pipeline_tests.broken_guards import (
    GUARDS,
    Change,
    Guard,
    broken_source,
    module_of,
    returning,
    with_argument,
    with_call,
    without_call,
    without_raise,
)
from moola_pipeline_tests.source_trees import parsed

PROVE = """
def prove(path, wanted):
    if not path.exists():
        raise MissingFile(path) from None
    sync(path)
    sync(path.parent)
    return digest(path, strict=True) == wanted
"""


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_every_guard_names_a_function_that_its_change_changes(guard: Guard):
    module = module_of(guard)
    broken = broken_source(guard, module)
    compile(broken, str(module), "exec")
    assert broken != ast.unparse(parsed(module))


@pytest.mark.parametrize(
    ("change", "before", "after"),
    [
        (without_raise("MissingFile"), "raise MissingFile(path) from None", "pass"),
        (without_call("sync"), "sync(path)\n", "(lambda *_, **__: None)(path)\n"),
        (without_call("sync", nth=1), "sync(path.parent)", "(lambda *_, **__: None)(path.parent)"),
        (with_call("path.exists", "str"), "path.exists()", "str()"),
        (with_argument("strict", "False"), "strict=True", "strict=False"),
        (returning("True"), PROVE.partition(":")[2], "\n    return True\n"),
    ],
)
def test_a_change_changes_what_it_names_and_nothing_else(
    change: Change, before: str, after: str, tmp_path: Path
):
    module = tmp_path / "files.py"
    module.write_text(PROVE)
    expected = ast.unparse(ast.parse(PROVE.replace(before, after, 1)))
    assert broken_source(Guard("a file", "files:prove", change, ()), module) == expected


def test_a_constant_can_be_broken(tmp_path: Path):
    module = tmp_path / "files.py"
    module.write_text("HOST = '127.0.0.1'")
    assert broken_source(Guard("the host", "files:HOST", returning("''"), ()), module) == "HOST = ''"


@pytest.mark.parametrize(
    ("function", "fault"),
    [
        ("files:seal", "a file: files.py must define seal, but it does not"),
        ("files:prove", "a file: files:prove must hold what is to be broken, but it does not"),
    ],
)
def test_a_guard_that_is_not_there_is_refused(function: str, fault: str, tmp_path: Path):
    module = tmp_path / "files.py"
    module.write_text(PROVE)
    with pytest.raises(LookupError) as refused:
        broken_source(Guard("a file", function, without_raise("KeyError"), ()), module)
    assert str(refused.value) == fault
