"""Mutation testing: change one operator, number or condition at a time; the module's tests must fail.

`python -m moola_pipeline_tests.mutation --count 400`. Positions are drawn by seed from all positions of
TARGETS, and at each one mutation of those that Cosmic Ray knows (install `moola[mutation]`). Not mutated:
type annotations, which no test can notice, and functions compiled by numba, which have naive twins. A
mutant counts as noticed if a test fails or hangs. Results are kept in build/mutation; an interrupted
command resumes. It ends with 1 if more than a tenth survive.
"""

import ast
import difflib
import hashlib
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import click

from moola_pipeline.storage.atomic_write import atomic_write_json
from moola_pipeline.storage.home import PROJECT_ROOT
from moola_pipeline_tests.broken_guards import copied_source
from moola_pipeline_tests.counts import record

_JUDGED_FILES = ("bars/test_plausibility.py", "bars/test_reported_kinds.py", "bars/test_random_files.py")
TARGETS = {
    "labels/splits": ("labels/test_splits.py", "labels/test_chosen_splits.py"),
    "labels/split_checks": ("labels/test_split_checks.py",),
    "labels/judgment_rows": ("labels/test_judgments.py", "labels/test_added_judgments.py"),
    "labels/judgments": ("labels/test_judgments.py", "labels/test_added_judgments.py"),
    "metrics/alarms": ("metrics/test_alarms.py",),
    "metrics/bootstrap": ("metrics/test_bootstrap.py", "metrics/test_scores.py"),
    "metrics/calibration": ("metrics/test_calibration.py",),
    "metrics/definitions": ("metrics/test_definitions.py", "metrics/test_scores.py"),
    "metrics/matching": ("metrics/test_matching.py",),
    "metrics/overlap": ("metrics/test_overlap.py",),
    "metrics/scores": ("metrics/test_scores.py", "metrics/test_residuals.py"),
    "evaluation/promotion": ("evaluation/test_promotion.py",),
    "tracking/promotion_log": ("tracking/test_promotion_log.py",),
    "storage/checksums": ("storage/test_checksums.py",),
    "storage/asset_checksums": ("storage/test_asset_checksums.py",),
    "storage/atomic_write": ("storage/test_atomic_write.py",),
    "bars/plausibility": _JUDGED_FILES,
    "bars/zone_checks": _JUDGED_FILES,
    "bars/stamp_checks": _JUDGED_FILES,
    "bars/overlap": ("bars/test_overlap.py",),
    "bars/coverage": ("bars/test_coverage.py",),
    "bars/cleaning": ("bars/test_cleaning.py",),
}
"""Modules that results and kept files depend on, and the tests that must notice a change of each."""
FOR_ALL = ("test_immutable.py",)
"""Tests of every module."""
MOST_SURVIVORS = 0.1
TIMEOUT_SECONDS = 600
_FOLDER = PROJECT_ROOT / "build" / "mutation"


@dataclass(frozen=True)
class Mutant:
    """One change of one module.

    Attributes:
        module: Of TARGETS.
        operator, occurrence: Cosmic Ray's name of the mutation, and which of its places in the module.
        line: Of the change.
    """

    module: str
    operator: str
    occurrence: int
    line: int

    @property
    def path(self) -> Path:
        """The module, relative to the project."""
        return Path("moola_pipeline") / f"{self.module}.py"

    def mutated(self, source: str) -> str:
        """The source with the change."""
        operator = _cosmic_ray("plugins").get_operator(self.operator)()
        changed = _cosmic_ray("mutating").mutate_code(source, operator, self.occurrence)
        if changed is None:
            raise ValueError(f"{self.path} must have {self.occurrence + 1} places for {self.operator}")
        return changed


def mutants_of(module: str, source: str) -> Iterator[list[Mutant]]:
    """The mutants of a module, grouped by position."""
    trees, plugins = _cosmic_ray("ast"), _cosmic_ray("plugins")
    tree, kept_out = trees.get_ast(source), list(_not_mutated(ast.parse(source)))
    by_position: dict[tuple[Any, Any], list[Mutant]] = {}
    for name in plugins.operator_names():
        operator_class = plugins.get_operator(name)
        if operator_class.arguments():
            continue  # those that need the names of variables
        operator, occurrence = operator_class(), 0
        for node in trees.ast_nodes(tree):
            for start, end in operator.mutation_positions(node):
                if not any(first <= start < last for first, last in kept_out):
                    mutant = Mutant(module, name, occurrence, start[0])
                    by_position.setdefault((start, end), []).append(mutant)
                occurrence += 1
    return (by_position[position] for position in sorted(by_position))


def _cosmic_ray(module: str) -> Any:
    try:
        return import_module(f"cosmic_ray.{module}")
    except ImportError:
        raise click.ClickException(
            "Cosmic Ray must be installed. Run: pip install -c requirements.txt -e '.[mutation]'"
        ) from None


def _not_mutated(tree: ast.Module) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Start and end of annotations and of functions that numba compiles."""
    for node in ast.walk(tree):
        found: list[ast.expr | ast.stmt | None] = []
        if isinstance(node, ast.FunctionDef):
            found.append(node.returns)
            if any("njit" in ast.unparse(decorator) for decorator in node.decorator_list):
                first = min(decorator.lineno for decorator in node.decorator_list)
                yield (first, 0), (node.end_lineno or node.lineno, sys.maxsize)
        elif isinstance(node, ast.arg | ast.AnnAssign):
            found.append(node.annotation)
        for part in found:
            if part is not None and part.end_lineno is not None and part.end_col_offset is not None:
                yield (part.lineno, part.col_offset), (part.end_lineno, part.end_col_offset)


def drawn(count: int, seed: int) -> list[Mutant]:
    """`count` positions of all modules, and one mutation at each."""
    rng = random.Random(seed)
    positions = [
        mutants
        for module in TARGETS
        for mutants in mutants_of(module, (PROJECT_ROOT / f"moola_pipeline/{module}.py").read_text())
    ]
    chosen = rng.sample(positions, min(count, len(positions)))
    return [rng.choice(mutants) for mutants in chosen]


def noticed(mutant: Mutant, folder: Path) -> bool:
    """Whether a test fails or hangs with the change, in a copy of the project; the copy is restored."""
    path = folder / mutant.path
    source = path.read_text()
    path.write_text(mutant.mutated(source))
    tests = [f"moola_pipeline_tests/{name}" for name in (*FOR_ALL, *TARGETS[mutant.module])]
    words = ["-q", "-x", "-p", "no:cacheprovider", "-m", "not slow", "--no-header", "--tb=no"]
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *words, *tests],
            cwd=folder, capture_output=True, timeout=TIMEOUT_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return True
    finally:
        path.write_text(source)
    return done.returncode != 0


def result_file(mutant: Mutant) -> Path:
    """Where the result of a mutant is kept: it depends on the module and on its tests."""
    digest = hashlib.sha256(json.dumps(asdict(mutant), sort_keys=True).encode())
    tests = [PROJECT_ROOT / "moola_pipeline_tests" / name for name in (*FOR_ALL, *TARGETS[mutant.module])]
    for path in (PROJECT_ROOT / mutant.path, *tests):
        digest.update(path.read_bytes())
    return _FOLDER / f"{digest.hexdigest()[:16]}.json"


def difference(mutant: Mutant) -> str:
    """The change as a diff without context."""
    source = (PROJECT_ROOT / mutant.path).read_text()
    lines = difflib.unified_diff(source.splitlines(), mutant.mutated(source).splitlines(), n=0, lineterm="")
    return "\n".join(line for line in lines if not line.startswith(("---", "+++", "@@")))


def run_mutants(mutants: Sequence[Mutant], workers: int) -> None:
    """Test those without a kept result, each in a copy of the project."""
    missing = [mutant for mutant in mutants if not result_file(mutant).is_file()]
    with tempfile.TemporaryDirectory() as name:
        folders: SimpleQueue[Path] = SimpleQueue()
        for number in range(workers):
            folder = Path(name) / str(number)
            folder.mkdir()
            folders.put(copied_source(folder))

        def test(mutant: Mutant) -> None:
            folder, began = folders.get(), time.monotonic()
            is_noticed = noticed(mutant, folder)
            folders.put(folder)
            atomic_write_json(result_file(mutant), {**asdict(mutant), "noticed": is_noticed})
            word = "noticed" if is_noticed else "SURVIVES"
            place = f"{mutant.path}:{mutant.line}"
            click.echo(f"{word} {time.monotonic() - began:.0f} s {place} {mutant.operator}", err=True)

        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(test, missing))


@click.command()
@click.option("--count", type=click.IntRange(1), default=400, show_default=True, help="Mutants drawn.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--workers", type=click.IntRange(1), default=2, show_default=True, help="Tested at once.")
def main(count: int, seed: int, workers: int) -> None:
    """Draw mutants, test each, and print those that no test notices."""
    began, mutants = time.monotonic(), drawn(count, seed)
    run_mutants(mutants, workers)
    alive = [mutant for mutant in mutants if not json.loads(result_file(mutant).read_bytes())["noticed"]]
    for mutant in sorted(alive, key=lambda it: (it.module, it.line)):
        click.echo(f"{mutant.path}:{mutant.line} {mutant.operator}\n{difference(mutant)}\n")
    click.echo(f"{len(alive)} of {len(mutants)} mutants survive, seed {seed}")
    seconds = time.monotonic() - began
    record(f"mutants, seed {seed}", seconds=seconds, mutants=len(mutants), survivors=len(alive))
    if len(alive) > MOST_SURVIVORS * len(mutants):
        sys.exit(1)


if __name__ == "__main__":
    main()
