"""What `make install` compiles ahead: every compiled function of the package."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from moola_pipeline.storage.home import PROJECT_ROOT
from moola_pipeline_tests.source_trees import parsed

PACKAGE = PROJECT_ROOT / "moola_pipeline"
COMPILERS = {"numba.njit", "njit", "compiled"}


def _name(mark: ast.expr) -> str:
    return ast.unparse(mark.func if isinstance(mark, ast.Call) else mark)


def compiled_functions() -> set[str]:
    """Module and name of each function that numba compiles and keeps."""
    return {
        f"{path.stem}.{node.name}"
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef) and COMPILERS & {_name(mark) for mark in node.decorator_list}
    }


@pytest.mark.slow
def test_every_compiled_function_is_compiled_ahead(tmp_path: Path):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "moola_pipeline.selftest.compile_ahead"]
    subprocess.run(command, env=environment, cwd=PROJECT_ROOT, check=True)

    kept = {path.name.rpartition("-")[0] for path in tmp_path.rglob("*.nbi")}
    assert kept == compiled_functions()
    assert {"passes.fill_features", "path._walk", "span_proposer._rank", "live._raise"} <= kept
