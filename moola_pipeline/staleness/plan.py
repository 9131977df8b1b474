"""Which assets a run would change, and why."""

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
    """Whether an asset has to be made again, and why (or why not).

    Attributes:
        made_at: When it was made last, UTC; None if never.
    """

    asset: str
    state: State
    reason: str
    made_at: datetime | None = None

    @property
    def stale(self) -> bool:
        """Whether a run makes it."""
        return self.state != "up to date"


@dataclass(frozen=True)
class Planned:
    """What a plan is about.

    Attributes:
        market, profile: Whose assets.
        artifact_path: Where an asset of them is kept, without its suffix.
        champion: Version that serves; None where there is none.
        is_registered: Whether the registry holds a version of the market's model.
    """

    market: InstrumentData
    profile: Profile
    artifact_path: Callable[[str], Path]
    champion: str | None
    is_registered: bool


def plan(instance: dg.DagsterInstance, about: Planned) -> list[Step]:
    """Which of the nine assets a run would change, in the order of the work.

    An asset is left alone when everything that decides it is as it was when it was last made,
    its integrity checks passed then, and what it made is still there, byte for byte. No bar and
    no asset is written.

    Raises:
        MoolaError: If bars or labels cannot be read; the run itself then says so as well.
    """
    market = about.market
    made = {asset: recorded(instance, asset, market.name, INTEGRITY_CHECKS[asset]) for asset in STAGES}
    settings = stage_settings(market, about.profile)
    if market.simulation and not is_simulated(market.store, market.simulation):
        return [_after_market(asset, before, settings[PIPELINE_LABEL]) for asset, before in made.items()]
    steps: list[Step] = []
    for asset, now in all_ingredients(read_data_digests(market), settings, about.champion).items():
        renewed = [step for step in steps if _renews(step, made[asset], now)]
        steps.append(_step(made[asset], now, renewed, about))
    return steps


def _renews(upstream: Step, before: RecordedMaterialization | None, now: Ingredients) -> bool:
    """Whether an upstream asset is made again, and may come out different from what was read then."""
    if not upstream.stale or upstream.asset not in now.upstream:
        return False
    read = before.made_from.upstream.get(upstream.asset) if before and before.made_from else None
    return upstream.asset not in now.market.contents or read != now.upstream[upstream.asset]


def everything(reason: str) -> list[Step]:
    """A plan that makes every asset."""
    return [Step(asset, "stale", reason) for asset in STAGES]


def nothing_made() -> list[Step]:
    """The plan for a home in which nothing has run."""
    return [Step(asset, "missing", "not built yet") for asset in STAGES]


def _after_market(asset: str, before: RecordedMaterialization | None, pipeline_label: str) -> Step:
    if before is None:
        return Step(asset, "missing", "not built yet")
    another = made_for_another_pipeline(before.made_from, pipeline_label) if before.made_from else None
    return Step(asset, "stale", another or "its simulated market will be generated first", before.made_at)


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
    """Why it would come out different; what an upstream asset has said already is not repeated."""
    names = tuple(step.asset for step in renewed)
    own = changes(before.made_from, now, names) if before.made_from else []
    said = {reason for step in renewed for reason in step.reason.split("; ")}
    reasons = [reason for reason in own if reason not in said]
    if renewed:
        return [*reasons, f"{names[0]} will be rebuilt"]
    if not reasons and before.fingerprint != now.fingerprint:
        return ["its data, settings or code have changed"]
    return reasons


def _loss(asset: str, about: Planned) -> str | None:
    if asset == "registered_model" and not about.is_registered:
        return "the registry has no version of it"
    return damage(about.artifact_path(asset))
