"""Values cannot be changed: every dataclass and settings class is frozen, except a few that count or wait."""

import ast

from moola_pipeline.storage.home import PROJECT_ROOT
from moola_pipeline_tests.source_trees import parsed

PACKAGE = PROJECT_ROOT / "moola_pipeline"
CHANGING = {
    "_Crash": "counts the hits of a crash point",
    "Progress": "counts what a study has computed",
    "RunningService": "keeps the last lines of a server",
    "RunningStage": "counts what a stage has done",
    "Tabs": "keeps which tab works",
}
"""Classes whose objects change, and why."""


def is_frozen(decorator_or_config: ast.expr) -> bool:
    keywords = decorator_or_config.keywords if isinstance(decorator_or_config, ast.Call) else []
    return any(each.arg == "frozen" and ast.unparse(each.value) == "True" for each in keywords)


def test_values_are_frozen_and_the_few_that_change_say_why():
    changing = set()
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(parsed(path)):
            if not isinstance(node, ast.ClassDef):
                continue
            declared = [each for each in node.decorator_list if ast.unparse(each).startswith("dataclass")]
            declared += [
                each.value
                for each in node.body
                if isinstance(each, ast.Assign) and ast.unparse(each.targets[0]) == "model_config"
            ]
            changing |= {node.name for each in declared if not is_frozen(each)}
    assert changing == set(CHANGING)
