"""Size and import cycles of the package: python -m moola_pipeline_tests.package_size [FOLDER]."""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from moola_pipeline.storage.home import PROJECT_ROOT
from moola_pipeline_tests.source_trees import parsed

MAX_PARAMETERS = 7
SMALL_MODULE = 60
PACKAGE = "moola_pipeline"
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class PackageSize:
    """Size of a package.

    Attributes:
        lines: All lines, blank ones and docstrings included.
        modules: Python files.
        small: Modules of fewer than `SMALL_MODULE` lines, empty `__init__.py` included.
        crowded: `module:function` with more than `MAX_PARAMETERS` parameters, `self` and defaults
            included; assets and commands, whose parameters are their inputs, are excluded.
        circles: Groups of modules that import one another, imports inside functions included.
    """

    lines: int
    modules: int
    small: int
    crowded: tuple[str, ...]
    circles: tuple[tuple[str, ...], ...]


def package_size(package: Path) -> PackageSize:
    """Measure the package in a folder."""
    files = sorted(package.rglob("*.py"))
    lengths = [len(path.read_text(encoding="utf-8").splitlines()) for path in files]
    trees = {module_name(path, package): parsed(path) for path in files}
    crowded = [
        f"{name}:{function.name}" for name, tree in trees.items() for function in crowded_functions(tree)
    ]
    return PackageSize(
        sum(lengths),
        len(files),
        sum(length < SMALL_MODULE for length in lengths),
        tuple(crowded),
        tuple(circles(import_graph(trees))),
    )


def module_name(path: Path, package: Path) -> str:
    """The dotted name of a file."""
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def crowded_functions(tree: ast.Module) -> list[Function]:
    """Functions with too many parameters, except assets and commands."""
    functions = [node for node in ast.walk(tree) if isinstance(node, Function)]
    return [
        function
        for function in functions
        if n_parameters(function) > MAX_PARAMETERS and not _is_declared(function)
    ]


def n_parameters(function: Function) -> int:
    """All parameters of a function, `self` and those with defaults included."""
    taken = function.args
    return len(taken.posonlyargs) + len(taken.args) + len(taken.kwonlyargs)


def _is_declared(function: Function) -> bool:
    """Whether a decorator passes the parameters by name: a Dagster asset, a click command."""
    names = {
        ast.unparse(decorator.func if isinstance(decorator, ast.Call) else decorator)
        for decorator in function.decorator_list
    }
    return any(name in {"dg.asset", "click.command"} or name.endswith(".command") for name in names)


def import_graph(trees: dict[str, ast.Module]) -> dict[str, set[str]]:
    """Imported modules of the package by module; imports under TYPE_CHECKING do not count."""
    return {name: set(_imported(tree, trees)) - {name} for name, tree in trees.items()}


def _imported(tree: ast.AST, known: dict[str, ast.Module]) -> Iterator[str]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            inside = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in known else node.module for name in inside)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        else:
            yield from _imported(node, known)


def circles(graph: dict[str, set[str]]) -> list[tuple[str, ...]]:
    """Import cycles: groups of modules that reach one another (Tarjan's strongly connected components)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[tuple[str, ...]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in sorted(graph[name] & graph.keys()):
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            group = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(group) > 1:
                found.append(tuple(sorted(group)))

    for name in graph:
        if name not in index:
            visit(name)
    return found


def main() -> None:
    """Print the figures."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else PROJECT_ROOT
    size = package_size(folder / PACKAGE)
    click.echo(f"lines                             {size.lines:,}")
    click.echo(f"modules                           {size.modules}")
    click.echo(f"modules under {SMALL_MODULE} lines            {size.small}")
    click.echo(f"functions with over {MAX_PARAMETERS} parameters    {len(size.crowded)}")
    for function in size.crowded:
        click.echo(f"    {function}")
    click.echo(f"import cycles                     {len(size.circles)}")
    for group in size.circles:
        click.echo(f"    {', '.join(group)}")


if __name__ == "__main__":
    main()
