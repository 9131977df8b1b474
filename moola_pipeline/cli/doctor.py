"""`moola doctor`: checks of the installation and the home, with their remedies."""

import dataclasses
import re
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Callable, Sized
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Literal

import click

from moola_pipeline.cli.output import emit, json_option, shown_time
from moola_pipeline.cli.services import is_free
from moola_pipeline.errors import MissingArtifact, MoolaError
from moola_pipeline.storage.home import PROJECT_ROOT, Home

MIN_PYTHON = (3, 11)
MIN_FREE_GIB = 2
STALE_SECONDS = 3600
PORTS = {"Dagster": 3000, "MLflow": 5000}


@dataclasses.dataclass(frozen=True)
class DoctorCheck:
    """The result of one check."""

    status: Literal["ok", "warn", "fail"]
    what: str
    detail: str


@click.command()
@json_option
@click.pass_context
def doctor(context: click.Context, as_json: bool) -> None:
    """Check the installation and the home, and show remedies. Exits 1 if a check fails."""
    home: Home = context.obj
    findings = [_run_check(what, check, home) for what, check in CHECKS.items()]
    healthy = all(finding.status != "fail" for finding in findings)
    facts = {
        "healthy": healthy,
        "home": str(home.root),
        "checks": [dataclasses.asdict(finding) for finding in findings],
    }
    emit(facts, [f"{it.status:<4}  {it.what:<9}  {it.detail}" for it in findings], as_json)
    context.exit(0 if healthy else MoolaError.exit_code)


def _run_check(what: str, check: Callable[[Home], DoctorCheck], home: Home) -> DoctorCheck:
    try:
        return check(home)
    except (MoolaError, ImportError, OSError) as error:
        return DoctorCheck("fail", what, " ".join(str(error).split()))


def _python(_: Home) -> DoctorCheck:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < MIN_PYTHON:
        return DoctorCheck("fail", "python", f"must be >= {MIN_PYTHON[0]}.{MIN_PYTHON[1]}, got {version}")
    return DoctorCheck("ok", "python", version)


def _packages(_: Home) -> DoctorCheck:
    """Compare installed packages with requirements.txt; only dependencies of the project must exist."""
    pins = _pinned()
    installed = {
        _canonical(package.name): package.version.partition("+")[0] for package in metadata.distributions()
    }
    if missing := sorted(_required() - installed.keys()):
        return DoctorCheck("fail", "packages", f"{', '.join(missing)} must be installed. Run: make install")
    others = [
        f"{name} {installed[name]} ({pin} is pinned)"
        for name, pin in pins.items()
        if installed.get(name, pin) != pin
    ]
    if others:
        return DoctorCheck("warn", "packages", f"{', '.join(others)}. Run: make install")
    return DoctorCheck("ok", "packages", f"{len(pins.keys() & installed.keys())} installed as pinned")


def _pinned() -> dict[str, str]:
    lines = (PROJECT_ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.partition("#")[0].strip().partition("==") for line in lines)
    return {_canonical(name): version for name, equals, version in pairs if equals}


def _required() -> set[str]:
    project = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {_canonical(re.split(r"[<>=!~ \[]", line, maxsplit=1)[0]) for line in project["dependencies"]}


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _talib(_: Home) -> DoctorCheck:
    """Compute ATR(10) of bars that are all 2 points high."""
    import numpy as np
    import talib

    low = np.arange(30.0)
    atr = talib.ATR(low + 2, low, low + 1, timeperiod=10)[-1]
    if atr != 2:
        return DoctorCheck(
            "fail", "TA-Lib", f"ATR(10) of 2-point bars must be 2, got {atr}. Run: make install"
        )
    return DoctorCheck("ok", "TA-Lib", f"{metadata.version('ta-lib')}, ATR(10) is right")


def _device(_: Home) -> DoctorCheck:
    import torch

    from moola_pipeline.resources.compute import Compute

    device = Compute().prepare()
    name = torch.cuda.get_device_name() if device == "cuda" else "float32"
    return DoctorCheck("ok", "device", f"{device} ({name}), torch {torch.__version__}")


def _home(home: Home) -> DoctorCheck:
    folder = next(folder for folder in (home.root, *home.root.parents) if folder.exists())
    with tempfile.TemporaryFile(dir=folder) as probe:
        probe.write(b"moola")
    free = shutil.disk_usage(folder).free / 2**30
    detail = f"{home.root} is writable, {free:.1f} GiB free"
    if free < MIN_FREE_GIB:
        return DoctorCheck("warn", "home", f"{detail}: free some space, {MIN_FREE_GIB} GiB are needed")
    return DoctorCheck("ok", "home", detail)


def _bars(home: Home) -> DoctorCheck:
    from moola_pipeline.bars.store import read_manifest, registered_store, verify_files

    store = registered_store(home)
    files = read_manifest(store).files
    if not files:
        return DoctorCheck(
            "ok", "bars", "none registered, runs use simulated bars. To add bars: moola bars add FILE"
        )
    verify_files(store)
    first, last = min(entry.first for entry in files), max(entry.last for entry in files)
    n_bars = sum(entry.rows for entry in files)
    span = f"{shown_time(first)} to {shown_time(last)} UTC"
    return DoctorCheck("ok", "bars", f"{n_bars:,} in {_n_files(files)}, {span}, all SHA256 match")


def _rolls(home: Home) -> DoctorCheck:
    from moola_pipeline.bars.rolls import registered_rolls
    from moola_pipeline.bars.store import registered_store
    from moola_pipeline.cli.next_steps import ADD_ROLLS, lacks_rolls

    store = registered_store(home)
    if lacks_rolls(store):
        return DoctorCheck("warn", "rolls", f"{ADD_ROLLS['why']}. Run: {ADD_ROLLS['command']}")
    rolls = registered_rolls(store)
    return DoctorCheck("ok", "rolls", "none needed" if rolls is None else f"{len(rolls)} registered")


def _labels(home: Home) -> DoctorCheck:
    from moola_pipeline.bars.store import read_manifest, registered_store
    from moola_pipeline.cli.next_steps import ADD_BARS, ADD_LABELS
    from moola_pipeline.labels.registry import has_labels, registered_files, registered_labels

    store = registered_store(home)
    with_bars = bool(read_manifest(store).files)
    if not has_labels(store.labels):
        if with_bars:
            return DoctorCheck("warn", "labels", f"{ADD_LABELS['why']}. Run: {ADD_LABELS['command']}")
        return DoctorCheck("ok", "labels", "none registered")
    n_labels, files = len(registered_labels(store.labels)), registered_files(store.labels)
    detail = f"{n_labels:,} rows of {_n_files(files)}"
    if not with_bars:
        return DoctorCheck("warn", "labels", f"{detail}, but {ADD_BARS['why']}. Run: {ADD_BARS['command']}")
    return DoctorCheck("ok", "labels", detail)


def _report(home: Home) -> DoctorCheck:
    from moola_pipeline.cli.report import latest_report_folder

    try:
        folder = latest_report_folder(home)
    except MissingArtifact:
        return DoctorCheck("ok", "report", "none yet. Run: moola run")
    written = datetime.fromtimestamp((folder / "report.json").stat().st_mtime, UTC)
    return DoctorCheck(
        "ok", "report", f"the newest is {folder.relative_to(home.root)}, {shown_time(written)} UTC"
    )


def _ports(_: Home) -> DoctorCheck:
    taken = [f"{port} ({server})" for server, port in PORTS.items() if not is_free(port)]
    if taken:
        return DoctorCheck("warn", "ports", f"{', '.join(taken)} taken: moola ui uses the next free port")
    return DoctorCheck("ok", "ports", f"{' and '.join(map(str, PORTS.values()))} are free")


def _leftovers(home: Home) -> DoctorCheck:
    """Partly written files of killed commands, and locks that running commands hold."""
    oldest_allowed = datetime.now(UTC).timestamp() - STALE_SECONDS
    old = [path for path in home.data.rglob(".*.tmp") if path.stat().st_mtime < oldest_allowed]
    if old:
        names = ", ".join(str(path.relative_to(home.root)) for path in old[:3])
        return DoctorCheck(
            "warn",
            "leftovers",
            f"{_n_files(old, 'partly written ')} left by a killed command. Delete: {names}",
        )
    held_locks = [path.name for path in home.data.rglob(".*.lock") if _is_held(path)]
    if held_locks:
        return DoctorCheck(
            "warn", "leftovers", f"{', '.join(held_locks)} held by another command that is running"
        )
    return DoctorCheck("ok", "leftovers", "no partly written files, no lock held")


def _n_files(files: Sized, kind: str = "") -> str:
    return f"{len(files)} {kind}file{'' if len(files) == 1 else 's'}"


def _is_held(lock_file: Path) -> bool:
    from filelock import Timeout

    from moola_pipeline.storage.atomic_write import locked

    lock = locked(lock_file.with_name(lock_file.name.removeprefix(".").removesuffix(".lock")))
    try:
        with lock.acquire(timeout=0):
            return False
    except Timeout:
        return True


CHECKS: dict[str, Callable[[Home], DoctorCheck]] = {
    "python": _python,
    "packages": _packages,
    "TA-Lib": _talib,
    "device": _device,
    "home": _home,
    "bars": _bars,
    "rolls": _rolls,
    "labels": _labels,
    "report": _report,
    "ports": _ports,
    "leftovers": _leftovers,
}
