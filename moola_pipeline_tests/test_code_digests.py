"""The closure of a file, on a package made up for it."""

import json
from pathlib import Path
from textwrap import dedent

import pytest

from moola_pipeline.code_digests import Parsed, SourceTree

LAZY = """
    from typing import TYPE_CHECKING

    if TYPE_CHECKING:
        from made_up.only_a_type import Kind
    else:
        from made_up.otherwise import Kind

    def work():
        from made_up.lazy import answer
        return answer
"""


@pytest.fixture
def package(tmp_path: Path):
    """A package of the given files."""

    def make(**files: str) -> SourceTree:
        root = tmp_path / "made_up"
        for name, text in files.items():
            path = root / f"{name.replace('__in__', '/')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(dedent(text))
        return SourceTree(root)

    return make


def files_of(tree: SourceTree, *roots: str) -> set[str]:
    return set(tree.code(roots).files)


def digest(package, text: str) -> str:
    return package(a=text).code(["a.py"]).files["a.py"]


def test_imports_inside_functions_count_and_those_for_the_type_checker_do_not(package):
    tree = package(a=LAZY, lazy="answer = 1", otherwise="Kind = int", only_a_type="Kind = int", unused="")
    assert files_of(tree, "a.py") == {"a.py", "lazy.py", "otherwise.py"}


def test_imports_are_followed_through_files_and_around_circles(package):
    tree = package(a="import made_up.b", b="from made_up import c", c="from made_up.a import x", d="")
    assert files_of(tree, "a.py") == {"a.py", "b.py", "c.py"}
    assert files_of(tree, "c.py") == {"a.py", "b.py", "c.py"}


def test_a_name_from_a_package_is_a_file_or_a_re_export(package):
    inside = {"room__in____init__": "from made_up.room.b import other\nfrom made_up.room.c import third"}
    tree = package(
        a="from made_up.room import b",
        d="from made_up.room import third",
        e="from made_up.room import defined_there",
        room__in__b="",
        room__in__c="",
        **inside,
    )
    assert files_of(tree, "a.py") == {"a.py", "room/b.py"}
    assert files_of(tree, "d.py") == {"d.py", "room/c.py"}
    assert files_of(tree, "e.py") == {"e.py", "room/b.py", "room/c.py"}


def test_a_closure_stops_at_carriers_unless_they_are_roots(package):
    tree = package(
        a="from made_up.storage import home\nfrom made_up.errors import Fault",
        errors="from made_up.b import x",
        b="",
        c="",
        storage__in__home="from made_up.c import y\nfrom made_up.storage import atomic",
        storage__in__atomic="",
    )
    assert files_of(tree, "a.py") == {"a.py"}
    assert files_of(tree, "a.py", "storage/home.py") == {"a.py", "c.py", "storage/home.py"}


def test_files_listed_alone_count_without_their_imports(package):
    tree = package(a="", b="import made_up.c", c="")
    assert set(tree.code(["a.py"], alone=["b*.py"]).files) == {"a.py", "b.py"}


def test_libraries_count_where_the_closure_imports_them(package):
    tree = package(
        a="import made_up.b", b="def f():\n    import sklearn.linear_model", c="from torch import nn"
    )
    assert tree.code(["a.py"]).libraries == {"scikit-learn"}
    assert tree.code(["c.py"]).libraries == {"torch"}


def test_prose_does_not_count_and_everything_else_does(package):
    before = digest(package, 'def f(x):\n    """Words."""\n    return x + 1\n')
    for prose in (
        '"""A module."""\n\ndef f(x):\n    """Other words."""\n    return x + 1  # why\n',
        "def f(x):\n    return (x +\n            1)\n",
        'def f(x):\n    """Words."""\n    return x + 1\n\n"""Of nothing."""\n',
    ):
        assert digest(package, prose) == before
    for code in (
        "def f(x):\n    return x + 2\n",
        "def f(x):\n    return x - 1\n",
        "def g(x):\n    return x + 1\n",
    ):
        assert digest(package, code) != before


def test_a_string_that_is_used_is_no_docstring(package):
    assert digest(package, 'x = "a"') != digest(package, 'x = "b"')
    assert digest(package, 'def f():\n    return "a"') != digest(package, 'def f():\n    return "b"')


CLASSES = """
    from made_up.b import used
    from made_up.c import unused

    LIMIT = 1

    class Base:
        shared = unused

    class One(Base):
        def work(self):
            return helper() + LIMIT

    class Two(Base):
        pass

    def helper():
        return used
"""


def test_a_class_counts_with_what_it_uses_and_without_what_it_inherits(package):
    def changed(old: str, new: str) -> bool:
        before = package(a=CLASSES, b="", c="").code(["a.py:One"]).files
        return package(a=CLASSES.replace(old, new)).code(["a.py:One"]).files != before

    tree = package(a=CLASSES, b="", c="")
    assert files_of(tree, "a.py:One") == {"a.py:One", "b.py"}
    assert changed("LIMIT = 1", "LIMIT = 2") and changed("return used", "return -used")
    assert not changed("pass", "x = 1") and not changed("shared = unused", "shared = 3")


def test_only_the_functions_of_settings_count(package):
    def settings(default: int, computed: str) -> dict[str, str]:
        head = f"import made_up.b\nclass S:\n    n: int = {default}\n"
        text = f"{head}    @property\n    def all(self):\n        {computed}"
        return package(a="import made_up.settings", settings=text, b="").code(["a.py"]).files

    assert settings(1, "return self.n") == settings(2, "return self.n")
    assert settings(1, "return self.n") != settings(1, "return -self.n")
    assert set(settings(1, "return self.n")) == {"a.py", "settings.py"}


@pytest.mark.parametrize(
    ("root", "expected"), [("gone.py", "gone.py"), ("a.py:gone", "a.py must define gone, but does not.")]
)
def test_a_root_that_does_not_exist_is_refused(package, root: str, expected: str):
    with pytest.raises(FileNotFoundError, match=expected):
        package(a="").code([root])


def test_a_relative_import_is_refused(package):
    with pytest.raises(ValueError, match=r"imports must be absolute, got one from \."):
        package(a="from . import b", b="").code(["a.py"])


def test_parsed_files_are_cached_for_the_next_process_until_they_change(package, tmp_path: Path):
    cache = tmp_path / "cache.json"
    root = package(a="import made_up.b", b="").package
    before = SourceTree(root, cache=cache).code(["a.py"])
    reader, entries = json.loads(cache.read_bytes())
    entries["b.py"][1] = Parsed("from the cache", [])
    cache.write_text(json.dumps([reader, entries]))
    assert SourceTree(root, cache=cache).code(["a.py"]).files["b.py"] == "from the cache"
    (root / "b.py").write_text("x = 1")
    assert SourceTree(root, cache=cache).code(["a.py"]).files["b.py"] not in (
        "from the cache",
        before.files["b.py"],
    )


@pytest.mark.parametrize("content", ["", "{", "[]", '["another reader", {}]', '["r", {"a.py": 1}]'])
def test_a_broken_cache_counts_as_empty(package, tmp_path: Path, content: str):
    cache = tmp_path / "cache.json"
    root = package(a="").package
    cache.write_text(content)
    assert SourceTree(root, cache=cache).code(["a.py"]) == SourceTree(root).code(["a.py"])
