"""The parent run of a Dagster run: found or created by any of its processes, with the status of the run."""

from collections.abc import Sequence, Set
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import dagster as dg

from moola_pipeline.staleness.stages import INTEGRITY_CHECKS
from moola_pipeline.tracking.pages import run_page
from moola_pipeline.tracking.tracked_run import (
    DAGSTER_RUN_TAG,
    NOTE_TAG,
    PARENT_TAG,
    DataInput,
    TrackedRun,
    code_state,
    source_tags,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

RUNNING, FINISHED, FAILED, KILLED = "RUNNING", "FINISHED", "FAILED", "KILLED"
ROLE_TAG, PARENT_ROLE = "role", "parent"
PARENTS = f"tags.{ROLE_TAG} = '{PARENT_ROLE}'"
"""Query that finds the parent runs."""
_ENDED_AS = {
    dg.DagsterRunStatus.SUCCESS: FINISHED,
    dg.DagsterRunStatus.FAILURE: FAILED,
    dg.DagsterRunStatus.CANCELED: KILLED,
}


def open_parent(
    client: "MlflowClient",
    experiment: str,
    context: dg.AssetExecutionContext,
    tags: dict[str, str],
    inputs: Sequence[DataInput],
) -> TrackedRun:
    """The parent run of the context's Dagster run, created if there is none; one process at a time.

    Args:
        client: Client of the store.
        experiment: Id of the experiment.
        context: The context of any asset of the Dagster run.
        tags: Market, profile and other tags of a new parent.
        inputs: Data that a new parent names as its inputs.
    """
    dagster_run = context.run.run_id
    query = f"tags.`{DAGSTER_RUN_TAG}` = '{dagster_run}' and {PARENTS}"
    if known := client.search_runs([experiment], query, max_results=1):
        [run] = known
        if run.info.status != RUNNING:  # Dagster retries an asset, or builds two at a time
            client.update_run(run.info.run_id, RUNNING)
        return TrackedRun(client, experiment, run.info.run_id)
    _end_abandoned(client, experiment, context.instance)
    began = f"{datetime.now(UTC):%Y-%m-%d %H:%M}"
    name = " ".join(word for word in (tags.get("profile"), began, tags.get("market")) if word)
    own_tags = {DAGSTER_RUN_TAG: dagster_run, ROLE_TAG: PARENT_ROLE, **source_tags(), **tags}
    run = client.create_run(experiment, tags=own_tags, run_name=name)
    parent = TrackedRun(client, experiment, run.info.run_id)
    parent.log_params({key: tags[key] for key in ("profile", "market") if key in tags})
    if inputs:
        parent.log_inputs(inputs)
    _, diff = code_state()
    if diff:
        parent.log_text(diff, "uncommitted.diff")
    return parent


def planned_assets(context: dg.AssetExecutionContext) -> Set[str]:
    """The assets that the context's Dagster run builds."""
    steps = context.run.step_keys_to_execute
    if steps is not None:  # a part of the run is repeated
        return frozenset(steps)
    return {key.to_user_string() for key in context.job_def.asset_layer.selected_asset_keys}


def settle_parent(parent: TrackedRun, planned: Set[str]) -> None:
    """End the parent if one of its assets has failed, or if all planned ones are built.

    Only the runs of the assets decide, so it does not matter which process built them. One process at a
    time may call it.

    Args:
        parent: The parent run.
        planned: The assets of the Dagster run.
    """
    query = f"tags.`{PARENT_TAG}` = '{parent.id}'"
    newest: dict[str, Run] = {}
    for run in parent.client.search_runs([parent.experiment], query, order_by=["attributes.start_time DESC"]):
        newest.setdefault(run.data.tags["asset"], run)
    failed = {asset: run for asset, run in newest.items() if _has_failed(run)}
    if failed:
        parent.set_tags({NOTE_TAG: _failure_note(failed)})
        parent.client.set_terminated(parent.id, FAILED)
    elif planned <= {asset for asset, run in newest.items() if run.info.status == FINISHED}:
        parent.client.set_terminated(parent.id, FINISHED)


def _has_failed(run: "Run") -> bool:
    tags = run.data.tags
    checks = INTEGRITY_CHECKS.get(tags["asset"], ())
    return run.info.status == FAILED or any(tags.get(f"check.{name}") == "FAILED" for name in checks)


def _failure_note(failed: "dict[str, Run]") -> str:
    lines = []
    for asset, run in failed.items():
        why = run.data.tags.get("fault") or "an integrity check failed"
        lines.append(f"[{asset}]({run_page(run.info.experiment_id, run.info.run_id)}) failed: {why}")
    return "\n\n".join(lines)


def _end_abandoned(client: "MlflowClient", experiment: str, instance: dg.DagsterInstance) -> None:
    """End the runs that a killed process left open, as Dagster records the end of its run."""
    query = f"attributes.status = '{RUNNING}' and {PARENTS}"
    for parent in client.search_runs([experiment], query):
        dagster_run = parent.data.tags[DAGSTER_RUN_TAG]
        recorded = instance.get_run_by_id(dagster_run)  # None if it is of another machine
        status = _ENDED_AS.get(recorded.status) if recorded else None
        if status is None:
            continue
        of_run = f"attributes.status = '{RUNNING}' and tags.`{DAGSTER_RUN_TAG}` = '{dagster_run}'"
        for run in client.search_runs([experiment], of_run):
            client.set_terminated(
                run.info.run_id, status if run.info.run_id == parent.info.run_id else KILLED
            )
