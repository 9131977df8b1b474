"""Addresses in the MLflow UI: of the half for model training, without a password."""

import json
from urllib.parse import parse_qs

import pytest

from moola_pipeline.tracking.pages import (
    curves_page,
    experiments_page,
    logged_model_page,
    run_page,
    server_url,
    version_page,
)


def test_pages_have_mlflow_s_paths():
    half = "?workflowType=machine_learning"
    assert run_page("1", "abc") == f"#/experiments/1/runs/abc{half}"
    assert logged_model_page("1", "m-abc") == f"#/experiments/1/models/m-abc{half}"
    assert version_page("moola-nq", "3") == f"#/models/moola-nq/versions/3{half}"
    assert experiments_page("http://127.0.0.1:5000") == f"http://127.0.0.1:5000/#/experiments{half}"


def test_the_curves_of_seeds_are_one_chart_by_step():
    path, _, query = curves_page("1", ["abc", "def"], "val_loss").partition("?")
    asked = {name: value for name, [value] in parse_qs(query).items()}
    assert path == "#/metric"
    assert json.loads(asked["runs"]) == ["abc", "def"]
    assert (json.loads(asked["metric"]), json.loads(asked["experiments"])) == ("val_loss", ["1"])
    assert (asked["x_axis"], asked["workflowType"]) == ("step", "machine_learning")


def test_the_server_is_the_one_in_use_and_its_password_is_hidden(monkeypatch: pytest.MonkeyPatch):
    assert server_url() == "http://127.0.0.1:5000"
    monkeypatch.setenv("MOOLA_MLFLOW_URL", "https://ann:hush@tracking.example/")
    assert server_url() == "https://ann:***@tracking.example"
