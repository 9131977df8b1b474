"""Compilation by numba: once for all layouts of prices, and never with an outdated constant."""

import ast
import builtins
import inspect
from pathlib import Path

import numpy as np

from moola_pipeline.features import passes
from moola_pipeline.features.relativity import compute_features
from moola_pipeline.storage.home import PROJECT_ROOT
from moola_pipeline.windows import spans
from moola_pipeline_tests.features.naive import random_bars
from moola_pipeline_tests.source_trees import parsed

PACKAGE = PROJECT_ROOT / "moola_pipeline"


def test_layout_and_dtype_of_the_prices_change_nothing_and_compile_nothing_new():
    prices = np.rint(random_bars(np.random.default_rng(7), 60))
    plain = compute_features(prices, np.zeros(60, int), 1.0).values
    compiled = len(passes.fill_features.signatures)  # pyright: ignore[reportAttributeAccessIssue]
    frozen = np.asfortranarray(prices)
    frozen.flags.writeable = False

    for variant in (
        frozen,
        prices.astype(np.float32),
        prices.astype(np.int64),
        np.repeat(prices, 2, axis=0)[::2],
    ):
        assert np.array_equal(compute_features(variant, np.zeros(60, np.int32), 1).values, plain)
    assert len(passes.fill_features.signatures) == compiled  # pyright: ignore[reportAttributeAccessIssue]


def test_compiled_code_uses_no_other_module_so_that_its_cache_cannot_become_stale():
    outside = {name.partition(".")[0] for name in imported(Path(inspect.getfile(passes)))}
    assert outside == {"numba", "numpy"}
    rooms = [path for room in ("features", "windows") for path in (PACKAGE / room).rglob("*.py")]
    assert {path.name for path in rooms if "numba" in imported(path)} == {"passes.py", "spans.py"}
    names = spans._measure.py_func.__code__.co_names  # pyright: ignore[reportAttributeAccessIssue]
    assert set(names) <= {"shape", *dir(builtins)}


def imported(path: Path) -> set[str]:
    nodes = list(ast.walk(parsed(path)))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return plain | {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}
