"""The code behind a result: the import closure of a module, and a digest of each file in it.

The closure of a file is the file and all that it imports from the package, imports inside functions
included. Imports under `TYPE_CHECKING` do not count, nor does a package's `__init__`, which only
re-exports names. Digests are of the syntax tree without docstrings and comments, so that prose
never makes anything stale.
"""

import ast
import gc
import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

from moola_pipeline.storage.atomic_write import atomic_write_bytes

LIBRARIES = {
    "numba": "numba",
    "numpy": "numpy",
    "sklearn": "scikit-learn",
    "talib": "TA-Lib",
    "torch": "torch",
}
"""Modules of other packages whose version can change a result, with their distribution names."""
CARRIERS = (
    "assets/metadata.py",
    "assets/stage.py",
    "code_digests.py",
    "errors.py",
    "instrument_data.py",
    "resources",
    "staleness",
    "storage",
    "tracking",
)
"""Files that pass on, store, log or show values without changing them: a closure stops there.

The data that they read count by digest. `STAGES` names the parts of them that decide an asset.
"""
SETTINGS = "settings.py"
"""Files of this name hold settings, which count by value; only their functions count as code."""
DIGEST_DIGITS = 12
PACKAGE = Path(__file__).resolve().parent


class Parsed(NamedTuple):
    """The parts of a source file, or of one class or function in it, that a closure needs.

    Attributes:
        digest: Of its syntax tree.
        imports: Module and name of each import; the name is None in `import module`.
    """

    digest: str
    imports: list[tuple[str, str | None]]


@dataclass(frozen=True)
class Code:
    """The code of an asset.

    Attributes:
        files: Digest of each file, by its path in the package.
        libraries: Distribution names of the `LIBRARIES` that it imports.
    """

    files: dict[str, str]
    libraries: frozenset[str]


class SourceTree:
    """A package's source files, each parsed once.

    Args:
        package: The package's folder.
        read: Reads the bytes of a file.
        cache: File that stores parsed files for the next process; None: no cache.
    """

    def __init__(
        self, package: Path, read: Callable[[Path], bytes] = Path.read_bytes, cache: Path | None = None
    ) -> None:
        self.package, self.read, self.cache = package, read, cache
        self._files = {path.relative_to(package).as_posix() for path in package.rglob("*.py")}
        self._cached, self._cache_outdated = _read_cache(cache), False
        self._results: dict[str, Parsed] = {}

    def code(self, roots: Iterable[str], alone: Iterable[str] = ()) -> Code:
        """The closure of some roots.

        Args:
            roots: Paths in the package. `path:name` is one class or function in a file with what it
                uses there, without the bases of a class. A root may lie in `CARRIERS`; its imports
                from there do not count.
            alone: Files that count without their imports; `*` is a wildcard.

        Raises:
            FileNotFoundError: If a root or a file does not exist.
        """
        files = {path: self._parsed(path).digest for pattern in alone for path in self._matching(pattern)}
        libraries: set[str] = set()
        waiting = list(roots)
        while waiting:
            path = waiting.pop()
            if path in files:
                continue
            parsed = self._parsed(path)
            files[path] = parsed.digest
            for module, name in parsed.imports:
                top = module.partition(".")[0]
                if top in LIBRARIES:
                    libraries.add(LIBRARIES[top])
                elif top == self.package.name:
                    waiting += [file for file in self._imported(module, name) if not is_carrier(file)]
        self._save_cache()
        return Code(dict(sorted(files.items())), frozenset(libraries))

    def _matching(self, pattern: str) -> list[str]:
        paths = [path.relative_to(self.package).as_posix() for path in self.package.glob(pattern)]
        if not paths:
            raise FileNotFoundError(self.package / pattern)
        return paths

    def _imported(self, module: str, name: str | None) -> Iterator[str]:
        """The file of an imported module; of a name imported from a package, the file it comes from."""
        inside = "/".join(module.split(".")[1:])
        below = f"{inside}/{name}".lstrip("/")
        if f"{inside}.py" in self._files:
            yield f"{inside}.py"
        elif f"{below}.py" in self._files:
            yield f"{below}.py"
        elif (init := f"{inside}/__init__.py".lstrip("/")) in self._files:
            imports = self._parsed(init).imports
            exports = [(source, export) for source, export in imports if export == name] or imports
            for source, export in exports:
                if source.startswith(f"{self.package.name}."):
                    yield from self._imported(source, export)

    def _parsed(self, root: str) -> Parsed:
        """The digest and the imports of a file, or of a class or function in one."""
        if root not in self._results:
            path, _, name = root.partition(":")
            content = self.read(self.package / path)
            sha256 = hashlib.sha256(content).hexdigest()
            cached_sha256, parsed = self._cached.get(root, ("", None))
            if parsed is None or cached_sha256 != sha256:
                parsed, self._cache_outdated = _parse(content, path, name), True
                self._cached[root] = sha256, parsed
            self._results[root] = parsed
        return self._results[root]

    def _save_cache(self) -> None:
        """Store the parsed files, if the folder is writable."""
        if self._cache_outdated and self.cache is not None:
            with suppress(OSError):
                atomic_write_bytes(self.cache, json.dumps([_reader(), self._cached]).encode())
            self._cache_outdated = False


@cache
def package_tree() -> SourceTree:
    """This package, read once per process; parsed files are cached beside its bytecode."""
    cache_file = PACKAGE / "__pycache__" / f"code_digests.{sys.implementation.cache_tag}.json"
    return SourceTree(PACKAGE, cache=None if sys.dont_write_bytecode else cache_file)


def _read_cache(cache: Path | None) -> dict[str, tuple[str, Parsed]]:
    """Results that an earlier process cached with the same code: SHA256 and content of each file."""
    if cache is None:
        return {}
    try:
        reader, entries = json.loads(cache.read_bytes())
        if reader != _reader():
            return {}
        return {
            root: (sha256, Parsed(digest, [(module, name) for module, name in imports]))
            for root, (sha256, (digest, imports)) in entries.items()
        }
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


@cache
def _reader() -> str:
    """Digest of this module and of Python's version: syntax trees differ between versions."""
    return hashlib.sha256(Path(__file__).read_bytes() + sys.version.encode()).hexdigest()


def is_carrier(path: str) -> bool:
    """Whether a file of the package lies in `CARRIERS`."""
    return path in CARRIERS or path.partition("/")[0] in CARRIERS


def _parse(content: bytes, path: str, name: str) -> Parsed:
    if not path.endswith(".py"):
        return Parsed(hashlib.sha256(content).hexdigest()[:DIGEST_DIGITS], [])
    with _uncollected():
        body = ast.parse(content).body
        if path.endswith(SETTINGS):
            body = [node for top in body for node in ast.walk(top) if isinstance(node, ast.FunctionDef)]
            return Parsed(_digest(body), [])
        if name:
            body = _part(body, name, path)
        return Parsed(_digest(body), sorted(set(_imports(body)), key=str))


def _digest(body: list[ast.stmt]) -> str:
    words: list[str] = []
    _write(body, words)
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:DIGEST_DIGITS]


def _write(node: object, words: list[str]) -> None:
    """The words of a syntax tree, without docstrings and other strings used as statements."""
    if isinstance(node, ast.AST):
        words.append(type(node).__name__)
        for field in node._fields:
            _write(getattr(node, field, None), words)
        words.append(")")
    elif isinstance(node, list):
        words.append("[")
        for item in node:
            if not (isinstance(item, ast.Expr) and _is_text(item.value)):
                _write(item, words)
        words.append("]")
    else:
        words.append(repr(node))


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _imports(nodes: Iterable[ast.AST]) -> Iterator[tuple[str, str | None]]:
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError(f"imports must be absolute, got one from {'.' * node.level}")
            yield from ((str(node.module), alias.name) for alias in node.names)
        elif isinstance(node, ast.If) and _is_type_checking(node.test):
            yield from _imports(node.orelse)
        else:
            yield from _imports(ast.iter_child_nodes(node))


def _is_type_checking(test: ast.expr) -> bool:
    return ast.unparse(test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def _part(body: list[ast.stmt], name: str, path: str) -> list[ast.stmt]:
    """A class or function of a file, and all statements of the file that it uses, directly or not."""
    bound = {bound_name: statement for statement in body for bound_name in _bound(statement)}
    if name not in bound:
        raise FileNotFoundError(
            f"{path} must define {name}, but does not. Correct the root where it is listed."
        )
    waiting, chosen = [name], dict[int, ast.stmt]()
    while waiting:
        statement = bound.get(waiting.pop())
        if statement is None or id(statement) in chosen:
            continue
        used = statement
        if isinstance(statement, ast.ClassDef):
            used = ast.Module([*statement.body, *map(ast.Expr, statement.decorator_list)], [])
        chosen[id(statement)] = statement
        waiting += [node.id for node in ast.walk(used) if isinstance(node, ast.Name)]
    return [statement for statement in body if id(statement) in chosen]


def _bound(statement: ast.stmt) -> Iterator[str]:
    """Names that a top-level statement binds."""
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        yield statement.name
    elif isinstance(statement, (ast.Import, ast.ImportFrom)):
        yield from ((alias.asname or alias.name).partition(".")[0] for alias in statement.names)
    elif isinstance(statement, (ast.Assign, ast.AnnAssign)):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        yield from (node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name))


@contextmanager
def _uncollected() -> Iterator[None]:
    """Pause garbage collection: syntax trees build twice as fast, and nothing in them is garbage yet."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
