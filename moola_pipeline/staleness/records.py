"""Dagster's records of assets and their checks, for one of the markets in a home."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

import dagster as dg
from dagster._core.storage.asset_check_execution_record import (
    COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES,
    AssetCheckExecutionRecord,
)
from pydantic import ValidationError

from moola_pipeline.staleness.fingerprints import FINGERPRINT, MADE_FROM, Ingredients
from moola_pipeline.staleness.stages import INTEGRITY_CHECKS, STAGES

DATA_VERSION = "dagster/data_version"
MARKET, PROFILE = "market", "profile"
"""Metadata keys of a materialization."""
PAGE = 20


@dataclass(frozen=True)
class RecordedMaterialization:
    """The last materialization of an asset for a market.

    Attributes:
        fingerprint: Fingerprint of its ingredients.
        data_version: Its Dagster data version.
        run_id: The Dagster run that built it.
        made_at: UTC.
        unpassed: Its integrity checks that did not pass in that run.
        made_from: Its ingredients; None if they were not recorded.
    """

    fingerprint: str | None
    data_version: str | None
    run_id: str
    made_at: datetime
    unpassed: tuple[str, ...]
    made_from: Ingredients | None


def recorded(
    instance: dg.DagsterInstance, asset: str, market: str, checks: tuple[str, ...] = ()
) -> RecordedMaterialization | None:
    """The record of an asset's last materialization for a market; None if there is none.

    A check counts as passed only if its last evaluation belongs to the run of that materialization.
    """
    event, others = _last_made(instance, asset, market)
    if event is None or event.asset_materialization is None:
        return None
    metadata = event.asset_materialization.metadata
    value, tags = metadata.get(FINGERPRINT), event.asset_materialization.tags or {}
    latest = {name: _last_evaluated(instance, asset, name, others) for name in checks}
    unpassed = tuple(
        name
        for name, one in latest.items()
        if one is None or one.run_id != event.run_id or one.status.value != "SUCCEEDED"
    )
    return RecordedMaterialization(
        str(value.value) if value is not None else None,
        tags.get(DATA_VERSION),
        event.run_id,
        datetime.fromtimestamp(event.timestamp, UTC),
        unpassed,
        _made_from(metadata.get(MADE_FROM)),
    )


class LastBuilt(NamedTuple):
    """Market and profile of the last build in a home."""

    market: str
    profile: str


def last_built(instance: dg.DagsterInstance) -> LastBuilt | None:
    """Market and profile of the newest materialization of any asset; None if there is none."""
    events = [instance.get_latest_materialization_event(dg.AssetKey(asset)) for asset in STAGES]
    newest = max(filter(None, events), key=lambda event: event.timestamp, default=None)
    if newest is None or newest.asset_materialization is None:
        return None
    metadata = newest.asset_materialization.metadata
    market, profile = metadata.get(MARKET), metadata.get(PROFILE)
    return LastBuilt(str(market.value), str(profile.value)) if market and profile else None


def made_in(instance: dg.DagsterInstance, asset: str, market: str, run_id: str) -> bool:
    """Whether a run materialized an asset for a market, even if the run failed later."""
    events = instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
    materializations = (entry.asset_materialization for entry in events)
    return any(
        one is not None and one.asset_key == dg.AssetKey(asset) and _market_of(one) == market
        for one in materializations
    )


def evaluations(
    instance: dg.DagsterInstance, assets: list[str], market: str
) -> list[dg.AssetCheckEvaluation]:
    """The last evaluation of every integrity check of some assets, for a market."""
    results = []
    for asset in assets:
        _, others = _last_made(instance, asset, market)
        for name in INTEGRITY_CHECKS[asset]:
            record = _last_evaluated(instance, asset, name, others)
            event = record.event if record is not None else None
            if event is not None and event.dagster_event is not None:
                results.append(event.dagster_event.asset_check_evaluation_data)
    return results


def _last_made(
    instance: dg.DagsterInstance, asset: str, market: str
) -> tuple[dg.EventLogEntry | None, set[str]]:
    """The last materialization for a market, and the later runs for other markets."""
    others: set[str] = set()
    for entry in _materializations(instance, asset):
        if entry.asset_materialization is not None:
            if _market_of(entry.asset_materialization) == market:
                return entry, others
            others.add(entry.run_id)
    return None, others


def _materializations(instance: dg.DagsterInstance, asset: str) -> Iterator[dg.EventLogEntry]:
    """All materializations of an asset, newest first."""
    latest = instance.get_latest_materialization_event(dg.AssetKey(asset))
    if latest is None:
        return
    yield latest
    page = instance.fetch_materializations(dg.AssetKey(asset), limit=PAGE)
    while True:
        yield from (record.event_log_entry for record in page.records)
        if not page.has_more:
            return
        page = instance.fetch_materializations(dg.AssetKey(asset), limit=PAGE, cursor=page.cursor)


def _market_of(made: dg.AssetMaterialization) -> str | None:
    entry = made.metadata.get(MARKET)
    return str(entry.value) if entry is not None else None


def _last_evaluated(
    instance: dg.DagsterInstance, asset: str, check: str, others: set[str]
) -> AssetCheckExecutionRecord | None:
    """The last completed evaluation of a check, without the runs of other markets."""
    key, cursor = dg.AssetCheckKey(dg.AssetKey(asset), check), None
    while True:
        page = instance.event_log_storage.get_asset_check_execution_history(
            key,
            limit=PAGE if others else 1,
            cursor=cursor,
            status=COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES,
        )
        for one in page:
            if one.run_id not in others:
                return one
        if not page or not others:
            return None
        cursor = page[-1].id


def _made_from(entry: dg.MetadataValue | None) -> Ingredients | None:
    try:
        return Ingredients.model_validate(entry.value) if entry is not None else None
    except ValidationError:
        return None
