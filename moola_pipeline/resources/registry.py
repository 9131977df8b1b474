"""Versions of the model in MLflow's registry: how one is registered, promoted and found."""

import re
import tempfile
from collections.abc import Mapping
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moola_pipeline.errors import BadInput, IntegrityError, MissingArtifact
from moola_pipeline.home import Home
from moola_pipeline.publish import locked
from moola_pipeline.resources.tracking import TrackedRun, open_store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.models import ModelSignature

    from moola_pipeline.models.annotator import Annotator

CHAMPION, CHALLENGER = "champion", "challenger"
MODEL_FOLDER = "model"
ANNOTATOR_FOLDER = "annotator"
MODEL_URI = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[\w-]+)|/(?P<version>\d+))")
SERVING_PACKAGES = (
    "mlflow",
    "torch",
    "numpy",
    "pandas",
    "pyarrow",
    "TA-Lib",
    "numba",
    "scikit-learn",
    "safetensors",
)


def register(
    home: Home,
    run: TrackedRun,
    name: str,
    annotator: "Annotator",
    facts: Mapping[str, Any],
    tags: Mapping[str, Any],
) -> str:
    """Register a model as the newest version, alias `challenger`.

    Args:
        home: Whose registry.
        run: The MLflow run that holds the model's files.
        name: Registered model.
        annotator: The model.
        facts: Of its making, kept in its config beside `model_version`.
        tags: Scores and digests, set on the version.

    Returns:
        The version's number.
    """
    import mlflow.pyfunc

    from moola_pipeline.models.annotator import save_annotator

    client = run.client
    with locked(home.tracking / "registry"), tempfile.TemporaryDirectory() as folder:
        known = _versions(client, name)
        version = str(max(known, default=0) + 1)
        annotator_folder = Path(folder) / ANNOTATOR_FOLDER
        save_annotator(annotator_folder, annotator, {**facts, "model_version": version})
        mlflow.pyfunc.save_model(
            Path(folder) / MODEL_FOLDER,
            python_model=str(Path(__file__).with_name("pyfunc_model.py")),
            artifacts={ANNOTATOR_FOLDER: str(annotator_folder)},
            signature=_signature(),
            pip_requirements=[
                f"{package}=={installed(package).split('+')[0]}" for package in SERVING_PACKAGES
            ],
        )
        run.log_artifact(Path(folder) / MODEL_FOLDER, MODEL_FOLDER)
        if not known:
            client.create_registered_model(name)
        source = f"{client.get_run(run.id).info.artifact_uri}/{MODEL_FOLDER}"
        texts = {key: str(value) for key, value in tags.items()}
        made = client.create_model_version(name, source, run_id=run.id, tags=texts)
        if str(made.version) != version:
            raise IntegrityError(
                f"{name}: the registry gave version {made.version}, expected {version}. Run again."
            )
        client.set_registered_model_alias(name, CHALLENGER, version)
    return version


def promote_if_first(home: Home, name: str, version: str, sound: bool) -> tuple[bool, str]:
    """Make a version champion when there is none and no integrity check failed.

    Returns:
        Whether it was promoted, and why or why not.
    """
    client = open_store(home)
    champion = version_of(client, name, CHAMPION)
    if champion is not None:
        return (
            False,
            f"version {champion} is champion; a comparison must show version {version} to be no worse",
        )
    if not sound:
        return False, "there is no champion, but an integrity check of this run failed"
    client.set_registered_model_alias(name, CHAMPION, version)
    return True, "there was no champion and every integrity check passed"


def champion_version(home: Home, name: str) -> str | None:
    """The champion's version; None where there is none."""
    return version_of(open_store(home), name, CHAMPION)


def is_registered(home: Home, name: str) -> bool:
    """Whether the registry holds a version of the model."""
    return version_of(open_store(home), name, CHALLENGER) is not None


def version_of(client: "MlflowClient", name: str, alias: str) -> str | None:
    """The version that an alias names; None where there is no such model or alias."""
    from mlflow.exceptions import MlflowException

    try:
        return str(client.get_model_version_by_alias(name, alias).version)
    except MlflowException:
        return None


def load_version(home: Home, uri: str) -> "tuple[Annotator, dict[str, Any]]":
    """The model behind `models:/NAME@ALIAS` or `models:/NAME/VERSION`, and the facts of its making.

    Raises:
        BadInput: If the text is no such URI.
        MissingArtifact: If there is no such model, alias or version.
        IntegrityError: If its files are gone, or not those that were registered.
    """
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    from moola_pipeline.models.annotator import load_annotator

    parts = MODEL_URI.fullmatch(uri)
    if parts is None:
        raise BadInput(f"--model must be models:/NAME@ALIAS or models:/NAME/VERSION, got {uri!r}.")
    client = open_store(home)
    try:
        if parts["alias"]:
            found = client.get_model_version_by_alias(parts["name"], parts["alias"])
        else:
            found = client.get_model_version(parts["name"], parts["version"])
    except MlflowException as fault:
        raise _not_registered(client, uri) from fault
    try:
        folder = download_artifacts(str(found.source), tracking_uri=client.tracking_uri)
        return load_annotator(Path(folder) / "artifacts" / ANNOTATOR_FOLDER)
    except (MlflowException, OSError, IntegrityError) as fault:
        named = (
            f": {str(fault).removesuffix(' Train it again.')}" if isinstance(fault, IntegrityError) else ""
        )
        raise IntegrityError(
            f"{uri}: the files of version {found.version} must be as registered, but they are gone or "
            f"changed{named.rstrip('.')}. Restore {home.tracking}, or move it away and run: moola run"
        ) from fault


def _not_registered(client: "MlflowClient", uri: str) -> MissingArtifact:
    known = [f"models:/{model.name}@{CHAMPION}" for model in client.search_registered_models()]
    choice = f"Choose one with --model {' or '.join(sorted(known))}, or run" if known else "Run"
    return MissingArtifact(f"{uri} must be a registered model, but it is not. {choice}: moola run")


def _versions(client: "MlflowClient", name: str) -> list[int]:
    return [int(found.version) for found in client.search_model_versions(f"name = '{name}'")]


def _signature() -> "ModelSignature":
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec
    from mlflow.types.schema import AnyType

    from moola_pipeline.bars.columns import KNOWN_NAMES
    from moola_pipeline.bars.schema import PRICE_COLUMNS

    columns: list[ColSpec | TensorSpec] = [ColSpec(DataType.double, name) for name in PRICE_COLUMNS]
    for role in ("time", "volume", "contract"):
        columns += [ColSpec(AnyType(), name, required=False) for name in KNOWN_NAMES[role]]
    params = ParamSchema([ParamSpec("timezone", DataType.string, "")])
    return ModelSignature(inputs=Schema(columns), params=params)
