"""docs/safeguards.md names tests that exist, for every fault of the first attempt."""

import ast
import re
from functools import cache

import pytest

from moola_pipeline.storage.home import PROJECT_ROOT
from moola_pipeline_tests.source_trees import parsed

TESTS = PROJECT_ROOT / "moola_pipeline_tests"
N_FAULTS = 33
ROW = re.compile(r"^\| (\d+) \| (.+?) \| (.+) \|$", re.MULTILINE)
NAMED = re.compile(r"`([\w/]+\.py)::(\w+)`")
TEXT = (PROJECT_ROOT / "docs" / "safeguards.md").read_text(encoding="utf-8")
ROWS = {int(number): (fault, caught) for number, fault, caught in ROW.findall(TEXT)}


@cache
def defined_in(path: str) -> frozenset[str]:
    tree = parsed(TESTS / path)
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


def test_every_fault_has_a_line_of_its_own():
    assert list(ROWS) == list(range(1, N_FAULTS + 1))
    assert all(len(fault) <= 110 for fault, _ in ROWS.values())


@pytest.mark.parametrize("number", range(1, N_FAULTS + 1))
def test_every_test_named_exists_and_what_has_none_is_said_to_be_open(number: int):
    _, caught = ROWS[number]
    named = NAMED.findall(caught)
    assert named or caught.startswith("open: ")
    assert caught.count("::") == len(named), "a test is named in another way than `path.py::name`"
    missing = [f"{path}::{name}" for path, name in named if name not in defined_in(path)]
    assert not missing


def test_a_test_that_does_not_exist_would_be_noticed():
    assert "test_that_nobody_wrote" not in defined_in("test_safeguards.py")
    with pytest.raises(FileNotFoundError):
        defined_in("no/such_file.py")
