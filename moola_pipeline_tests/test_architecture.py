"""docs/architecture.md: its recipes name what exists, and one of them is followed."""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from moola_pipeline.storage.home import PROJECT_ROOT
from moola_pipeline_tests.source_trees import parsed

TEXT = (PROJECT_ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
RECIPES = {
    title: re.findall(r"(?m)^\d\. .*$", steps)
    for title, steps in re.findall(
        r"### (An? [\w ]+)\n(.*?)(?=\n### |\n## |\Z)", TEXT.partition("## Where to add")[2], re.DOTALL
    )
}
FOLDERS = (PROJECT_ROOT, PROJECT_ROOT / "moola_pipeline", PROJECT_ROOT / "moola_pipeline_tests")
USE = """
import numpy as np
from moola_pipeline.metrics.scores import score_types
from moola_pipeline.report.metric_catalog import metric
from moola_pipeline_tests.evaluation.made_answers import made_ground, made_p
windows = made_ground(resamples=50)
scored = score_types(windows, made_p(windows, np.random.default_rng(0)))["accuracy"]
print(metric("accuracy").title, scored.n, scored.estimate == scored.estimate)
"""


def test_five_recipes_have_five_steps_each():
    assert list(RECIPES) == ["A feature", "A vendor format", "A metric", "A baseline", "An asset"]
    assert {title: len(steps) for title, steps in RECIPES.items()} == dict.fromkeys(RECIPES, 5)


def _exists(path: str) -> bool:
    if "NAME" in path:
        path = path.replace("NAME", "raw_nq_bars")
    return any((folder / path).exists() or any(folder.rglob(path)) for folder in FOLDERS)


@pytest.mark.parametrize("title", RECIPES)
def test_a_recipe_names_files_that_exist(title: str):
    quoted = re.findall(r"`([\w./]+\.(?:py|md))`", " ".join(RECIPES[title]))
    assert quoted
    assert not [path for path in quoted if not _exists(path)]


def test_recipes_name_functions_and_constants_that_exist():
    known = set()
    for folder in FOLDERS[1:]:
        for path in folder.rglob("*.py"):
            known |= {getattr(node, "name", "") for node in ast.walk(parsed(path))}
            known |= {node.id for node in ast.walk(parsed(path)) if isinstance(node, ast.Name)}
            known |= {node.arg for node in ast.walk(parsed(path)) if isinstance(node, ast.arg | ast.keyword)}
    text = " ".join(step for steps in RECIPES.values() for step in steps)
    named = set(re.findall(r"`(?:dg\.|@dg\.)?([A-Za-z]*[a-z_A-Z]{4,})`", text))
    assert named
    assert sorted(named - known - {"moola_pipeline_tests", "_bar_features"}) == []


def _insert(path: Path, before: str, text: str) -> None:
    source = path.read_text(encoding="utf-8")
    assert before in source
    path.write_text(source.replace(before, text + before, 1), encoding="utf-8")


def test_who_follows_the_recipe_of_a_metric_has_it_scored_and_titled(tmp_path: Path):
    package = tmp_path / "moola_pipeline"
    shutil.copytree(PROJECT_ROOT / "moola_pipeline", package, ignore=shutil.ignore_patterns("__pycache__"))
    _insert(
        package / "metrics" / "definitions.py",
        "def mcc(",
        "def accuracy(y, p_retracement, weights=None):\n"
        "    tp, fp, fn, tn = _confusion(y, p_retracement, weights)\n"
        "    return _ratio(tp + tn, tp + fp + fn + tn)\n\n\n",
    )
    _insert(package / "metrics" / "scores.py", '"mcc": mcc}', '"accuracy": accuracy, ')
    _insert(package / "metrics" / "scores.py", "    mcc,\n", "    accuracy,\n")
    _insert(
        package / "report" / "metric_catalog.py",
        '    "mcc": Metric(',
        '    "accuracy": Metric("Accuracy", "identification", "share of types that are right"),\n',
    )
    (tmp_path / "moola_pipeline_tests").symlink_to(PROJECT_ROOT / "moola_pipeline_tests")
    command = [sys.executable, "-c", USE]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False, env={"PYTHONPATH": str(tmp_path)}
    )
    assert done.returncode == 0, done.stderr
    title, n, is_a_number = done.stdout.split()
    assert (title, is_a_number) == ("Accuracy", "True")
    assert int(n) > 0
