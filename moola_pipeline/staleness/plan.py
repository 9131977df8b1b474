"""Plan of a run: which assets it rebuilds, and why."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

import dagster as dg

from moola_pipeline.instrument_data import InstrumentData
from moola_pipeline.labels.simulated import is_simulated
from moola_pipeline.settings import Profile
from moola_pipeline.staleness.changes import changes, made_for_another_pipeline
from moola_pipeline.staleness.data_digests import read_data_digests
from moola_pipeline.staleness.fingerprints import PIPELINE_LABEL, Ingredients, all_ingredients, stage_settings
from moola_pipeline.staleness.records import RecordedMaterialization, recorded
from moola_pipeline.staleness.stages import INTEGRITY_CHECKS, STAGES
from moola_pipeline.storage.asset_checksums import GONE, damage

State = Literal["up to date", "stale", "missing", "check failed"]


@dataclass(frozen=True)
class Step:
    """Whether an asset must be rebuilt, and why (or why not).

    Attributes:
        made_at: Time of the last build, UTC; None if never.
    """

    asset: str
    state: State
    reason: str
    made_at: datetime | None = None

    @property
    def stale(self) -> bool:
        """Whether a run rebuilds it."""
        return self.state != "up to date"


@dataclass(frozen=True)
class Planned:
    """Inputs of a plan.

    Attributes:
        market, profile: The assets belong to them.
        artifact_path: Path of a stored asset, without its suffix.
        champion: Version that serves; None if there is none.
        is_registered: Whether the registry holds a version of the market's model.
    """

    market: InstrumentData
    profile: Profile
    artifact_path: Callable[[str], Path]
    champion: str | None
    is_registered: bool


def plan(instance: dg.DagsterInstance, about: Planned) -> list[Step]:
    """The state of the nine assets, in the order of the pipeline.

    An asset is up to date when its ingredients are those of its last build, its integrity checks
    passed in that build, and its files are unchanged. Writes nothing.

    Raises:
        MoolaError: If bars or labels cannot be read; a run then fails in the same way.
    """
    market = about.market
    last_builds = {asset: recorded(instance, asset, market.name, INTEGRITY_CHECKS[asset]) for asset in STAGES}
    settings = stage_settings(market, about.profile)
    if market.simulation and not is_simulated(market.store, market.simulation):
        return [
            _after_market(asset, before, settings[PIPELINE_LABEL]) for asset, before in last_builds.items()
        ]
    steps: list[Step] = []
    for asset, now in all_ingredients(read_data_digests(market), settings, about.champion).items():
        renewed = [step for step in steps if _renews(step, last_builds[asset], now)]
        steps.append(_step(last_builds[asset], now, renewed, about))
    return steps


def _renews(upstream: Step, before: RecordedMaterialization | None, now: Ingredients) -> bool:
    """Whether an upstream asset will be rebuilt and may differ from the version read last time."""
    if not upstream.stale or upstream.asset not in now.upstream:
        return False
    read = before.made_from.upstream.get(upstream.asset) if before and before.made_from else None
    return upstream.asset not in now.market.contents or read != now.upstream[upstream.asset]


def everything(reason: str) -> list[Step]:
    """A plan that rebuilds every asset."""
    return [Step(asset, "stale", reason) for asset in STAGES]


def nothing_made() -> list[Step]:
    """The plan for a home without runs."""
    return [Step(asset, "missing", "not built yet") for asset in STAGES]


def _after_market(asset: str, before: RecordedMaterialization | None, pipeline_label: str) -> Step:
    if before is None:
        return Step(asset, "missing", "not built yet")
    other_pipeline = made_for_another_pipeline(before.made_from, pipeline_label) if before.made_from else None
    return Step(
        asset, "stale", other_pipeline or "its simulated market will be generated first", before.made_at
    )


def _step(
    before: RecordedMaterialization | None, now: Ingredients, renewed: Sequence[Step], about: Planned
) -> Step:
    if before is None:
        return Step(now.asset, "missing", "not built yet")
    reasons = _differences(before, now, renewed)
    state: State = "stale" if reasons else "up to date"
    if before.unpassed:
        reasons.insert(0, f"check {', '.join(before.unpassed)} did not pass")
        state = "check failed"
    if not reasons and (lost := _loss(now.asset, about)):
        reasons, state = [lost], "missing" if lost == GONE else "stale"
    return Step(now.asset, state, "; ".join(reasons) or "unchanged", before.made_at)


def _differences(before: RecordedMaterialization, now: Ingredients, renewed: Sequence[Step]) -> list[str]:
    """Reasons of this asset; reasons already given for an upstream asset are left out."""
    names = tuple(step.asset for step in renewed)
    own = changes(before.made_from, now, names) if before.made_from else []
    upstream_reasons = {reason for step in renewed for reason in step.reason.split("; ")}
    reasons = [reason for reason in own if reason not in upstream_reasons]
    if renewed:
        return [*reasons, f"{names[0]} will be rebuilt"]
    if not reasons and before.fingerprint != now.fingerprint:
        return ["its data, settings or code have changed"]
    return reasons


def _loss(asset: str, about: Planned) -> str | None:
    if asset == "registered_model" and not about.is_registered:
        return "the registry has no version of it"
    return damage(about.artifact_path(asset))
