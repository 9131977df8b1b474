"""Edits of the package and the assets they make stale: python -m moola_pipeline_tests.staleness.edits."""

import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from moola_pipeline.code_digests import LIBRARIES, PACKAGE, SourceTree
from moola_pipeline.settings import PROFILES
from moola_pipeline.staleness.data_digests import DataDigests
from moola_pipeline.staleness.fingerprints import PIPELINE_LABEL, PackageCode, all_ingredients
from moola_pipeline.staleness.stages import STAGES

Change = Callable[[str], str]
DATA = DataDigests(
    digests={name: f"digest of {name}" for stage in STAGES.values() for name in stage.data_digests},
    rows={},
    contents={"raw_nq_bars": "digest of the rows", "labeled_expansions": "digest of the labels"},
)
"""The same before and after an edit: a parser that was edited still reads the same rows."""


class Edit(NamedTuple):
    """An edit, and the assets that it must make stale; all others must stay up to date.

    Attributes:
        what: A short description.
        path: The edited file, below the package; or a library, whose version changes.
        change: Maps the old text to the new one.
        stale: The assets, by `NAMES`.
    """

    what: str
    path: str
    change: Change
    stale: str


NAMES = {
    "bars": "raw_nq_bars",
    "labels": "labeled_expansions",
    "features": "relativity_features",
    "windows": "densified_windows",
    "encoder": "pretrained_encoder",
    "classifier": "finetuned_classifier",
    "report": "bootstrap_ci_report",
    "model": "registered_model",
    "latest": "latest_expansions",
}
"""Short names of the assets, in the order of the pipeline."""


def code(text: str) -> str:
    """Add a statement."""
    return f"{text}\nEDITED = True\n"


def comment(text: str) -> str:
    """Add a comment, which moves all lines."""
    return f"# a comment\n\n{text}"


def docstrings(text: str) -> str:
    """Change every docstring that ends its line."""
    return text.replace('"""\n', ' Other words."""\n')


def template(text: str) -> str:
    """Add a paragraph."""
    return f"{text}<p>more</p>"


def replaced(old: str, new: str) -> Change:
    """Replace a text that occurs once."""

    def change(text: str) -> str:
        assert text.count(old) == 1, f"{old!r} must occur in the file once, got {text.count(old)} times"
        return text.replace(old, new)

    return change


def version(installed: str) -> str:
    """The next version."""
    return f"{installed}.1"


FEATURES_ON = "features windows encoder classifier report model latest"
TABLE = (
    Edit("every docstring of a module that trains", "training/pretrain.py", docstrings, ""),
    Edit("every docstring of the bars' schema", "bars/schema.py", docstrings, ""),
    Edit("a comment in the zigzag", "features/zigzag.py", comment, ""),
    Edit("a comment in an asset", "assets/finetuned_classifier.py", comment, ""),
    Edit("a vendor format, equal rows", "bars/formats.py", code, "bars"),
    Edit("the parser of DBN files, equal rows", "bars/dbn.py", code, "bars"),
    Edit("the generator of simulated bars: data", "bars/simulated/path.py", code, ""),
    Edit("how labels are placed, equal labels", "labels/placement.py", code, "labels report model"),
    Edit("which labels contradict", "labels/conflicts.py", code, "labels"),
    Edit("how labels are drawn: data", "labels/simulated_annotator.py", code, ""),
    Edit(
        "the order of splits",
        "labels/splits.py",
        code,
        "labels windows encoder classifier report model latest",
    ),
    Edit("the zigzag", "features/zigzag.py", code, FEATURES_ON),
    Edit("the pretraining windows", "windows/dense.py", code, FEATURES_ON.removeprefix("features ")),
    Edit(
        "the task of pretraining",
        "training/hidden_blocks.py",
        code,
        "encoder classifier report model",
    ),
    Edit("the entry point of torchrun", "training/pretrain_rank.py", code, "encoder classifier report model"),
    Edit("fine-tuning", "training/finetune.py", code, "classifier report model"),
    Edit("the teachers", "training/teachers.py", code, "classifier report model"),
    Edit("the span proposer", "models/span_proposer.py", code, "encoder classifier report model latest"),
    Edit("live inference", "inference/live.py", code, "report model latest"),
    Edit("the truth of simulated markets", "evaluation/simulated_truth.py", code, "report model"),
    Edit("drift", "evaluation/drift.py", code, "model latest"),
    Edit("the rule of promotion", "evaluation/promotion.py", code, "model"),
    Edit("the scores", "metrics/scores.py", code, "report model latest"),
    Edit("a template of the page", "report/report_front.jinja", template, "report model"),
    Edit("the verdict on the page", "report/verdict.py", code, "report model"),
    Edit("the served model's own file", "tracking/pyfunc.py", code, "model"),
    Edit("docstrings of the served model's file", "tracking/pyfunc.py", docstrings, ""),
    Edit(
        "the IO manager of the classifier",
        "resources/io_managers.py",
        replaced('artifact_path / "training.json", value', 'artifact_path / "facts.json", value'),
        "classifier report model",
    ),
    Edit(
        "what all IO managers share",
        "resources/io_managers.py",
        replaced("write_checksums(artifact_path)", "pass"),
        "",
    ),
    Edit(
        "how a version is registered",
        "tracking/registry.py",
        replaced("log_model(run, name, Path(folder), facts, kept_tags | digests)", "''"),
        "model",
    ),
    Edit("what is logged", "tracking/runs.py", code, ""),
    Edit("checksums", "storage/checksums.py", code, ""),
    Edit("the command run", "cli/run.py", code, ""),
    Edit("a benchmark", "benchmarks/speed.py", code, ""),
    Edit("what assets share", "assets/stage.py", code, ""),
    Edit(
        "the words of a setting",
        "settings.py",
        replaced('bootstrap resamples of sessions")\n    gallery', 'resamples")\n    gallery'),
        "",
    ),
    Edit(
        "what settings compute",
        "training/settings.py",
        replaced("return self.epochs +", "return 1 +"),
        "encoder classifier report model",
    ),
    Edit("the version of NumPy", "numpy", version, " ".join(NAMES)),
    Edit("the version of TA-Lib", "TA-Lib", version, FEATURES_ON),
    Edit("the version of Numba", "numba", version, FEATURES_ON),
    Edit("the version of torch", "torch", version, "encoder classifier report model latest"),
    Edit("the version of scikit-learn", "scikit-learn", version, "classifier report model latest"),
)


@cache
def parsed_before() -> Path:
    """A cache of the parsed package, so that each edit parses only one file."""
    path = Path(tempfile.mkdtemp()) / "parsed.json"
    package = PackageCode(SourceTree(PACKAGE, cache=path))
    for asset in STAGES:
        package.of_asset(asset)
    return path


def edited(path: str, change: Change, installed: Callable[[str], str] = lambda library: "1") -> PackageCode:
    """The package's code with one edited file, or with another version of a library."""
    versions = {name: installed(name) for name in LIBRARIES.values()}
    if path in versions:
        versions[path] = change(versions[path])

    def read(file: Path) -> bytes:
        content = file.read_bytes()
        return change(content.decode()).encode() if file == PACKAGE / path else content

    assert path in versions or read(PACKAGE / path) != (PACKAGE / path).read_bytes(), (
        "the edit must change it"
    )
    return PackageCode(SourceTree(PACKAGE, read, cache=parsed_before()), versions.__getitem__)


def data_versions(package: PackageCode) -> Mapping[str, str]:
    """Fingerprint of each asset for some code, on fixed data."""
    smoke = PROFILES["smoke"].model_dump(mode="json")
    settings = {PIPELINE_LABEL: "simulated-smoke", "splits": {}, "stride": 52, **smoke}
    made = all_ingredients(DATA, settings, "1", package)
    return {name: one.fingerprint for name, one in made.items()}


def stale_after(edit: Edit) -> set[str]:
    """The assets that an edit makes stale, by short name."""
    before = data_versions(edited("numpy", str))
    after = data_versions(edited(edit.path, edit.change))
    return {short for short, asset in NAMES.items() if before[asset] != after[asset]}


def main() -> None:
    """Print the table: the assets that each edit makes stale, and any deviation."""
    width = max(len(edit.what) for edit in TABLE)
    for edit in TABLE:
        result = stale_after(edit)
        shown = " ".join(name if name in result else "." * len(name) for name in NAMES)
        mark = "" if result == set(edit.stale.split()) else f"   MUST BE {edit.stale or 'nothing'}"
        print(f"{edit.what:<{width}}  {shown}{mark}")  # noqa: T201


if __name__ == "__main__":
    main()
