"""Names are the field's words: retired ones do not come back, and a class name means one thing."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from moola_pipeline.storage.home import PROJECT_ROOT
from moola_pipeline_tests.source_trees import parsed

PACKAGE = PROJECT_ROOT / "moola_pipeline"
MODULES = sorted(PACKAGE.rglob("*.py"))
RETIRED_PARTS = {
    "absences": "missing_files",
    "annotation": "predictions",
    "begun": "onset",
    "ceiling": "second_pass",
    "elsewhere": "remote",
    "faultpoint": "crash_injection",
    "faultpoints": "crash_injection",
    "handover": "job_files",
    "judged": "evaluated",
    "lesson": "pseudo_labels",
    "lessons": "pseudo_labels",
    "peer": "baseline",
    "peers": "baselines",
    "publish": "atomic_write",
    "reign": "champion_period",
    "reigns": "champion_periods",
    "repainted": "augmented",
    "rival": "method",
    "rivals": "methods",
    "ruling": "promotion_decision",
    "seal": "checksums",
    "seals": "checksums",
    "taught": "distilled",
    "teach": "distill",
    "teaching": "distillation",
    "told": "given",
}
"""Parts of a name that do not come back, and what is said now."""
RETIRED_NAMES = {
    "Annotator": "ExpansionModel",
    "Decisions": "Thresholds",
    "Fault": "WorkerError",
    "Finding": "a check of its own kind",
    "Ground": "ResampledWindows",
    "Known": "KnownTargets",
    "Market": "InstrumentData",
    "PassingFaults": "RetryTransientErrors",
    "Promised": "LazyResult",
    "Reading": "SpanLogits or TimeConvention",
    "Rule": "SpanProposer",
    "Seen": "BaselineInputs",
    "Sources": "DataDigests",
    "Team": "ProcessGroup",
    "Trial": "LabeledTestSet",
    "absences": "missing_files",
    "arrival": "imported_promotion",
    "attached": "parent_watchdog",
    "averaging": "weight_averaging",
    "begun": "onset_candidates",
    "calibrating": "calibration",
    "cells": "number_parsing",
    "containers": "decompress",
    "decisions": "thresholds",
    "evidence": "plausibility",
    "exclusive": "sqlite_lock",
    "faults": "exit_codes",
    "growing": "open_session",
    "interrupts": "signals",
    "label_epochs": "supervised_loop",
    "layouts": "table_reader",
    "place": "artifact_path",
    "places": "job_files",
    "profiles": "settings",
    "reading": "open_read_only",
    "recomputing": "activation_checkpointing",
    "sending": "to_device",
    "sources": "data_digests",
    "team": "process_group",
    "trial": "test_set",
    "trials": "cell_runs",
    "truth": "simulated_truth",
    "vocabulary": "metric_catalog",
}
"""Whole names that do not come back as a module, class or public function."""


def retired(name: str) -> str | None:
    """What to say in place of a name; None for one that may stand."""
    return RETIRED_NAMES.get(name) or retired_part(name)


def retired_part(name: str) -> str | None:
    """What to say in place of a part of a name."""
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)
    return next((RETIRED_PARTS[part.lower()] for part in parts if part.lower() in RETIRED_PARTS), None)


def definitions(nodes: list[ast.stmt]) -> Iterator[str]:
    """Classes and public functions among statements."""
    for node in nodes:
        if isinstance(node, ast.ClassDef) or (
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_")
        ):
            yield node.name


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("lessons", "pseudo_labels"),
        ("score_peers", "baselines"),
        ("TypePeer", "baseline"),
        ("publish_json", "atomic_write"),
        ("Market", "InstrumentData"),
        ("MarketArrays", None),
        ("test_set", None),
        ("thresholds", None),
    ],
)
def test_a_retired_word_is_found_in_any_spelling(name: str, instead: str | None):
    assert retired(name) == instead


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_module_class_or_function_bears_a_retired_word(path: Path):
    tree = parsed(path)
    methods = [
        name for node in tree.body if isinstance(node, ast.ClassDef) for name in definitions(node.body)
    ]
    found = {name: retired(name) for name in (path.stem, *definitions(tree.body))}
    found |= {name: retired_part(name) for name in methods}
    assert not {name: instead for name, instead in found.items() if instead}


def test_no_setting_bears_a_retired_word():
    fields = {
        field.target.id
        for path in PACKAGE.rglob("settings.py")
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ClassDef)
        for field in node.body
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
    }
    assert fields
    assert not {name: instead for name in fields if (instead := retired(name))}


def test_a_class_name_means_one_thing():
    homes = defaultdict(list)
    for path in MODULES:
        for node in parsed(path).body:
            if isinstance(node, ast.ClassDef):
                homes[node.name].append(str(path.relative_to(PACKAGE)))
    assert not {name: paths for name, paths in homes.items() if len(paths) > 1}
