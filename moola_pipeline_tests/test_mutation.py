"""What is mutated: neither annotations nor compiled functions, and every target has its tests."""

import ast
import importlib.util

import pytest

from moola_pipeline.storage.home import PROJECT_ROOT
from moola_pipeline_tests.mutation import TARGETS, _not_mutated, drawn, mutants_of

SOURCE = """
import numba

LIMIT: int | None = 3


@numba.njit(cache=True)
def compiled(values):
    return values + 1


def plain(value: int | None, most: int = 2) -> int | None:
    return value if value is not None and value < most else None
"""
needs_cosmic_ray = pytest.mark.skipif(
    importlib.util.find_spec("cosmic_ray") is None, reason="needs cosmic-ray: install the extra mutation"
)


def test_every_target_and_its_tests_exist():
    for module, tests in TARGETS.items():
        assert (PROJECT_ROOT / f"moola_pipeline/{module}.py").is_file()
        assert tests and all((PROJECT_ROOT / "moola_pipeline_tests" / name).is_file() for name in tests)


def test_annotations_and_compiled_functions_are_kept_out():
    lines = SOURCE.splitlines()
    kept_out = list(_not_mutated(ast.parse(SOURCE)))
    texts = {lines[start[0] - 1][start[1] : end[1]] for start, end in kept_out if start[0] == end[0]}
    assert texts == {"int | None", "int"}
    assert ((7, 0), (9, 2**63 - 1)) in kept_out


@needs_cosmic_ray
def test_each_mutant_changes_one_line_and_a_draw_repeats():
    mutants = [mutant for position in mutants_of("plain", SOURCE) for mutant in position]
    assert {mutant.line for mutant in mutants} == {4, 12, 13}
    for mutant in mutants:
        changed = mutant.mutated(SOURCE).splitlines()
        assert [i + 1 for i, line in enumerate(SOURCE.splitlines()) if line != changed[i]] == [mutant.line]
    assert drawn(20, 1) == drawn(20, 1) != drawn(20, 2)
