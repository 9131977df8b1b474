"""Addresses of pages in the MLflow UI.

MLflow's UI has two halves, one for language models and one for model training, and opens the half that
its browser showed last. Each address here names the half for model training.
"""

import json
import os
from collections.abc import Sequence
from urllib.parse import quote

from moola_pipeline.storage.remote_stores import without_secrets

URL_VARIABLE = "MOOLA_MLFLOW_URL"
DEFAULT_URL = "http://127.0.0.1:5000"
KIND_TAG = "mlflow.experimentKind"
MODEL_TRAINING = "custom_model_development"
"""Kind of an experiment with training runs."""
_TRAINING_HALF = "workflowType=machine_learning"


def server_url() -> str:
    """Address of the MLflow server in use, without a password: Dagster's metadata stores it."""
    return without_secrets(os.environ.get(URL_VARIABLE, DEFAULT_URL)).rstrip("/")


def experiments_page(server: str) -> str:
    """The list of experiments of a server."""
    return f"{server}/#/experiments?{_TRAINING_HALF}"


def run_page(experiment: str, run: str) -> str:
    """A run; this and the pages below as links within MLflow's pages, or behind `server_url`."""
    return f"#/experiments/{experiment}/runs/{run}?{_TRAINING_HALF}"


def curves_page(experiment: str, runs: Sequence[str], metric: str) -> str:
    """A metric of several runs by step, in one chart."""
    chosen = {"runs": list(runs), "experiments": [experiment], "metric": metric, "plot_metric_keys": [metric]}
    query = "&".join(f"{name}={quote(json.dumps(value))}" for name, value in chosen.items())
    return f"#/metric?{query}&x_axis=step&{_TRAINING_HALF}"


def logged_model_page(experiment: str, model_id: str) -> str:
    """A logged model: its files, signature and scores."""
    return f"#/experiments/{experiment}/models/{model_id}?{_TRAINING_HALF}"


def version_page(name: str, version: str) -> str:
    """A version in the registry."""
    return f"#/models/{name}/versions/{version}?{_TRAINING_HALF}"
