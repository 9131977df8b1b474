"""Numbers of a home's last run, independent of names: see --help.

`python -m moola_pipeline_tests.freeze HOME` prints one line per asset. With a second home it compares
the two and exits with 1 if a number differs. Names of folders, files, columns, tensors and JSON keys
are not compared. Identifiers, times, digests and code versions are exempt.
"""

import argparse
import hashlib
import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
from pandas.core.util import hashing
from safetensors.numpy import load_file

ASSETS = (
    "raw_nq_bars",
    "labeled_expansions",
    "relativity_features",
    "densified_windows",
    "pretrained_encoder",
    "finetuned_classifier",
    "bootstrap_ci_report",
    "registered_model",
    "latest_expansions",
)
REPORT_FILE = "report.json"
EXEMPT = ("seconds", "megabytes", "format", "version", "made_at", "workers")
"""JSON keys that are not results."""
Numbers = dict[str, Counter[str]]


def numbers_of(home: Path) -> Numbers:
    """Every tensor, table column and JSON number of a home, by asset.

    Raises:
        FileNotFoundError: If the home has no report: no run was completed there.
    """
    found: Numbers = {}
    for path in sorted((home / "data").rglob("*")):
        asset = _asset_of(path.relative_to(home))
        if asset is not None and path.is_file():
            found.setdefault(asset, Counter()).update(_numbers_in(path))
    if "bootstrap_ci_report" not in found:
        raise FileNotFoundError(f"{home} must hold a report, but {REPORT_FILE} is missing. Run moola run.")
    return found


def _asset_of(path: Path) -> str | None:
    """The asset that a file belongs to; None for files of no asset and for checksum files."""
    if path.name == REPORT_FILE:
        return "bootstrap_ci_report"
    if "mlflow" in path.parts or any(word in path.name for word in ("seal", "checksums")):
        return None
    names = {part.partition(".")[0] for part in path.parts}
    return next((asset for asset in ASSETS if asset in names), None)


def _numbers_in(path: Path) -> Iterator[str]:
    if path.suffix == ".safetensors":
        yield from (f"tensor {_digest(tensor)}" for tensor in load_file(path).values())
    elif path.suffix == ".parquet":
        frame = pd.read_parquet(path)
        for name in frame:
            yield f"column {_digest(hashing.hash_pandas_object(frame[name], index=False).to_numpy())}"
    elif path.suffix == ".json":
        values = _json_numbers(json.loads(path.read_text(encoding="utf-8")))
        yield from (f"number {value!r}" for value in values)
    elif path.suffix == ".npy":
        yield f"array {_digest(np.load(path))}"


def _digest(values: Any) -> str:
    array = np.ascontiguousarray(values)
    return hashlib.sha256(f"{array.dtype} {array.shape}".encode() + array.tobytes()).hexdigest()[:16]


def _json_numbers(value: Any, key: str = "") -> Iterator[float]:
    if any(word in key for word in EXEMPT):
        return
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _json_numbers(item, name)
    elif isinstance(value, list):
        for item in value:
            yield from _json_numbers(item, key)
    elif isinstance(value, float):
        yield value


def main() -> int:
    """Print the numbers of a home, or the differences between two homes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("home", type=Path)
    parser.add_argument("other", type=Path, nargs="?")
    options = parser.parse_args()
    first = numbers_of(options.home)
    if options.other is None:
        for asset, numbers in first.items():
            digest = hashlib.sha256(json.dumps(sorted(numbers.elements())).encode()).hexdigest()[:16]
            click.echo(f"{asset:<22} {numbers.total():>6} values  {digest}")
        return 0
    second, differing = numbers_of(options.other), 0
    for asset in sorted(first.keys() | second.keys(), key=ASSETS.index):
        gone = first.get(asset, Counter()) - second.get(asset, Counter())
        new = second.get(asset, Counter()) - first.get(asset, Counter())
        differing += gone.total() + new.total()
        same = first.get(asset, Counter()) & second.get(asset, Counter())
        click.echo(f"{asset:<22} {same.total():>6} equal, {gone.total()} gone, {new.total()} new")
        for sign, values in (("-", gone), ("+", new)):
            for value in list(values)[:5]:
                click.echo(f"    {sign} {value}")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
