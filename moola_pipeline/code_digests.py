"""The code that decides a result: what a module imports, file by file, and a digest of each file.

The closure of a file is the file and everything that it imports from the package, imports inside
functions included; imports under `TYPE_CHECKING` run nothing and do not count, nor does a
package's `__init__`, which only passes names on. A digest is one of the syntax tree without
docstrings and comments, so that prose never makes anything stale.
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
"""Modules of other packages whose version decides a number, and the name each is installed by."""
CARRIERS = (
    "assets/stage.py",
    "code_digests.py",
    "errors.py",
    "instrument_data.py",
    "resources",
    "staleness",
    "storage",
    "tracking",
)
"""What hands values over, keeps or logs them, and changes none: a closure stops there.

Data that they read count by their digest. What decides an asset all the same is named in `STAGES`.
"""
SETTINGS = "settings.py"
"""Files of this name hold settings, which count by value: of such a file only the functions count."""
DIGEST_DIGITS = 12
PACKAGE = Path(__file__).resolve().parent


class Parsed(NamedTuple):
    """What a closure needs of a source file, or of a class or function in it.

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
        libraries: Those of `LIBRARIES` that it imports, as they are installed by name.
    """

    files: dict[str, str]
    libraries: frozenset[str]


class SourceTree:
    """A package's source files, each parsed once.

    Args:
        package: The package's folder.
        read: How the bytes of a file are read.
        cache: A file that keeps what was parsed for the next process; None: nowhere.
    """

    def __init__(
        self, package: Path, read: Callable[[Path], bytes] = Path.read_bytes, cache: Path | None = None
    ) -> None:
        self.package, self.read, self.cache = package, read, cache
        self._files = {path.relative_to(package).as_posix() for path in package.rglob("*.py")}
        self._kept, self._parsed_anew = _kept(cache), False
        self._known: dict[str, Parsed] = {}

    def code(self, roots: Iterable[str], alone: Iterable[str] = ()) -> Code:
        """The closure of some roots.

        Args:
            roots: Paths in the package. `path:name` is one class or function in a file with what it
                uses there, but for what a class inherits. A root may lie in `CARRIERS`; what it
                imports from there does not count.
            alone: Files that count without what they import; `*` may stand for names.

        Raises:
            FileNotFoundError: If a root or a file does not exist.
        """
        files = {path: self._parsed(path).digest for pattern in alone for path in self._found(pattern)}
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
                    waiting += [one for one in self._imported(module, name) if not is_carrier(one)]
        self._keep()
        return Code(dict(sorted(files.items())), frozenset(libraries))

    def _found(self, pattern: str) -> list[str]:
        found = [path.relative_to(self.package).as_posix() for path in self.package.glob(pattern)]
        if not found:
            raise FileNotFoundError(self.package / pattern)
        return found

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
            passed_on = [one for one in imports if one[1] == name] or imports
            for source, passed in passed_on:
                if source.startswith(f"{self.package.name}."):
                    yield from self._imported(source, passed)

    def _parsed(self, root: str) -> Parsed:
        """The digest and the imports of a file, or of a class or function in one."""
        if root not in self._known:
            path, _, name = root.partition(":")
            content = self.read(self.package / path)
            sha256 = hashlib.sha256(content).hexdigest()
            held, parsed = self._kept.get(root, ("", None))
            if parsed is None or held != sha256:
                parsed, self._parsed_anew = _parse(content, path, name), True
                self._kept[root] = sha256, parsed
            self._known[root] = parsed
        return self._known[root]

    def _keep(self) -> None:
        """Keep what was parsed, if the folder may be written to."""
        if self._parsed_anew and self.cache is not None:
            with suppress(OSError):
                atomic_write_bytes(self.cache, json.dumps([_reader(), self._kept]).encode())
            self._parsed_anew = False


@cache
def package_tree() -> SourceTree:
    """This package, as it is when it is first asked for; what was parsed is kept beside its bytecode."""
    kept = PACKAGE / "__pycache__" / f"code_digests.{sys.implementation.cache_tag}.json"
    return SourceTree(PACKAGE, cache=None if sys.dont_write_bytecode else kept)


def _kept(cache: Path | None) -> dict[str, tuple[str, Parsed]]:
    """What an earlier process parsed by this very code: SHA256 of each file, and what was in it."""
    if cache is None:
        return {}
    try:
        reader, held = json.loads(cache.read_bytes())
        if reader != _reader():
            return {}
        return {
            root: (sha256, Parsed(digest, [(module, name) for module, name in imports]))
            for root, (sha256, (digest, imports)) in held.items()
        }
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


@cache
def _reader() -> str:
    """Digest of the code that parses, and of Python's version: syntax trees differ between versions."""
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
            body = [one for top in body for one in ast.walk(top) if isinstance(one, ast.FunctionDef)]
            return Parsed(_digest(body), [])
        if name:
            body = _part(body, name, path)
        return Parsed(_digest(body), sorted(set(_imports(body)), key=str))


def _digest(body: list[ast.stmt]) -> str:
    words: list[str] = []
    _write(body, words)
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:DIGEST_DIGITS]


def _write(node: object, words: list[str]) -> None:
    """The words of a syntax tree, without the strings that stand as statements: docstrings."""
    if isinstance(node, ast.AST):
        words.append(type(node).__name__)
        for field in node._fields:
            _write(getattr(node, field, None), words)
        words.append(")")
    elif isinstance(node, list):
        words.append("[")
        for one in node:
            if not (isinstance(one, ast.Expr) and _is_text(one.value)):
                _write(one, words)
        words.append("]")
    else:
        words.append(repr(node))


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _imports(nodes: Iterable[ast.AST]) -> Iterator[tuple[str, str | None]]:
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from ((one.name, None) for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError(f"imports must name their module in full, got one from {'.' * node.level}")
            yield from ((str(node.module), one.name) for one in node.names)
        elif isinstance(node, ast.If) and _is_type_checking(node.test):
            yield from _imports(node.orelse)
        else:
            yield from _imports(ast.iter_child_nodes(node))


def _is_type_checking(test: ast.expr) -> bool:
    return ast.unparse(test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def _part(body: list[ast.stmt], name: str, path: str) -> list[ast.stmt]:
    """A class or function of a file, and the statements of the file that it uses, one by another."""
    bound = {one: statement for statement in body for one in _bound(statement)}
    if name not in bound:
        raise FileNotFoundError(
            f"{path} must define {name}, but does not. Name the root anew where it is named."
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
        waiting += [one.id for one in ast.walk(used) if isinstance(one, ast.Name)]
    return [statement for statement in body if id(statement) in chosen]


def _bound(statement: ast.stmt) -> Iterator[str]:
    """Names that a statement of a file binds."""
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        yield statement.name
    elif isinstance(statement, (ast.Import, ast.ImportFrom)):
        yield from ((one.asname or one.name).partition(".")[0] for one in statement.names)
    elif isinstance(statement, (ast.Assign, ast.AnnAssign)):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        yield from (one.id for target in targets for one in ast.walk(target) if isinstance(one, ast.Name))


@contextmanager
def _uncollected() -> Iterator[None]:
    """Build a syntax tree twice as fast: nothing in it is garbage yet."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
