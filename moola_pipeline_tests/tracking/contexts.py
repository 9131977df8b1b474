"""The parts of an asset's context that tracking reads, and the runs that it logs with them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
from mlflow import MlflowClient
from mlflow.entities import Run

from moola_pipeline.storage.home import Home
from moola_pipeline.tracking.runs import Tracking, tracking_uri

RUN = "0123456789ab"


@dataclass(frozen=True)
class DagsterRun:
    run_id: str
    step_keys_to_execute: Sequence[str] | None = None


@dataclass(frozen=True)
class Layer:
    selected_asset_keys: frozenset[dg.AssetKey]


@dataclass(frozen=True)
class Job:
    asset_layer: Layer


@dataclass(frozen=True)
class RecordedRun:
    status: dg.DagsterRunStatus


@dataclass(frozen=True)
class Instance:
    """Dagster's instance: the state of its runs, by id."""

    states: Mapping[str, dg.DagsterRunStatus] = field(default_factory=dict)

    def get_run_by_id(self, run_id: str) -> RecordedRun | None:
        return RecordedRun(self.states[run_id]) if run_id in self.states else None


@dataclass(frozen=True)
class Context:
    run: DagsterRun
    asset_key: dg.AssetKey
    job_def: Job
    instance: Instance


def context(
    asset: str,
    run: str = RUN,
    planned: Sequence[str] = (),
    steps: Sequence[str] | None = None,
    states: Mapping[str, dg.DagsterRunStatus] | None = None,
) -> dg.AssetExecutionContext:
    """The context of an asset in a Dagster run that builds `planned`, by default this asset alone.

    Args:
        asset: Name of the asset.
        run: Id of the Dagster run.
        planned: The assets of its job.
        steps: The steps of a partial repetition.
        states: What Dagster's instance knows of runs.
    """
    keys = frozenset(dg.AssetKey(name) for name in planned or (asset,))
    made = Context(DagsterRun(run, steps), dg.AssetKey(asset), Job(Layer(keys)), Instance(states or {}))
    return made  # pyright: ignore[reportReturnType]


def track(asset: str, run: str = RUN, params: dict[str, Any] | None = None, **about: Any) -> str:
    """Log a run of an asset and return its id."""
    tags = {"profile": "smoke", "market": "simulated"}
    with Tracking().run(context(asset, run, **about), "market", params or {}, tags) as tracked:
        return tracked.id


def logged_runs(home: Home) -> list[Run]:
    """All runs of a home's store."""
    client = MlflowClient(tracking_uri(home))
    return list(client.search_runs([one.experiment_id for one in client.search_experiments()]))


def named(home: Home, name: str) -> Run:
    """The one run with a name."""
    [run] = [run for run in logged_runs(home) if run.info.run_name == name]
    return run


def parent_of(home: Home, run: str = RUN) -> Run:
    """The one parent of a Dagster run."""
    [parent] = [
        one
        for one in logged_runs(home)
        if one.data.tags["dagster.run_id"] == run and one.data.tags.get("role") == "parent"
    ]
    return parent
