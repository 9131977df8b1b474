"""Source files as syntax trees, for tests that read the code itself."""

import ast
import gc
from pathlib import Path


def parsed(path: Path) -> ast.Module:
    """The syntax tree of a file.

    No garbage is collected meanwhile: CPython 3.11 loses count of its depth, and gives up, when a
    finalizer raises while it builds a tree.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        return ast.parse(path.read_text(encoding="utf-8"), str(path))
    finally:
        if collecting:
            gc.enable()
