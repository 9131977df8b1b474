"""What reruns, and when: the jobs, and which assets a run would change."""

from dataclasses import dataclass

import dagster as dg

from moola_pipeline.resources.pipeline import Pipeline
from moola_pipeline.resources.provenance import (
    INTEGRITY_CHECKS,
    STAGES,
    fingerprint,
    recorded,
    source_digests,
    stage_settings,
)
from moola_pipeline.resources.registry import champion_version, is_registered
from moola_pipeline.resources.seals import damage

PREDICTING = ("raw_nq_bars", "labeled_expansions", "relativity_features", "latest_expansions")

train_job = dg.define_asset_job("train_job", selection="*", description="All nine assets.")
predict_job = dg.define_asset_job(
    "predict_job",
    selection=list(PREDICTING),
    description="New bars and the champion's marks.",
)


@dataclass(frozen=True)
class Step:
    """Whether an asset has to be made again, and why (or why not)."""

    asset: str
    stale: bool
    reason: str


def plan(instance: dg.DagsterInstance, pipeline: Pipeline) -> list[Step]:
    """Which of the nine assets a run would change, in the order of the work.

    An asset is left alone when everything that decides it is as it was when it was last made,
    its integrity checks passed then, and what it made is still there, byte for byte.

    Raises:
        MoolaError: If bars or labels cannot be read; the run itself then says so as well.
    """
    market, profile = pipeline.chosen_market(), pipeline.chosen_profile()
    sources, settings = source_digests(market), stage_settings(market, profile)
    champion = champion_version(pipeline.home, market.model_name)
    planned: dict[str, str | None] = {"champion": champion}
    steps: list[Step] = []
    for asset, stage in STAGES.items():
        planned[asset] = fingerprint(asset, sources, settings, planned)
        before = recorded(instance, asset, INTEGRITY_CHECKS[asset])
        redone = [step.asset for step in steps if step.stale and step.asset in stage.upstream]
        if before is None:
            steps.append(Step(asset, True, "never made"))
        elif redone:
            steps.append(Step(asset, True, f"{redone[0]} is made again"))
        elif before.fingerprint != planned[asset]:
            steps.append(Step(asset, True, "its data, settings or code have changed"))
        elif not before.checks_passed:
            steps.append(Step(asset, True, "an integrity check did not pass"))
        elif lost := damage(pipeline.place(asset)):
            steps.append(Step(asset, True, lost))
        elif asset == "registered_model" and not is_registered(pipeline.home, market.model_name):
            steps.append(Step(asset, True, "the registry holds no version of it"))
        else:
            steps.append(Step(asset, False, "unchanged"))
    return steps


def everything(reason: str) -> list[Step]:
    """A plan that makes every asset."""
    return [Step(asset, True, reason) for asset in STAGES]
