"""Run requests for sensors and schedules: whether a run is needed, and its config."""

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
"""Tag of an automatic run; its value is the reason."""
_SHOWN_DIGITS = 12


def active_pipeline(instance: dg.DagsterInstance) -> Pipeline:
    """Market and profile of the last training, by name; before the first one, those of `moola run`.

    Raises:
        BadInput: If there are bars without labels, or labels without bars.
    """
    default = Pipeline(profile="auto", market="auto", scenario="none")
    trained = recorded(instance, TRAINED[-1], default.chosen_market().name)
    pipeline_label = trained.made_from.settings[PIPELINE_LABEL] if trained and trained.made_from else None
    for name in PROFILES:
        chosen = _named(Pipeline.model_validate({"profile": name, "market": "auto", "scenario": "none"}))
        if chosen.label == pipeline_label:
            return chosen
    return _named(default)


def prediction_request(instance: dg.DagsterInstance) -> dg.RunRequest | dg.SkipReason:
    """A run that marks new bars, one per change of the registered bars; reads no bars.

    Raises:
        IntegrityError: If registered files do not match their records.
    """
    ready = _ready(instance)
    if isinstance(ready, dg.SkipReason):
        return ready
    market = ready.chosen_market()
    digest, last = market.bars_digest(), recorded(instance, MARKS, market.name)
    if last and _digests_here(last, ready).get("bars") == digest:
        return dg.SkipReason(f"No new bars since {MARKS} was built, {last.made_at:%Y-%m-%d %H:%M} UTC.")
    if skip := _without_champion(ready):
        return skip
    # The key names the last run, so that bars restored to an earlier state start a new one.
    after = last.run_id[:_SHOWN_DIGITS] if last else "nothing"
    return dg.RunRequest(
        run_key=f"bars {digest[:_SHOWN_DIGITS]} after {after}",
        run_config=run_config(ready),
        tags={WHY: "the registered bars have changed"},
    )


def marks_request(instance: dg.DagsterInstance, run_key: str) -> dg.RunRequest | dg.SkipReason:
    """A run that marks expansions again if bars, champion, labels or code have changed.

    Raises:
        IntegrityError: If registered files do not match their records.
    """
    ready = _ready(instance)
    if isinstance(ready, dg.SkipReason):
        return ready
    if skip := _without_champion(ready):
        return skip
    steps = _planned(instance, ready)
    if isinstance(steps, dg.SkipReason):
        return steps
    marks = next(step for step in steps if step.asset == MARKS)
    if not marks.stale:
        return dg.SkipReason(f"{MARKS} is up to date: bars, labels and champion have not changed.")
    return dg.RunRequest(run_key=run_key, run_config=run_config(ready), tags={WHY: marks.reason})


def retraining_request(instance: dg.DagsterInstance, run_key: str) -> dg.RunRequest | dg.SkipReason:
    """A run that retrains if training bars or training labels have changed.

    It builds only assets that `plan` finds stale.

    Raises:
        IntegrityError: If registered files do not match their records.
    """
    ready = _ready(instance)
    if isinstance(ready, dg.SkipReason):
        return ready
    market = ready.chosen_market()
    before = {asset: _digests_here(recorded(instance, asset, market.name), ready) for asset in TRAINED}
    if not all(before.values()):
        return dg.SkipReason('No model was trained on this market and profile yet. Run "moola run" once.')
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
    """Config of a run with market and profile by name, independent of what is registered later."""
    chosen = {"profile": pipeline.profile, "market": pipeline.market, "scenario": pipeline.scenario}
    return {"resources": {"pipeline": {"config": chosen}}}


def _named(pipeline: Pipeline) -> Pipeline:
    """The same choice without `auto`: bars added during a run must not change its market."""
    market = "simulated" if pipeline.chosen_market().simulated else "registered"
    named = {"profile": pipeline.chosen_profile().name, "market": market, "scenario": pipeline.scenario}
    return Pipeline.model_validate(named)


def _ready(instance: dg.DagsterInstance) -> Pipeline | dg.SkipReason:
    """Market and profile of automatic runs; a skip reason if bars or labels are missing."""
    try:
        pipeline = active_pipeline(instance)
    except BadInput as error:
        return dg.SkipReason(str(error))
    if pipeline.chosen_market().simulated:
        return dg.SkipReason("No bars are registered, and simulated bars never change.")
    return pipeline


def _without_champion(pipeline: Pipeline) -> dg.SkipReason | None:
    name = pipeline.chosen_market().model_name
    if champion_version(pipeline.home, name) is not None:
        return None
    return dg.SkipReason(f'{name} has no champion yet. Run "moola run" once.')


def _planned(instance: dg.DagsterInstance, pipeline: Pipeline) -> list[Step] | dg.SkipReason:
    try:
        return plan(instance, pipeline.planned())
    except BadInput as error:
        return dg.SkipReason(str(error))


def _digests_here(last: RecordedMaterialization | None, pipeline: Pipeline) -> dict[str, str]:
    """Data digests of an asset's last build; empty if that was for another market or profile."""
    if last is None or last.made_from is None or last.made_from.settings[PIPELINE_LABEL] != pipeline.label:
        return {}
    return last.made_from.data_digests


def _where_splits_end(pipeline: Pipeline) -> str:
    splits = pipeline.chosen_market().splits
    if splits.rule == "rolling":
        return f"Splits are {splits.shown}."
    return (
        f"Splits are fixed, {splits.shown}: later labels never reach training. "
        'Run "moola run --rolling 3" for splits that follow the labels.'
    )
