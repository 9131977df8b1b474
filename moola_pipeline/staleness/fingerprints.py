"""What each asset was made from: fingerprints that tell whether making it again would change it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.storage.asset_check_execution_record import (
    COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES,
    AssetCheckExecutionRecord,
)
from pydantic import BaseModel, ConfigDict, ValidationError

from moola_pipeline.instrument_data import Market
from moola_pipeline.settings import Profile
from moola_pipeline.staleness.data_digests import Sources

PACKAGE = Path(__file__).resolve().parent.parent
FINGERPRINT = "fingerprint"
MADE_FROM = "made_from"
"""Under this name a materialization holds its `Ingredients`, so that a later change can be named."""
SOURCE_SUFFIXES = (".py", ".jinja")
PLACE = "place"
"""Market and profile: what one of them made does not stand in the folder of another."""


@dataclass(frozen=True)
class Stage:
    """What an asset depends on.

    Attributes:
        rooms: Parts of the package whose source decides the result.
        sources: Data, as `sources.read_sources` names it.
        settings: Parts of the profile.
        upstream: Assets whose own fingerprint counts.
    """

    rooms: tuple[str, ...]
    sources: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    upstream: tuple[str, ...] = ()


_MODEL_ROOMS = ("features", "windows", "models", "training")
STAGES = {
    "raw_nq_bars": Stage(("bars", "assets/raw_nq_bars.py"), ("bars",)),
    "labeled_expansions": Stage(
        ("labels", "assets/labeled_expansions.py"), ("bars", "labels"), ("splits",), ("raw_nq_bars",)
    ),
    "relativity_features": Stage(
        ("features", "assets/relativity_features.py"), ("bars",), upstream=("raw_nq_bars",)
    ),
    "densified_windows": Stage(
        ("windows", "assets/densified_windows.py"),
        ("bars", "labels"),
        ("splits", "stride"),
        ("labeled_expansions", "relativity_features"),
    ),
    "pretrained_encoder": Stage(
        (*_MODEL_ROOMS, "assets/pretrained_encoder.py"), ("bars.train",), ("pretrain",)
    ),
    "finetuned_classifier": Stage(
        (*_MODEL_ROOMS, "labels", "assets/finetuned_classifier.py"),
        ("bars.validation", "labels.train", "labels.validation"),
        ("finetune",),
        ("pretrained_encoder",),
    ),
    "bootstrap_ci_report": Stage(
        (
            "evaluation",
            "inference",
            "metrics",
            "report",
            "evaluation/live.py",
            "assets/bootstrap_ci_report.py",
            "evaluation/sections.py",
            "evaluation/ablations.py",
            "evaluation/scoring.py",
            "evaluation/test_set.py",
            "evaluation/test_set.py",
        ),
        ("bars.test", "labels.test", "labels.second pass", "study"),
        ("report", "splits"),
        ("finetuned_classifier",),
    ),
    "registered_model": Stage(
        (
            "inference",
            "tracking/registry.py",
            "tracking/served_model.py",
            "tracking/pyfunc.py",
            "assets/registered_model.py",
            "evaluation/promotion.py",
            "evaluation/test_set.py",
        ),
        upstream=("bootstrap_ci_report",),
    ),
    "latest_expansions": Stage(
        ("inference", "windows", "metrics/drift.py", "evaluation/drift.py", "assets/latest_expansions.py"),
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
    "densified_windows": ("no_window_straddles", "dense_at_each_position", "spread_at_each_position"),
    "pretrained_encoder": ("beats_imputation", "training_period_only"),
    "finetuned_classifier": ("no_collapse",),
    "bootstrap_ci_report": ("baselines_present",),
    "registered_model": (),
    "latest_expansions": (),
}
"""Checks that block; an asset counts as made only if its own have passed."""


class Ingredients(BaseModel):
    """Everything that decides an asset.

    Attributes:
        code: Digest of each room whose source counts.
        sources: Digests of data.
        settings: Parts of the profile, and its place.
        upstream: Fingerprints of assets; None for one never made.
        market: All data at that time, so that a change can be put in words; decides nothing.
    """

    model_config = ConfigDict(frozen=True)

    asset: str
    code: dict[str, str]
    sources: dict[str, str]
    settings: dict[str, Any]
    upstream: dict[str, str | None]
    market: Sources

    @property
    def fingerprint(self) -> str:
        """Digest of all that decides: 16 hex digits."""
        parts = self.model_dump(mode="json", exclude={"market"})
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


@cache
def room_digest(room: str) -> str:
    """Digest of the source of a part of the package: 12 hex digits."""
    digest, place = hashlib.sha256(), PACKAGE / room
    written = (path for path in place.rglob("*") if path.suffix in SOURCE_SUFFIXES)
    for path in sorted(written) if place.is_dir() else [place]:
        digest.update(str(path.relative_to(PACKAGE)).encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def code_version(asset: str) -> str:
    """Digest of the source that decides an asset: 12 hex digits."""
    rooms = [room_digest(room) for room in STAGES[asset].rooms]
    return hashlib.sha256("".join(rooms).encode()).hexdigest()[:12]


def ingredients(
    asset: str, sources: Sources, settings: Mapping[str, Any], upstream: Mapping[str, str | None]
) -> Ingredients:
    """What decides an asset.

    Args:
        asset: Its name, one of `STAGES`.
        sources: The market's data.
        settings: At least the settings it depends on and its place, as plain values.
        upstream: At least the fingerprints it depends on; None for one never made.
    """
    stage = STAGES[asset]
    return Ingredients(
        asset=asset,
        code={room: room_digest(room) for room in stage.rooms},
        sources={name: sources.digests[name] for name in stage.sources},
        settings={name: settings[name] for name in (PLACE, *stage.settings)},
        upstream={name: upstream.get(name) for name in stage.upstream},
        market=sources,
    )


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


@dataclass(frozen=True)
class Recorded:
    """The last materialization of an asset.

    Attributes:
        fingerprint: Of what it was made from.
        run_id: The Dagster run that made it.
        made_at: When, UTC.
        unpassed: Its integrity checks that did not pass in that run.
        made_from: What the fingerprint was taken of; None where that was not recorded.
    """

    fingerprint: str | None
    run_id: str
    made_at: datetime
    unpassed: tuple[str, ...]
    made_from: Ingredients | None


def recorded(instance: dg.DagsterInstance, asset: str, check_names: tuple[str, ...]) -> Recorded | None:
    """What Dagster recorded of an asset's last materialization; None if there is none.

    A check counts as passed only if its last evaluation belongs to that materialization's run. A
    run that ended before it came to a check takes nothing from the evaluation of before.
    """
    event = instance.get_latest_materialization_event(dg.AssetKey(asset))
    if event is None or event.asset_materialization is None:
        return None
    metadata = event.asset_materialization.metadata
    value = metadata.get(FINGERPRINT)
    latest = {name: _last_evaluated(instance, asset, name) for name in check_names}
    unpassed = tuple(
        name
        for name, one in latest.items()
        if one is None or one.run_id != event.run_id or one.status.value != "SUCCEEDED"
    )
    return Recorded(
        str(value.value) if value is not None else None,
        event.run_id,
        datetime.fromtimestamp(event.timestamp, UTC),
        unpassed,
        _made_from(metadata.get(MADE_FROM)),
    )


def _made_from(entry: dg.MetadataValue | None) -> Ingredients | None:
    try:
        return Ingredients.model_validate(entry.value) if entry is not None else None
    except ValidationError:
        return None


def made_in(instance: dg.DagsterInstance, asset: str, run_id: str) -> bool:
    """Whether a run came to the end of making an asset, whatever became of the run."""
    events = instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
    keys = (one.dagster_event.asset_key for one in events if one.dagster_event)
    return dg.AssetKey(asset) in keys


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
