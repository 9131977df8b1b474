"""The served model as a logged model of MLflow: files without pickle, signature, example, digests."""

import json
import re
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moola_pipeline.tracking.served_model import example_bars, pinned_packages, served_signature
from moola_pipeline.tracking.tracked_run import TrackedRun, digest_tags, flattened

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

WEIGHTS_FOLDER = "expansion_model"
"""Folder of the weights among the model's files."""
MODEL_TYPE = "expansion model"
_VERSIONS_TAG = "mlflow.modelVersions"
"""Names the registered versions on the page of a logged model."""
_SOURCE = re.compile(r"models:/(m-[0-9a-f]+)")


def log_model(
    run: TrackedRun, name: str, folder: Path, facts: Mapping[str, Any], tags: Mapping[str, str]
) -> str:
    """Log the expansion model in `folder / WEIGHTS_FOLDER` and return the id of the logged model.

    Until its files are complete its status is pending.

    Args:
        run: The run whose output it is.
        name: Name of the registered model.
        folder: A temporary folder.
        facts: Facts of its training; the settings become params, the instrument that of the example.
        tags: Digests, market and profile.
    """
    import mlflow.pyfunc
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus
    from mlflow.models import Model

    params = {"finetune": facts.get("settings", {}), "served_seed": facts.get("served_seed", "")}
    logged = run.client.create_logged_model(
        run.experiment, name, run.id, dict(tags), flattened(params), MODEL_TYPE
    )
    model_id, files = logged.model_id, folder / "model"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the signature is complete, and the example is text on purpose
        mlflow.pyfunc.save_model(
            files,
            python_model=str(Path(__file__).with_name("pyfunc.py")),
            artifacts={WEIGHTS_FOLDER: str(folder / WEIGHTS_FOLDER)},
            signature=served_signature(),
            input_example=example_bars(str(facts["instrument"])),
            pip_requirements=pinned_packages(),
            # a path of this home would be wrong once the home has moved
            mlflow_model=Model(artifact_path="model", run_id=run.id, model_uuid=model_id, model_id=model_id),
        )
    for compiled in list(files.rglob("__pycache__")):  # it names the temporary folder
        shutil.rmtree(compiled)
    run.client.log_model_artifacts(model_id, str(files))
    run.client.set_logged_model_tags(model_id, digest_tags(files))
    run.client.finalize_logged_model(model_id, LoggedModelStatus.READY)
    run.client.log_outputs(run.id, [LoggedModelOutput(model_id, step=0)])
    return model_id


def create_version(run: TrackedRun, name: str, model_id: str, tags: Mapping[str, str]) -> "ModelVersion":
    """Make a version in the registry from a logged model, and name it on the page of the logged model."""
    client = run.client
    with _default_store(client):
        created = client.create_model_version(
            name, f"models:/{model_id}", run_id=run.id, tags=dict(tags), model_id=model_id
        )
    named = json.dumps([{"name": name, "version": str(created.version)}])
    client.set_logged_model_tags(model_id, {_VERSIONS_TAG: named})
    return created


def logged_model_of(version: "ModelVersion") -> str | None:
    """Id of the logged model that a version was made from; None if it is older than logged models."""
    made_from = _SOURCE.fullmatch(str(version.source))
    return made_from[1] if made_from else None


@contextmanager
def _default_store(client: "MlflowClient") -> Iterator[None]:
    """MLflow looks up the logged model of a new version in its default store, whatever the client's."""
    import mlflow

    before = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None
    mlflow.set_tracking_uri(client.tracking_uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)  # pyright: ignore[reportArgumentType] - None unsets it
