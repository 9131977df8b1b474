"""docs/safeguards.md lists existing tests for every fault of an earlier version."""

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


def test_every_fault_has_one_row():
    assert list(ROWS) == list(range(1, N_FAULTS + 1))
    assert all(len(fault) <= 110 for fault, _ in ROWS.values())


@pytest.mark.parametrize("number", range(1, N_FAULTS + 1))
def test_every_listed_test_exists_and_faults_without_tests_are_marked_open(number: int):
    _, caught = ROWS[number]
    named = NAMED.findall(caught)
    assert named or caught.startswith("open: ")
    assert caught.count("::") == len(named), "a test must be written as `path.py::name`"
    missing = [f"{path}::{name}" for path, name in named if name not in defined_in(path)]
    assert not missing


def test_a_missing_test_or_file_is_detected():
    assert "test_that_nobody_wrote" not in defined_in("test_safeguards.py")
    with pytest.raises(FileNotFoundError):
        defined_in("no/such_file.py")
