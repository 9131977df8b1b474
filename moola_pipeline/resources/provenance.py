"""What each asset was made from: fingerprints that tell whether making it again would change it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
from dagster._core.storage.asset_check_execution_record import (
    COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES,
    AssetCheckExecutionRecord,
)

from moola_pipeline.bars.schema import RAW_COLUMNS, content_digest
from moola_pipeline.labels.placement import place_labels
from moola_pipeline.labels.splits import SPLITS, assign_splits, resolve_dates, training_rows_end
from moola_pipeline.profiles import Market, Profile
from moola_pipeline.windows.frame import WINDOW_BARS

PACKAGE = Path(__file__).resolve().parent.parent
FINGERPRINT = "fingerprint"
PLACE = "place"
"""Market and profile: what one of them made does not stand in the folder of another."""


@dataclass(frozen=True)
class Stage:
    """What an asset depends on.

    Attributes:
        rooms: Parts of the package whose source decides the result.
        sources: Digests of data, as `source_digests` names them.
        settings: Parts of the profile.
        upstream: Assets whose own fingerprint counts.
    """

    rooms: tuple[str, ...]
    sources: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    upstream: tuple[str, ...] = ()


_MODEL_ROOMS = ("features", "windows", "models", "training")
STAGES = {
    "raw_nq_bars": Stage(("bars", "assets/bars.py"), ("bars",)),
    "labeled_expansions": Stage(
        ("labels", "assets/labels.py"), ("bars", "labels"), ("splits",), ("raw_nq_bars",)
    ),
    "relativity_features": Stage(("features", "assets/features.py"), ("bars",), upstream=("raw_nq_bars",)),
    "densified_windows": Stage(
        ("windows", "assets/windows.py"),
        ("bars", "labels"),
        ("splits", "stride"),
        ("labeled_expansions", "relativity_features"),
    ),
    "pretrained_encoder": Stage((*_MODEL_ROOMS, "assets/encoder.py"), ("bars.train",), ("pretrain",)),
    "finetuned_classifier": Stage(
        (*_MODEL_ROOMS, "labels", "assets/classifier.py"),
        ("bars.validation", "labels.train", "labels.validation"),
        ("finetune",),
        ("pretrained_encoder",),
    ),
    "bootstrap_ci_report": Stage(
        ("evaluation", "serving", "assets/report.py", "assets/scoring.py"),
        ("bars.test", "labels.test"),
        ("report",),
        ("finetuned_classifier",),
    ),
    "registered_model": Stage(
        ("serving", "resources/registry.py", "resources/pyfunc_model.py", "assets/registry.py"),
        upstream=("bootstrap_ci_report",),
    ),
    "latest_expansions": Stage(
        ("serving", "windows", "assets/predictions.py"),
        ("bars", "labels"),
        ("splits",),
        ("labeled_expansions", "relativity_features", "champion"),
    ),
}
"""The nine assets in the order of the work."""
INTEGRITY_CHECKS: dict[str, tuple[str, ...]] = {
    "raw_nq_bars": ("bars_match_manifest", "bars_valid"),
    "labeled_expansions": ("labels_on_bars", "splits_sound", "no_leakage"),
    "relativity_features": ("non_zero_density", "feature_spread"),
    "densified_windows": ("no_window_straddles", "dense_at_each_position"),
    "pretrained_encoder": ("beats_imputation", "training_period_only"),
    "finetuned_classifier": ("no_collapse",),
    "bootstrap_ci_report": ("baselines_present",),
    "registered_model": (),
    "latest_expansions": (),
}
"""Checks that block; an asset counts as made only if its own have passed."""


@cache
def code_version(asset: str) -> str:
    """Digest of the source that decides an asset: 12 hex digits."""
    digest = hashlib.sha256()
    for room in STAGES[asset].rooms:
        place = PACKAGE / room
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            digest.update(str(path.relative_to(PACKAGE)).encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def fingerprint(
    asset: str, sources: Mapping[str, str], settings: Mapping[str, Any], upstream: Mapping[str, str | None]
) -> str:
    """Digest of everything that decides an asset: 16 hex digits.

    Args:
        asset: Its name, one of `STAGES`.
        sources: At least the digests it depends on.
        settings: At least the settings it depends on and its place, as plain values.
        upstream: At least the fingerprints it depends on; None for one never made.
    """
    stage = STAGES[asset]
    parts = {
        "asset": asset,
        "code": code_version(asset),
        "sources": {name: sources[name] for name in stage.sources},
        "settings": {name: settings[name] for name in (PLACE, *stage.settings)},
        "upstream": {name: upstream.get(name) for name in stage.upstream},
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def stage_settings(market: Market, profile: Profile) -> dict[str, Any]:
    """The settings that fingerprints name."""
    return {
        PLACE: f"{market.name}-{profile.name}",
        "splits": market.splits.model_dump(mode="json"),
        "stride": profile.pretrain.stride,
        "pretrain": profile.pretrain.model_dump(mode="json"),
        "finetune": profile.finetune.model_dump(mode="json"),
        "report": profile.report.model_dump(mode="json"),
    }


def source_digests(market: Market) -> dict[str, str]:
    """Digests of the market's data: whole, and the part that each split may see.

    `bars` and `labels` are those of the files; `bars.train`, `bars.validation`, `bars.test` those
    of the rows up to the end of a split, and `labels.<split>` those of its labels, so that bars
    or labels beyond a split leave it as it was. Rows are read only when a file has changed.
    """
    whole = (market.bars_digest(), market.labels_digest(), market.splits.model_dump_json())
    return dict(_source_digests(market, *whole))


_known_digests: dict[tuple[str, ...], dict[str, str]] = {}


def _source_digests(market: Market, bars_digest: str, labels_digest: str, splits: str) -> dict[str, str]:
    key = (str(market.store.root), bars_digest, labels_digest, splits)
    if key not in _known_digests:
        bars = market.bars()
        labels = assign_splits(place_labels(market.labels(), bars).frame, bars, market.splits)
        split_digests = digests_by_split(bars, labels, market)
        _known_digests[key] = {"bars": bars_digest, "labels": labels_digest, **split_digests}
    return _known_digests[key]


def digests_by_split(bars: pd.DataFrame, labels: pd.DataFrame, market: Market) -> dict[str, str]:
    """Digests of the bars that training or the windows of a split may read, and of its labels."""
    columns = (*RAW_COLUMNS, "segment")
    digests = {}
    for split in SPLITS:
        chosen = labels.loc[labels["split"] == split]
        if split == SPLITS[0]:
            end = training_rows_end(bars, resolve_dates(market.splits, labels))
        else:
            end = int(chosen["bar0"].max()) + WINDOW_BARS if len(chosen) else 0
        digests[f"bars.{split}"] = content_digest(bars.iloc[:end], columns)
        digests[f"labels.{split}"] = content_digest(chosen.drop(columns=["bar0"]))
    return digests


@dataclass(frozen=True)
class Recorded:
    """The last materialization of an asset: its fingerprint, run, and whether its checks passed."""

    fingerprint: str | None
    run_id: str
    checks_passed: bool


def recorded(instance: dg.DagsterInstance, asset: str, check_names: tuple[str, ...]) -> Recorded | None:
    """What Dagster recorded of an asset's last materialization; None if there is none.

    A check counts as passed only if its last evaluation belongs to that materialization's run. A
    run that ended before it came to a check takes nothing from the evaluation of before.
    """
    key = dg.AssetKey(asset)
    event = instance.get_latest_materialization_event(key)
    if event is None or event.asset_materialization is None:
        return None
    metadata = event.asset_materialization.metadata
    value = metadata.get(FINGERPRINT)
    latest = [_last_evaluated(instance, asset, name) for name in check_names]
    passed = all(
        one is not None and one.run_id == event.run_id and one.status.value == "SUCCEEDED" for one in latest
    )
    return Recorded(str(value.value) if value is not None else None, event.run_id, passed)


def recorded_fingerprint(instance: dg.DagsterInstance, asset: str) -> str | None:
    """The fingerprint of an asset's last materialization."""
    found = recorded(instance, asset, ())
    return found.fingerprint if found else None


def evaluations(instance: dg.DagsterInstance, assets: list[str]) -> list[dg.AssetCheckEvaluation]:
    """The last evaluation of every check of some assets."""
    found = []
    for asset in assets:
        for name in INTEGRITY_CHECKS[asset]:
            record = _last_evaluated(instance, asset, name)
            event = record.event if record is not None else None
            if event is not None and event.dagster_event is not None:
                found.append(event.dagster_event.asset_check_evaluation_data)
    return found


def _last_evaluated(instance: dg.DagsterInstance, asset: str, check: str) -> AssetCheckExecutionRecord | None:
    key = dg.AssetCheckKey(dg.AssetKey(asset), check)
    found = instance.event_log_storage.get_asset_check_execution_history(
        key, limit=1, status=COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES
    )
    return found[0] if found else None
