"""MLflow's store, and the run of each asset in it."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from moola_pipeline.storage.atomic_write import atomic_write, locked
from moola_pipeline.storage.home import Home
from moola_pipeline.storage.remote_stores import database_lock, remote_artifacts_uri, remote_tracking_uri
from moola_pipeline.tracking.database_migration import DATABASE_NAME, require_database
from moola_pipeline.tracking.pages import KIND_TAG, MODEL_TRAINING
from moola_pipeline.tracking.parent_run import open_parent, planned_assets, settle_parent
from moola_pipeline.tracking.relocation import relocate
from moola_pipeline.tracking.tracked_run import (
    DAGSTER_RUN_TAG,
    PARENT_TAG,
    DataInput,
    TrackedRun,
    source_tags,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")


def tracking_uri(home: Home) -> str:
    """The MLflow store of a home, for `mlflow.set_tracking_uri`."""
    return remote_tracking_uri() or f"sqlite:///{home.tracking / DATABASE_NAME}"


def artifacts_uri(home: Home) -> str:
    """The artifact folder of a home's MLflow store."""
    return remote_artifacts_uri() or (home.tracking / "artifacts").as_uri()


def has_store(home: Home) -> bool:
    """Whether the home has an MLflow store, its own or a shared one."""
    return bool(remote_tracking_uri()) or (home.tracking / DATABASE_NAME).exists()


def open_store(home: Home) -> "MlflowClient":
    """A client of the home's store; creates the store if there is none.

    Only one process at a time creates it. If the home was moved, recorded artifact paths are updated.

    Raises:
        IntegrityError: If the database cannot be opened.
        BadInput: If a shared store does not respond.
    """
    from mlflow import MlflowClient

    if shared := remote_tracking_uri():
        with database_lock(shared):
            client = MlflowClient(shared, shared)
            client.search_experiments(max_results=1)
        return client
    database = home.tracking / DATABASE_NAME
    with locked(database):
        (home.tracking / "artifacts").mkdir(parents=True, exist_ok=True)
        require_database(
            database,
            f"Restore it, or move the folder {home.tracking} away and run: moola run "
            "(its runs and models are then no longer listed)",
        )
        if not database.exists():
            _make_database(database)
        relocate(home)
        client = MlflowClient(tracking_uri(home), tracking_uri(home))
        client.search_experiments(max_results=1)
    return client


def _make_database(path: Path) -> None:
    """Create the database atomically: MLflow cannot resume from half-created tables."""
    from mlflow import MlflowClient

    with atomic_write(path) as temporary, _unsynced(temporary):
        uri = f"sqlite:///{temporary}"
        MlflowClient(uri, uri).search_experiments(max_results=1)


@contextmanager
def _unsynced(database: Path) -> Iterator[None]:
    """Do not sync a temporary database after each of MLflow's hundreds of migrations; its end is synced."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    def connected(connection: Any, _record: object) -> None:
        if any(Path(file).name == database.name for *_, file in connection.execute("PRAGMA database_list")):
            connection.execute("PRAGMA synchronous=OFF")

    event.listen(Engine, "connect", connected)
    try:
        yield
    finally:
        event.remove(Engine, "connect", connected)


def _in_turn(home: Home) -> AbstractContextManager[object]:
    """The lock for get-or-create operations."""
    shared = remote_tracking_uri()
    return database_lock(shared) if shared else locked(home.tracking / DATABASE_NAME)


def experiment_id(client: "MlflowClient", home: Home, name: str) -> str:
    """The experiment of that name, created if there is none."""
    with _in_turn(home):
        experiment = client.get_experiment_by_name(name)
        if experiment is not None:
            return experiment.experiment_id
        return client.create_experiment(name, f"{artifacts_uri(home)}/{name}", {KIND_TAG: MODEL_TRAINING})


@dataclass(frozen=True)
class AssetRun(TrackedRun):
    """The open run of an asset, nested under the parent run of its Dagster run."""

    parent: TrackedRun


class Tracking(dg.ConfigurableResource):
    """Opens the nested run of an asset, without MLflow's global state."""

    @contextmanager
    def run(
        self,
        context: dg.AssetExecutionContext,
        experiment: str,
        params: Mapping[str, Any],
        tags: Mapping[str, Any],
        inputs: Sequence[DataInput] = (),
    ) -> Iterator[AssetRun]:
        """A run for the asset; ends as FINISHED, or as FAILED with the error as a tag.

        Its parent takes the status of the Dagster run.

        Args:
            context: The asset's context.
            experiment: Name of the experiment.
            params: Settings, logged as params of the run and of its parent.
            tags: Market, profile and other tags to find the run.
            inputs: Data of the Dagster run, logged to the parent.
        """
        home = Home.resolve()
        client = open_store(home)
        experiment_key = experiment_id(client, home, experiment)
        texts = {name: str(value) for name, value in tags.items()}
        with _in_turn(home):
            parent = open_parent(client, experiment_key, context, texts, inputs)
        asset = context.asset_key.to_user_string()
        own_tags = {
            PARENT_TAG: parent.id,
            DAGSTER_RUN_TAG: context.run.run_id,
            "asset": asset,
            **source_tags(),
            **texts,
        }
        run = client.create_run(experiment_key, tags=own_tags, run_name=asset)
        tracked = AssetRun(client, experiment_key, run.info.run_id, parent)
        try:
            with tracked.ended_by_outcome():
                if params:
                    tracked.log_params(params)
                    parent.log_params(params)
                yield tracked
        finally:
            with _in_turn(home):
                settle_parent(parent, planned_assets(context))
