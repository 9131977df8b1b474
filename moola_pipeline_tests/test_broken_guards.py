"""The guards of `broken_guards` exist, and each change breaks its guard."""

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
def test_the_change_of_every_guard_alters_its_function(guard: Guard):
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
def test_a_change_alters_its_target_only(change: Change, before: str, after: str, tmp_path: Path):
    module = tmp_path / "files.py"
    module.write_text(PROVE)
    expected = ast.unparse(ast.parse(PROVE.replace(before, after, 1)))
    assert broken_source(Guard("a file", "files:prove", change, ()), module) == expected


def test_a_constant_can_be_broken(tmp_path: Path):
    module = tmp_path / "files.py"
    module.write_text("HOST = '127.0.0.1'")
    assert broken_source(Guard("the host", "files:HOST", returning("''"), ()), module) == "HOST = ''"


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("files:seal", "a file: files.py must define seal, but it does not"),
        ("files:prove", "a file: the change must alter files:prove, but it does not"),
    ],
)
def test_a_missing_function_or_a_change_without_effect_is_refused(
    function: str, message: str, tmp_path: Path
):
    module = tmp_path / "files.py"
    module.write_text(PROVE)
    with pytest.raises(LookupError) as refused:
        broken_source(Guard("a file", function, without_raise("KeyError"), ()), module)
    assert str(refused.value) == message
