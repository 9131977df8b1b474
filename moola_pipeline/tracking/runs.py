"""MLflow runs: one parent for each Dagster run, one nested run for each asset."""

import json
import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from moola_pipeline import __version__
from moola_pipeline.storage.atomic_write import atomic_write, locked
from moola_pipeline.storage.checksums import FileDigest, bytes_digest
from moola_pipeline.storage.home import PROJECT_ROOT, Home
from moola_pipeline.storage.remote_stores import (
    database_lock,
    remote_artifacts_uri,
    remote_tracking_uri,
    without_secrets,
)
from moola_pipeline.tracking.database_migration import DATABASE_NAME, require_database
from moola_pipeline.tracking.relocation import relocate

if TYPE_CHECKING:
    from mlflow import MlflowClient

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
URL_VARIABLE = "MOOLA_MLFLOW_URL"
DEFAULT_URL = "http://127.0.0.1:5000"
KIND_TAG = "mlflow.experimentKind"
"""Makes the MLflow UI open the page of training runs, not the one of language models."""
PARENT_TAG = "mlflow.parentRunId"
DAGSTER_RUN_TAG = "dagster.run_id"
DIGEST_TAG = "sha256."
"""Prefix of the tag with an artifact's SHA256 and size, for `moola verify`; its path follows."""


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

    with atomic_write(path) as temporary:
        uri = f"sqlite:///{temporary}"
        MlflowClient(uri, uri).search_experiments(max_results=1)


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
        return client.create_experiment(
            name, f"{artifacts_uri(home)}/{name}", {KIND_TAG: "custom_model_development"}
        )


@cache
def code_state() -> tuple[str, str]:
    """Commit of the checkout and its uncommitted diff; the package version where there is none."""
    try:
        commit = _git("rev-parse", "HEAD")
        return commit.strip(), _git("diff", "HEAD")
    except (OSError, subprocess.SubprocessError):
        return f"moola {__version__}", ""


def _git(*words: str) -> str:
    command = ["git", "-C", str(PROJECT_ROOT), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout


@dataclass(frozen=True)
class TrackedRun:
    """An open nested run of one asset."""

    client: "MlflowClient"
    experiment: str
    id: str

    @property
    def url(self) -> str:
        """The run's page in the MLflow UI."""
        base = without_secrets(os.environ.get(URL_VARIABLE, DEFAULT_URL))  # metadata stores it
        return f"{base}/#/experiments/{self.experiment}/runs/{self.id}"

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Log finite numbers under their names."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        entries = [Metric(name, float(value), now, step) for name, value in metrics.items() if value == value]
        self.client.log_batch(self.id, metrics=entries)

    def log_lines(self, lines: Mapping[str, Sequence[tuple[int, float]]]) -> None:
        """Log metrics with a past: points of each, as milliseconds since 1970 and value, by name."""
        from mlflow.entities import Metric

        entries = [
            Metric(name, value, at, step)
            for name, line in lines.items()
            for step, (at, value) in enumerate(line)
        ]
        for first in range(0, len(entries), 1000):
            self.client.log_batch(self.id, metrics=entries[first : first + 1000])

    def log_epoch(self, entry: Mapping[str, float], prefix: str = "") -> None:
        """Log one epoch's entry of a training history."""
        named = {prefix + name: value for name, value in entry.items() if name != "epoch"}
        self.log_metrics(named, step=int(entry["epoch"]))

    def log_params(self, params: Mapping[str, Any], prefix: str = "") -> None:
        """Log settings, nested ones with dotted names; long values are cut at MLflow's limit."""
        from mlflow.entities import Param

        flat = _flattened(params, prefix)
        entries = [Param(name, text[:6000]) for name, text in flat.items()]
        for first in range(0, len(entries), 90):
            self.client.log_batch(self.id, params=entries[first : first + 90])

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Set tags as text."""
        from mlflow.entities import RunTag

        self.client.log_batch(self.id, tags=[RunTag(name, str(value)) for name, value in tags.items()])

    def log_input(self, name: str, digest: str, source: str, facts: Mapping[str, Any]) -> None:
        """Log a data set by its digest (MLflow stores 36 digits; the tag holds all of them)."""
        from mlflow.entities import Dataset, DatasetInput

        profile = json.dumps(dict(facts))
        dataset = Dataset(name, digest[:36], "local", json.dumps({"uri": source}), profile=profile)
        self.client.log_inputs(self.id, [DatasetInput(dataset, [])])
        self.set_tags({f"{name}.sha256": digest})

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Copy a file or a folder into the run."""
        if path.is_dir():
            self.client.log_artifacts(self.id, str(path), folder)
            files = {one.relative_to(path).as_posix(): one for one in path.rglob("*") if one.is_file()}
        else:
            self.client.log_artifact(self.id, str(path), folder)
            files = {path.name: path}
        below = f"{folder}/" if folder else ""
        self.set_tags({f"{DIGEST_TAG}{below}{name}": FileDigest.of(one) for name, one in files.items()})

    def log_text(self, text: str, name: str) -> None:
        """Store a text as a file of the run."""
        self.client.log_text(self.id, text, name)
        self.set_tags({f"{DIGEST_TAG}{name}": bytes_digest(text.encode())})


class Tracking(dg.ConfigurableResource):
    """Opens the nested run of an asset, without MLflow's global state."""

    @contextmanager
    def run(
        self,
        context: dg.AssetExecutionContext,
        experiment: str,
        params: Mapping[str, Any],
        tags: Mapping[str, Any],
    ) -> Iterator[TrackedRun]:
        """A run for the asset; ends as FINISHED, or as FAILED with the error as a tag.

        Args:
            context: The asset's context.
            experiment: Name of the experiment.
            params: Settings, logged as params.
            tags: Market and other tags to find the run.
        """
        home = Home.resolve()
        client = open_store(home)
        experiment_key = experiment_id(client, home, experiment)
        dagster_run = context.run.run_id
        parent = _parent_run(client, home, experiment_key, dagster_run)
        asset = context.asset_key.to_user_string()
        commit, _ = code_state()
        all_tags = {
            PARENT_TAG: parent,
            DAGSTER_RUN_TAG: dagster_run,
            "asset": asset,
            "mlflow.source.name": "moola",
            "mlflow.source.git.commit": commit,
            **tags,
        }
        run_id = client.create_run(
            experiment_key, tags={name: str(value) for name, value in all_tags.items()}, run_name=asset
        ).info.run_id
        tracked = TrackedRun(client, experiment_key, run_id)
        try:
            tracked.log_params(params)
            yield tracked
        except BaseException as fault:
            client.set_tag(run_id, "fault", str(fault)[:5000])
            client.set_terminated(run_id, "FAILED")
            raise
        client.set_terminated(run_id, "FINISHED")


def _parent_run(client: "MlflowClient", home: Home, experiment: str, dagster_run: str) -> str:
    with _in_turn(home):
        query = f"tags.`{DAGSTER_RUN_TAG}` = '{dagster_run}' and tags.role = 'parent'"
        parents = client.search_runs([experiment], query, max_results=1)
        if parents:
            return parents[0].info.run_id
        commit, diff = code_state()
        tags = {DAGSTER_RUN_TAG: dagster_run, "role": "parent", "mlflow.source.git.commit": commit}
        run = client.create_run(experiment, tags=tags, run_name=f"dagster {dagster_run[:8]}")
        if diff:
            TrackedRun(client, experiment, run.info.run_id).log_text(diff, "uncommitted.diff")
        client.set_terminated(run.info.run_id, "FINISHED")
        return run.info.run_id


def _flattened(params: Mapping[str, Any], prefix: str) -> dict[str, str]:
    flat: dict[str, str] = {}
    for name, value in params.items():
        if isinstance(value, Mapping):
            flat |= _flattened(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = str(value)
    return flat
