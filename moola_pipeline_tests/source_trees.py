"""Syntax trees of source files, for tests of the code itself."""

import ast
import gc
from pathlib import Path


def parsed(path: Path) -> ast.Module:
    """The syntax tree of a file.

    Garbage collection is off during parsing: CPython 3.11 miscounts its recursion depth and fails if
    a finalizer raises in ast.parse().
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        return ast.parse(path.read_text(encoding="utf-8"), str(path))
    finally:
        if collecting:
            gc.enable()
