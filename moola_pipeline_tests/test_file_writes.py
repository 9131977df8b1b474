"""All modules write files through `atomic_write` only: checked in their syntax trees."""

import ast
import re
from collections.abc import Iterator

import pytest

from moola_pipeline.storage.home import PROJECT_ROOT
from moola_pipeline_tests.source_trees import parsed

MODULES = sorted((PROJECT_ROOT / "moola_pipeline").rglob("*.py"))
WRITING_METHODS = {"write_text", "write_bytes"}
TARGET_POSITION = {
    **dict.fromkeys(("to_csv", "to_parquet", "to_json", "to_pickle", "to_feather", "to_html", "to_excel"), 0),
    **dict.fromkeys(("savefig", "tofile", "np.save", "np.savez", "np.savez_compressed", "np.savetxt"), 0),
    **dict.fromkeys(("save_file", "write_table", "write_csv", "write_feather", "torch.save", "json.dump"), 1),
    **dict.fromkeys(("copyfile", "copytree", "copy2", "shutil.copy", "shutil.move"), 1),
    **dict.fromkeys(("os.replace", "os.rename", "os.link", "os.symlink", "os.renames"), 1),
    **dict.fromkeys(("os.open", "os.truncate", "os.write"), 0),
}
QUALIFIED = ("np", "os", "shutil", "torch", "json")
"""Modules whose functions share a name with harmless methods, such as `frame.copy` and `text.replace`."""
HARMLESS = {"O_RDONLY", "os.devnull"}
"""Allowed arguments of `os.open`."""
IN_MEMORY = ("BytesIO", "StringIO", "BufferOutputStream")
TEMPORARY = {"atomic_write", "TemporaryDirectory"}


def _called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _mode(call: ast.Call) -> str:
    given = [word.value for word in call.keywords if word.arg == "mode"]
    given += call.args[0 if isinstance(call.func, ast.Attribute) else 1 :]
    return str(given[0].value) if given and isinstance(given[0], ast.Constant) else "r"


def _second(call: ast.Call) -> str:
    given = [word.value for word in call.keywords if word.arg == "mode"] + call.args[1:2]
    return str(given[0].value) if given and isinstance(given[0], ast.Constant) else "r"


def _target(call: ast.Call) -> ast.expr | None:
    """The target of a call that writes; None for other calls."""
    name = _called(call)
    receiver = call.func.value if isinstance(call.func, ast.Attribute) else None
    if isinstance(receiver, ast.Name) and receiver.id in QUALIFIED:
        name = f"{receiver.id}.{name}" if f"{receiver.id}.{name}" in TARGET_POSITION else name
    if name == "open":
        return (receiver or call.args[0]) if re.search("[wax+]", _mode(call)) else None
    if name in WRITING_METHODS:
        return receiver
    if name == "os.open" and any(flag in ast.unparse(call) for flag in HARMLESS):
        return None
    if name in ("ZipFile", "TarFile"):
        return call.args[0] if re.search("[wax]", _second(call)) else None
    if name in TARGET_POSITION:
        named = [word.value for word in call.keywords if word.arg in ("path", "path_or_buf")]
        return next(iter([*named, *call.args[TARGET_POSITION[name] :]]), None)
    return None


def _names(node: ast.AST) -> set[str]:
    return {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}


def _safe_names(tree: ast.Module) -> Iterator[str]:
    """Names bound by `with atomic_write(...) as name`, and names of in-memory buffers."""
    for node in ast.walk(tree):
        match node:
            case ast.withitem(ast.Call() as call, ast.Name(name)) if _called(call) in TEMPORARY:
                yield name
            case ast.Assign([ast.Name(name)], ast.Call() as call) if _called(call) in IN_MEMORY:
                yield name


def _unsafe_writes(tree: ast.Module) -> list[int]:
    safe = set(_safe_names(tree))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    targets = [(call.lineno, target) for call in calls if (target := _target(call)) is not None]
    return [line for line, target in targets if not _names(target) & safe]


@pytest.mark.parametrize(
    "source",
    [
        "path.write_text('x')",
        "open(path, 'w')",
        "path.open('ab')",
        "path.open(mode='r+')",
        "frame.to_parquet(path)",
        "frame.to_csv(path_or_buf=folder / 'x')",
        "save_file(tensors, path)",
        "shutil.copyfile(source, path)",
        "np.savez(path, scores=scores)",
        "figure.savefig(folder / 'x.png')",
        "shutil.copy(source, path)",
        "shutil.move(source, path)",
        "os.replace(source, path)",
        "os.rename(source, path)",
        "os.open(path, os.O_WRONLY)",
        "np.save(path, scores)",
        "pq.write_table(table, path)",
        "torch.save(tensors, path)",
        "json.dump(facts, path.open())",
        "zipfile.ZipFile(path, 'w')",
    ],
)
def test_a_write_without_atomic_write_is_found(source: str):
    assert _unsafe_writes(ast.parse(source)) == [1]


@pytest.mark.parametrize(
    "source",
    [
        "with atomic_write(path) as new:\n    frame.to_parquet(new)",
        "with atomic_write(path) as new:\n    save_file(tensors, str(new))",
        "with atomic_write(path) as new, new.open('wb') as stream:\n    stream.write(content)",
        "buffer = io.BytesIO()\nframe.to_parquet(buffer)",
        "text = frame.to_csv(index=False)",
        "content = save(tensors)",
        "open(path)",
        "path.open('rb')",
        "path.open(encoding='utf-8')",
        "text = text.replace('a', 'b')",
        "entry = dataclasses.replace(entry, file=name)",
        "os.open(path, os.O_RDONLY)",
        "zipfile.ZipFile(path)",
        "frame = frame.copy()",
    ],
)
def test_a_read_or_an_atomic_write_is_not_reported(source: str):
    assert _unsafe_writes(ast.parse(source)) == []


def test_files_are_written_through_atomic_write_only():
    others = [path for path in MODULES if path.parts[-2:] != ("storage", "atomic_write.py")]
    trees = {path: parsed(path) for path in others}
    assert not {str(path): lines for path, tree in trees.items() if (lines := _unsafe_writes(tree))}
