"""Actions of the simulated month: ticks, runs, labels, versions and promotions."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import torch
from mlflow import MlflowClient

from moola_pipeline.automation import sensors
from moola_pipeline.automation.schedules import weekly_retrain
from moola_pipeline.bars.manifest import read_bars
from moola_pipeline.bars.store import registered_store
from moola_pipeline.definitions import defs
from moola_pipeline.errors import MoolaError
from moola_pipeline.evaluation.promotion import PromotionDecision
from moola_pipeline.labels.importing import add_labels
from moola_pipeline.storage.home import Home
from moola_pipeline.tracking.imported_promotion import decide_version
from moola_pipeline.tracking.promotion_log import (
    BY_HAND,
    apply_decision,
    champion_before,
    read_log,
    reconcile,
)
from moola_pipeline.tracking.registry import champion_version, load_version, register
from moola_pipeline.tracking.runs import experiment_id, open_store
from moola_pipeline.tracking.tracked_run import TrackedRun

MODEL = "moola-nq"
SATURDAY = datetime(2025, 8, 2, 12, 0, tzinfo=UTC)


def register_variant(home: Home, version: str, turned: bool) -> str:
    """Register a version whose type head is negated (`turned`) or minimally scaled."""
    model, facts = load_version(home, f"models:/{MODEL}/{version}")
    outer = model.classifier.type_head.outer
    with torch.no_grad():
        for part in (outer.weight, outer.bias):
            part.mul_(-1.0 if turned else 1.0 + 1e-4)
    client = open_store(home)
    experiment = experiment_id(client, home, MODEL)
    run = TrackedRun(client, experiment, client.create_run(experiment, run_name="rehearsal").info.run_id)
    return register(home, run, MODEL, model, facts, {"rehearsal": "made by a test"}).version


def decide_promotion(home: Home, version: str) -> Any:
    """Compare a version with the champion by the promotion rule, apply the decision and log it."""
    decision = decide_version(home, MODEL, version, {}, np.random.default_rng(0))
    return apply_decision(home, client_of(home), MODEL, version, decision)


def promote(home: Home, version: str, reason: str, rolls_back: bool = False) -> None:
    """Make a version champion by hand, as `moola registry promote` does."""
    decision = PromotionDecision(True, "hand", champion_of(home), BY_HAND, reason, None, rolls_back)
    apply_decision(home, client_of(home), MODEL, version, decision)


def roll_back(home: Home) -> str | None:
    """Make the previous champion champion again, and return the new champion."""
    version = champion_before(reconcile(home, client_of(home), MODEL), MODEL)
    promote(home, version, "restored", rolls_back=True)
    return champion_of(home)


def sensor_tick(instance: dg.DagsterInstance) -> dg.RunRequest | str:
    """Evaluate the sensor now, without waiting until files are unchanged for a while."""
    usual, sensors.SETTLE_SECONDS = sensors.SETTLE_SECONDS, 0.0
    try:
        with dg.build_sensor_context(
            instance, sensor_name=sensors.new_bars_sensor.name, definitions=defs
        ) as context:
            return request_or_reason(sensors.new_bars_sensor(context))
    finally:
        sensors.SETTLE_SECONDS = usual


def schedule_tick(instance: dg.DagsterInstance) -> dg.RunRequest | str:
    """Evaluate the weekly schedule on SATURDAY."""
    return request_or_reason(
        weekly_retrain(dg.build_schedule_context(instance, scheduled_execution_time=SATURDAY))
    )


def request_or_reason(result: Any) -> dg.RunRequest | str:
    """The requested run, or the reason of a skip."""
    return result if isinstance(result, dg.RunRequest) else str(result.skip_message)


def launch_config() -> dict[str, Any]:
    """Run configuration: the smoke profile on registered bars."""
    chosen = {"profile": "smoke", "market": "registered", "scenario": "none"}
    return {"resources": {"pipeline": {"config": chosen}}}


def carry_out(instance: dg.DagsterInstance, job: str, config: Any, assets: Any) -> list[str]:
    """Run a job in this process, and return its materialized assets in order."""
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    result = defs.resolve_job_def(job).execute_in_process(
        instance=instance, run_config={**config, **quiet}, asset_selection=assets, raise_on_error=False
    )
    require(result.success, f"{job} must succeed, but it failed; see {instance.root_directory}")
    events = result.get_asset_materialization_events()
    return [event.asset_key.to_user_string() for event in events if event.asset_key is not None]


def take_labels(home: Home, path: Path) -> None:
    """Register a label file like `moola labels add`."""
    store = registered_store(home)
    add_labels(store.labels, path, read_bars(store), drop_bad=False)


def champion_of(home: Home) -> str | None:
    """The champion of a home."""
    return champion_version(home, MODEL)


def promotion_log(home: Home) -> list[Any]:
    """The promotion log of a home, oldest first."""
    return read_log(home, MODEL)


def client_of(home: Home) -> MlflowClient:
    """MLflow's client of a home."""
    return open_store(home)


def require(condition: bool, message: str) -> None:
    """Fail the step with a message if the condition is false."""
    if not condition:
        raise MoolaError(message)
