"""No text from a file can leave the home, run code, or open a port to other machines."""

import ast
import re
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from moola_pipeline.cli.ui import _dagster, _mlflow
from moola_pipeline.errors import IntegrityError
from moola_pipeline.labels.importing import add_labels
from moola_pipeline.storage.asset_checksums import checksums_file, prove
from moola_pipeline.storage.backup import LIST_NAME, restore
from moola_pipeline.storage.checksums import FileDigest, bytes_digest, listed, write_checksummed
from moola_pipeline.storage.home import HOME_FORMAT, PROJECT_ROOT, Home
from moola_pipeline_tests.fuzzing.label_readers import bar_table, label_rows
from moola_pipeline_tests.source_trees import parsed

MODULES = sorted((PROJECT_ROOT / "moola_pipeline").rglob("*.py"))
RUNS_TEXT = {"eval", "exec", "os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"}
UNPICKLES = {
    "torch.load",
    "pd.read_pickle",
    "pandas.read_pickle",
    "joblib.load",
    "yaml.load",
    "yaml.unsafe_load",
}
LEADING_OUT = ["../x", "a/../../x", "/etc/passwd", "a\nb", "table/../../../x"]


def _named(call: ast.Call) -> str:
    return ast.unparse(call.func)


def _faults(tree: ast.Module) -> Iterator[str]:
    """Calls that execute text, unpickle, or use a shell, and addresses open to other machines."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            if isinstance(node, ast.Constant) and node.value in ("0.0.0.0", "::"):
                yield "an address open to other machines"
            continue
        name = _named(node)
        given = {word.arg: ast.unparse(word.value) for word in node.keywords}
        if name in RUNS_TEXT or (name in UNPICKLES and given.get("weights_only") != "True"):
            yield name
        if given.get("shell", "False") != "False":
            yield f"{name} with a shell"
        if given.get("allow_pickle", "False") != "False":
            yield f"{name} with pickle"


@pytest.mark.parametrize(
    "source",
    [
        "eval(text)",
        "os.system(f'open {name}')",
        "subprocess.run(command, shell=True)",
        "subprocess.run(command, shell=chosen)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "yaml.load(text)",
        "server.bind(('0.0.0.0', 80))",
    ],
)
def test_forbidden_calls_are_found(source: str):
    assert len(list(_faults(ast.parse(source)))) == 1


@pytest.mark.parametrize(
    "source",
    [
        "subprocess.run([program, name], shell=False)",
        "torch.load(path, weights_only=True)",
        "np.load(path, allow_pickle=False)",
        "classifier.eval()",
        "yaml.safe_load(text)",
        "server.bind(('127.0.0.1', 80))",
    ],
)
def test_allowed_calls_are_not_reported(source: str):
    assert list(_faults(ast.parse(source))) == []


def test_no_module_executes_text_unpickles_uses_a_shell_or_serves_other_machines():
    found = {str(path.relative_to(PROJECT_ROOT)): list(_faults(parsed(path))) for path in MODULES}
    assert len(found) == len(MODULES)  # modules with equal names in two rooms do not hide each other
    assert {name: faults for name, faults in found.items() if faults} == {}


UNESCAPED = re.compile(r"\{\{\s*([^{}|]+?)\s*\|\s*safe\b")
LITERAL = re.compile(r"' class=\"\w+\"'")


def test_only_pictures_and_literals_are_unescaped_in_the_page():
    """Pictures come from matplotlib, which escapes their texts."""
    pages = sorted((PROJECT_ROOT / "moola_pipeline").rglob("*.jinja"))
    unescaped = {text for page in pages for text in UNESCAPED.findall(page.read_text(encoding="utf-8"))}
    assert unescaped
    assert all(LITERAL.fullmatch(text) for text in unescaped)
    marked = [line for path in MODULES for line in path.read_text("utf-8").splitlines() if "Markup(" in line]
    assert [line.strip() for line in marked] == ["drawn=lambda figure: Markup(inline_svg(figure)),"]


def test_both_servers_listen_on_loopback_only():
    for service, option in ((_dagster(3000), "-h"), (_mlflow(5000), "--host")):
        command = list(service.command)
        assert command[command.index(option) + 1] == "127.0.0.1"


@pytest.mark.parametrize("name", LEADING_OUT)
def test_a_checksum_file_with_a_path_out_of_its_folder_is_refused(name: str, tmp_path: Path):
    path = tmp_path / "store" / "table"
    write_checksummed(checksums_file(path), {"files": listed({name: FileDigest("0" * 64, 1)})})
    with pytest.raises(IntegrityError, match="must hold digests, but it cannot be read"):
        prove(path)


def test_a_symlink_in_an_archive_is_restored_as_a_plain_file(tmp_path: Path):
    outside = tmp_path / "outside"
    outside.write_text("not ours")
    content = str(outside).encode()
    link = zipfile.ZipInfo("data/link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    files = listed({"data/link": bytes_digest(content)})
    write_checksummed(tmp_path / LIST_NAME, {"moola": "x", "format": HOME_FORMAT, "files": files})
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr(link, content)
        archive.write(tmp_path / LIST_NAME, LIST_NAME)
    restore(Home(tmp_path / "home"), tmp_path / "b.zip", force=False)
    restored = tmp_path / "home" / "data" / "link"
    assert not restored.is_symlink()
    assert restored.read_bytes() == content
    assert outside.read_text() == "not ours"


def test_names_in_labels_are_never_used_as_paths(tmp_path: Path):
    hostile = "../../../../{}"
    rows = label_rows().iloc[:2]
    rows = rows.assign(
        window_id=[hostile.format("a"), "/etc/passwd"], annotator=hostile.format("b"), batch="~/x"
    )
    (tmp_path / "own").mkdir()
    path = tmp_path / "own" / "labels.csv"
    rows.to_csv(path, index=False)
    before = {file for file in tmp_path.rglob("*") if file.is_file()}
    ledger = add_labels(tmp_path / "home" / "data" / "labels", path, bar_table(), drop_bad=False)
    assert ledger.kept == 2
    new = {file for file in tmp_path.rglob("*") if file.is_file()} - before
    assert all(file.is_relative_to(tmp_path / "home" / "data" / "labels") for file in new)
    assert {file.name.lstrip(".").removesuffix(".lock") for file in new} == {
        "labels.csv",
        "ledger.json",
        "judgments.jsonl",
    }
