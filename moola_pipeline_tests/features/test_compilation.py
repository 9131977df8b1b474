"""What numba compiles: once, whatever the prices come in, and never from an old constant."""

import ast
import inspect
from types import ModuleType

import numpy as np
import pytest

from moola_pipeline.features import relativity, zigzag
from moola_pipeline.features.relativity import compute_features
from moola_pipeline_tests.features.naive import random_bars


def test_layout_and_dtype_of_the_prices_change_nothing_and_compile_nothing_new():
    prices = np.rint(random_bars(np.random.default_rng(7), 60))
    plain = compute_features(prices, np.zeros(60, int), 1.0).values
    compiled = len(relativity._fill.signatures)  # pyright: ignore[reportAttributeAccessIssue]
    frozen = np.asfortranarray(prices)
    frozen.flags.writeable = False

    for variant in (
        frozen,
        prices.astype(np.float32),
        prices.astype(np.int64),
        np.repeat(prices, 2, axis=0)[::2],
    ):
        assert np.array_equal(compute_features(variant, np.zeros(60, np.int32), 1).values, plain)
    assert len(relativity._fill.signatures) == compiled  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("module", [relativity, zigzag], ids=lambda module: module.__name__)
def test_compiled_code_uses_nothing_of_another_module_so_that_its_cache_cannot_grow_stale(module: ModuleType):
    tree = ast.parse(inspect.getsource(module))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    foreign = {name.name for node in imports if str(node.module).startswith("moola") for name in node.names}
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    compiled = [node for node in functions if any("njit" in ast.unparse(d) for d in node.decorator_list)]

    assert compiled
    for function in compiled:
        used = {node.id for node in ast.walk(function) if isinstance(node, ast.Name)}
        assert not used & foreign, f"{function.name} would keep an old {used & foreign}"
