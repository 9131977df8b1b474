"""Stores outside the home: checks of the variables; no password is shown."""

import socket

import pytest

from moola_pipeline.errors import BadInput
from moola_pipeline.storage.home import Home
from moola_pipeline.storage.remote_stores import database_lock, remote_tracking_uri, without_secrets
from moola_pipeline.tracking.runs import artifacts_uri, has_store, tracking_uri

DATABASE = "postgresql+psycopg2://moola:hunter2@db.example/mlflow"


def test_without_variables_everything_lies_in_the_home(tmp_path, monkeypatch: pytest.MonkeyPatch):
    for name in ("MOOLA_TRACKING_URI", "MOOLA_ARTIFACTS_URI"):
        monkeypatch.delenv(name, raising=False)
    home = Home(tmp_path)
    assert tracking_uri(home) == f"sqlite:///{tmp_path}/data/mlflow/mlflow.db"
    assert artifacts_uri(home) == f"file://{tmp_path}/data/mlflow/artifacts"
    assert not has_store(home)


def test_with_variables_database_and_artifacts_lie_there(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MOOLA_TRACKING_URI", DATABASE)
    monkeypatch.setenv("MOOLA_ARTIFACTS_URI", "s3://moola/mlflow/")
    home = Home(tmp_path)
    assert tracking_uri(home) == DATABASE
    assert artifacts_uri(home) == "s3://moola/mlflow"
    assert has_store(home)


@pytest.mark.parametrize(
    "uri", ["postgresql://moola:hunter2@db.example/mlflow", "http://m:hunter2@host:5000"]
)
def test_another_kind_of_database_is_refused_without_its_password(uri: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MOOLA_TRACKING_URI", uri)
    with pytest.raises(BadInput, match=r"must begin with postgresql\+psycopg2://") as error:
        remote_tracking_uri()
    assert "hunter2" not in str(error.value)


def test_a_shared_database_without_a_bucket_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MOOLA_TRACKING_URI", DATABASE)
    monkeypatch.delenv("MOOLA_ARTIFACTS_URI", raising=False)
    with pytest.raises(BadInput, match="MOOLA_ARTIFACTS_URI must be set"):
        remote_tracking_uri()


def test_a_database_that_does_not_respond_is_named_without_its_password():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        uri = f"postgresql+psycopg2://moola:hunter2@127.0.0.1:{port}/mlflow"
        with (
            pytest.raises(BadInput, match=r"moola:\*\*\*@127\.0\.0\.1:\d+/mlflow: .*refused") as error,
            database_lock(uri),
        ):
            pass
    assert "hunter2" not in str(error.value)
    assert "\n" not in str(error.value)


def test_only_the_password_is_hidden():
    assert without_secrets(DATABASE) == "postgresql+psycopg2://moola:***@db.example/mlflow"
    assert without_secrets("s3://bucket/a@b") == "s3://bucket/a@b"
