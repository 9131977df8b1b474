"""Whether there is anything to do, and the run that would do it; sensors and schedules ask here."""

import dagster as dg

from moola_pipeline.automation.jobs import PREDICTING
from moola_pipeline.errors import BadInput
from moola_pipeline.resources.pipeline import Pipeline
from moola_pipeline.settings import PROFILES
from moola_pipeline.staleness.data_digests import read_data_digests
from moola_pipeline.staleness.fingerprints import PIPELINE_LABEL
from moola_pipeline.staleness.plan import Step, plan
from moola_pipeline.staleness.records import RecordedMaterialization, recorded
from moola_pipeline.staleness.stages import STAGES
from moola_pipeline.tracking.registry import champion_version

TRAINED = ("pretrained_encoder", "finetuned_classifier")
MARKS = PREDICTING[-1]
WHY = "moola/why"
"""The tag under which a run that nobody started says what started it."""
_SHOWN_DIGITS = 12


def active_pipeline(instance: dg.DagsterInstance) -> Pipeline:
    """The market and profile of the last training, by name; those of `moola run` before there was one.

    Raises:
        BadInput: If there are bars without labels, or labels without bars.
    """
    usual = Pipeline(profile="auto", market="auto", scenario="none")
    made = recorded(instance, TRAINED[-1], usual.chosen_market().name)
    pipeline_label = made.made_from.settings[PIPELINE_LABEL] if made and made.made_from else None
    for name in PROFILES:
        chosen = _named(Pipeline.model_validate({"profile": name, "market": "auto", "scenario": "none"}))
        if chosen.label == pipeline_label:
            return chosen
    return _named(usual)


def prediction_request(instance: dg.DagsterInstance) -> dg.RunRequest | dg.SkipReason:
    """The run that marks new bars, once for each change of the bars; no bar is read to find out.

    Raises:
        IntegrityError: If what is registered is not what was recorded.
    """
    ready = _ready(instance)
    if isinstance(ready, dg.SkipReason):
        return ready
    market = ready.chosen_market()
    digest, made = market.bars_digest(), recorded(instance, MARKS, market.name)
    if made and _digests_here(made, ready).get("bars") == digest:
        return dg.SkipReason(f"No new bars since {MARKS} was made, {made.made_at:%Y-%m-%d %H:%M} UTC.")
    if lacking := _without_champion(ready):
        return lacking
    # Bars that are put back to what they were once are new again: the key names what they follow.
    after = made.run_id[:_SHOWN_DIGITS] if made else "nothing"
    return dg.RunRequest(
        run_key=f"bars {digest[:_SHOWN_DIGITS]} after {after}",
        run_config=run_config(ready),
        tags={WHY: "the registered bars have changed"},
    )


def marks_request(instance: dg.DagsterInstance, run_key: str) -> dg.RunRequest | dg.SkipReason:
    """The run that makes the marks again if bars, champion, labels or code have changed since.

    Raises:
        IntegrityError: If what is registered is not what was recorded.
    """
    ready = _ready(instance)
    if isinstance(ready, dg.SkipReason):
        return ready
    if lacking := _without_champion(ready):
        return lacking
    steps = _planned(instance, ready)
    if isinstance(steps, dg.SkipReason):
        return steps
    marks = next(step for step in steps if step.asset == MARKS)
    if not marks.stale:
        return dg.SkipReason(f"{MARKS} is up to date: no bar, label or champion has changed since.")
    return dg.RunRequest(run_key=run_key, run_config=run_config(ready), tags={WHY: marks.reason})


def retraining_request(instance: dg.DagsterInstance, run_key: str) -> dg.RunRequest | dg.SkipReason:
    """The run that trains again, if rows or labels that training may see have changed since.

    It makes what `plan` calls stale, and nothing else.

    Raises:
        IntegrityError: If what is registered is not what was recorded.
    """
    ready = _ready(instance)
    if isinstance(ready, dg.SkipReason):
        return ready
    market = ready.chosen_market()
    before = {asset: _digests_here(recorded(instance, asset, market.name), ready) for asset in TRAINED}
    if not all(before.values()):
        return dg.SkipReason('Nothing was trained on this market and profile yet. Run "moola run" once.')
    steps = _planned(instance, ready)
    if isinstance(steps, dg.SkipReason):
        return steps
    now = read_data_digests(market).digests
    changed = {
        name
        for asset in TRAINED
        for name in STAGES[asset].data_digests
        if before[asset].get(name) != now[name]
    }
    if not changed:
        return dg.SkipReason(f"Training rows and labels have not changed. {_where_splits_end(ready)}")
    return dg.RunRequest(
        run_key=run_key,
        run_config=run_config(ready),
        asset_selection=[dg.AssetKey(step.asset) for step in steps if step.stale],
        tags={WHY: f"changed: {', '.join(sorted(changed))}"},
    )


def run_config(pipeline: Pipeline) -> dict[str, object]:
    """The config of a run on a market and profile named outright, whatever is registered meanwhile."""
    chosen = {"profile": pipeline.profile, "market": pipeline.market, "scenario": pipeline.scenario}
    return {"resources": {"pipeline": {"config": chosen}}}


def _named(pipeline: Pipeline) -> Pipeline:
    """The same choice without `auto`, so that bars added while a run works do not turn the rest of it."""
    market = "simulated" if pipeline.chosen_market().simulated else "registered"
    named = {"profile": pipeline.chosen_profile().name, "market": market, "scenario": pipeline.scenario}
    return Pipeline.model_validate(named)


def _ready(instance: dg.DagsterInstance) -> Pipeline | dg.SkipReason:
    """What automation works on; why there is nothing to do where bars or labels are missing."""
    try:
        pipeline = active_pipeline(instance)
    except BadInput as fault:
        return dg.SkipReason(str(fault))
    if pipeline.chosen_market().simulated:
        return dg.SkipReason("No bars are registered, and simulated ones never change.")
    return pipeline


def _without_champion(pipeline: Pipeline) -> dg.SkipReason | None:
    name = pipeline.chosen_market().model_name
    if champion_version(pipeline.home, name) is not None:
        return None
    return dg.SkipReason(f'{name} has no champion yet. Run "moola run" once.')


def _planned(instance: dg.DagsterInstance, pipeline: Pipeline) -> list[Step] | dg.SkipReason:
    try:
        return plan(instance, pipeline.planned())
    except BadInput as fault:
        return dg.SkipReason(str(fault))


def _digests_here(made: RecordedMaterialization | None, pipeline: Pipeline) -> dict[str, str]:
    """Digests of the data an asset was made from; empty if it was made last for another place."""
    if made is None or made.made_from is None or made.made_from.settings[PIPELINE_LABEL] != pipeline.label:
        return {}
    return made.made_from.data_digests


def _where_splits_end(pipeline: Pipeline) -> str:
    splits = pipeline.chosen_market().splits
    if splits.rule == "rolling":
        return f"Splits are {splits.shown}."
    return (
        f"Splits are fixed, {splits.shown}: later labels never reach training. "
        'Let them follow the labels with "moola run --rolling 3".'
    )
