"""Digests of a home's outputs, without run ids and times, and consistency of its databases."""

import hashlib
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd
from safetensors.numpy import load_file

from moola_pipeline.bars.schema import content_digest
from moola_pipeline.storage.home import Home

STORED = ("raw_nq_bars", "labeled_expansions", "densified_windows", "latest_expansions")
CHANCE_KEYS = frozenset(
    {"run_id", "mlflow_run_id", "dagster_run_id", "made_at", "created_at", "seconds", "commit", "url"}
)


def outputs(home: Home, label: str = "simulated-smoke") -> dict[str, str]:
    """Digest of each output: tables, features, weights, predictions, report data."""
    store, report = home.store / label, home.reports / label / "report.json"
    found = {name: content_digest(pd.read_parquet(store / f"{name}.parquet")) for name in STORED}
    features = json.loads((store / "relativity_features.json").read_bytes())
    found["relativity_features"] = _digest(features)
    for path in sorted(store.rglob("*.safetensors")):
        found[path.relative_to(store).as_posix()] = _weights(path)
    found["report"] = _digest(without_chance(json.loads(report.read_bytes())))
    return found


def without_chance(value: Any) -> Any:
    """JSON without ids and times, which differ between two equal runs."""
    if isinstance(value, dict):
        return {key: without_chance(item) for key, item in value.items() if key not in CHANCE_KEYS}
    return [without_chance(item) for item in value] if isinstance(value, list) else value


def disorder(home: Home, model: str = "moola-simulated") -> list[str]:
    """Inconsistencies in versions, champion, slots, runs and databases; empty if there are none."""
    found = [
        f"{path.name}: {result}"
        for path in (*home.dagster.rglob("*.db"), *home.tracking.glob("*.db"))
        for (result,) in _rows(path, "PRAGMA integrity_check")
        if result != "ok"
    ]
    registry = home.tracking / "mlflow.db"
    versions = [
        str(one) for (one,) in _rows(registry, "SELECT version FROM model_versions WHERE name=?", model)
    ]
    aliases = dict(_rows(registry, "SELECT alias, version FROM registered_model_aliases WHERE name=?", model))
    if versions != ["1"]:
        found.append(f"versions {versions}")
    if {name: str(version) for name, version in aliases.items()} != {"champion": "1", "challenger": "1"}:
        found.append(f"aliases {aliases}")
    storage = home.dagster / "storage" / "history"
    slots = _rows(
        storage / "runs" / "index.db", "SELECT run_id FROM concurrency_slots WHERE run_id IS NOT NULL"
    )
    pending = _rows(storage / "runs" / "index.db", "SELECT run_id FROM pending_steps")
    runs = _rows(
        storage / "runs.db", "SELECT run_id, status FROM runs WHERE status IN ('STARTED', 'STARTING')"
    )
    return [*found, *(f"stuck: {one}" for one in (*slots, *pending, *runs))]


def _rows(path: Path, query: str, *values: str) -> list[tuple]:
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        return connection.execute(query, values).fetchall()


def _weights(path: Path) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(load_file(path).items()):
        digest.update(f"{name} {tensor.dtype} {tensor.shape}".encode() + tensor.tobytes())
    return digest.hexdigest()


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
