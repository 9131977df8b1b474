"""Project-wide checks: dependencies, pins, imports, one storage for Dagster."""

import ast
import importlib
import pkgutil
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.instance.ref import InstanceRef

from moola_pipeline.storage.home import PROJECT_ROOT
from moola_pipeline_tests.source_trees import parsed

PACKAGE = PROJECT_ROOT / "moola_pipeline"
MODULES = sorted(PACKAGE.rglob("*.py"))
MODULE_NAMES = sorted(
    info.name
    for info in pkgutil.walk_packages([str(PACKAGE)], "moola_pipeline.")
    if not info.name.endswith(".__main__")
)
NOT_IMPORTED = {
    "boto3": "MLflow uses it for buckets",
    "dagster-postgres": "deploy/cluster/dagster.yaml uses its storage",
    "nvidia-ml-py": "system_metrics imports it by name, because it is optional without a GPU",
    "psycopg2-binary": "SQLAlchemy uses it for PostgreSQL",
}
PICKLERS = {"pickle", "cloudpickle", "dill", "joblib", "shelve"}
MACHINE_PATH = re.compile(r"(?<![\w.>}])/(work|farm|root|tmp|Users|home/\w+)/")


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def _pins() -> dict[str, str]:
    lines = (PROJECT_ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    listed = [line.partition("#")[0].strip() for line in lines]
    return dict(line.split("==") for line in listed if line)


def _declared() -> set[str]:
    project = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["databento"], *extras["cluster"]]
    names = (re.match(r"[\w.-]+", requirement) for requirement in wanted)
    return {_canonical(name[0]) for name in names if name}


def test_declared_dependencies_are_the_imported_ones():
    outside = {name for path in MODULES for name in _imported(parsed(path))}
    outside -= set(sys.stdlib_module_names) | {"moola_pipeline"}
    distributions = {"databento_dbn": ["databento-dbn"], **metadata.packages_distributions()}
    owners = [{_canonical(owner) for owner in distributions[name]} for name in outside]
    assert all(names & _declared() for names in owners)
    assert set().union(*owners) & _declared() | set(NOT_IMPORTED) == _declared()


def test_every_pin_is_exact_and_matches_the_installed_version():
    pins = {_canonical(name): version for name, version in _pins().items()}
    assert all(re.fullmatch(r"[\w.]+", version) for version in pins.values())
    installed = {_canonical(it.name): it.version.partition("+")[0] for it in metadata.distributions()}
    shared = pins.keys() & installed.keys()
    assert {name: installed[name] for name in shared} == {name: pins[name] for name in shared}
    assert _declared() <= pins.keys()


@pytest.mark.parametrize("name", MODULE_NAMES)
def test_every_module_imports(name: str):
    assert importlib.import_module(name).__name__ == name


def test_no_module_pickles():
    found = {str(path): set(_imported(parsed(path))) & PICKLERS for path in MODULES}
    assert not {path: names for path, names in found.items() if names}


def test_the_window_length_is_defined_once():
    def states_105(path: Path) -> bool:
        constants = (node for node in ast.walk(parsed(path)) if isinstance(node, ast.Constant))
        return any(type(node.value) is int and node.value == 105 for node in constants)

    assert [path for path in MODULES if states_105(path)] == [PACKAGE / "windows" / "window_geometry.py"]


def test_tracked_files_contain_no_path_of_one_machine():
    git = shutil.which("git")
    if git is None or not (PROJECT_ROOT / ".git").exists():
        pytest.skip("needs the git repository to know which files are tracked")
    command = [git, "ls-files", "-z"]
    listed = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, check=True, text=True)
    tracked = [PROJECT_ROOT / name for name in listed.stdout.split("\0") if name]
    texts = {path: path.read_text("utf-8", "ignore") for path in tracked if path.is_file()}
    assert not [path for path, text in texts.items() if MACHINE_PATH.search(text)]


def test_dagster_dg_and_the_workspace_load_the_same_definitions():
    tools = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    [entry] = yaml.safe_load((PROJECT_ROOT / "workspace.yaml").read_text(encoding="utf-8"))["load_from"]
    module = entry["python_module"]
    assert tools["dagster"]["module_name"] == module
    assert tools["dg"]["directory_type"] == "project"
    assert tools["dg"]["project"]["code_location_target_module"] == module
    assert module.startswith(f"{tools['dg']['project']['root_module']}.")


def test_plain_dagster_and_dagster_home_share_one_storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    root, other = tmp_path / "root", tmp_path / "other"
    root.mkdir()
    other.mkdir()
    shutil.copy(PROJECT_ROOT / "dagster.yaml", root)
    monkeypatch.chdir(root)
    plain = InstanceRef.from_dir(str(other), config_dir=str(root))  # as `dagster dev` does
    with dg.DagsterInstance.from_ref(plain) as instance:
        instance.add_dynamic_partitions("files", ["a"])
    monkeypatch.setenv("DAGSTER_HOME", str(root))
    with dg.DagsterInstance.get() as instance:
        assert instance.get_dynamic_partitions("files") == ["a"]
    assert not list(other.rglob("*.db"))
