"""Passwords and keys come from the environment, and appear in no output and no file."""

import json
import socket
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moola_pipeline.cli.run_outcome import notebook_lines
from moola_pipeline.cli.ui import _dagster, _environment, _mlflow
from moola_pipeline.errors import BadInput
from moola_pipeline.storage.asset_checksums import write_checksums
from moola_pipeline.storage.bucket import pull, push, require_bucket
from moola_pipeline.storage.home import Home
from moola_pipeline.storage.remote_stores import (
    database_lock,
    remote_artifacts_uri,
    remote_tracking_uri,
    without_secrets,
)
from moola_pipeline_tests.cli.calls import call
from moola_pipeline_tests.secrets_found import found_in_files, found_in_text

PASSWORD, KEY = "hunter2-database", "hunter2-bucket"
SECRETS = (PASSWORD, KEY)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> str:
    """The environment of a cluster machine whose servers are down; returns the database's address."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    database = f"postgresql+psycopg2://moola:{PASSWORD}@127.0.0.1:{port}/mlflow"
    monkeypatch.setenv("MOOLA_TRACKING_URI", database)
    monkeypatch.setenv("MOOLA_ARTIFACTS_URI", "s3://moola/mlflow")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEY)
    return database


@pytest.mark.parametrize("words", [["doctor"], ["status"], ["registry", "list"], ["registry", "history"]])
@pytest.mark.parametrize("as_json", [True, False])
def test_the_output_of_a_command_without_servers_contains_no_secret(
    words: list[str], as_json: bool, cluster: str, tmp_path: Path
):
    result = call(*words, *(["--json"] if as_json else []), home=tmp_path / "home")
    shown = {"stdout": result.stdout, "stderr": result.stderr, "fault": str(result.exception)}
    assert found_in_text(SECRETS, **shown) == []
    assert result.stdout or result.stderr
    if (tmp_path / "home").exists():
        assert found_in_files(SECRETS, tmp_path / "home") == []


def test_a_secret_is_found_in_a_text_a_file_and_an_archive(tmp_path: Path):
    import zipfile

    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "log.txt").write_text(f"connecting with {PASSWORD}")
    with zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("log.txt", f"{KEY} " * 50)
    (tmp_path / "c").write_text("nothing")
    assert found_in_files(SECRETS, tmp_path) == ["a/log.txt", "b.zip"]
    assert found_in_text(SECRETS, one=f"x{KEY}", other="") == ["one"]


def test_the_notebook_lines_read_the_address_from_the_environment(tmp_path: Path):
    first, _ = notebook_lines(None, "moola-nq")
    assert first == ('import mlflow; import os; mlflow.set_tracking_uri(os.environ["MOOLA_TRACKING_URI"])')
    assert (
        notebook_lines("sqlite:///x", "moola-nq")[0]
        == 'import mlflow; mlflow.set_tracking_uri("sqlite:///x")'
    )


def test_command_lines_of_servers_contain_no_password(cluster: str, tmp_path: Path):
    commands = [word for service in (_dagster(3000), _mlflow(5000)) for word in service.command]
    assert found_in_text(SECRETS, words=" ".join(commands)) == []
    environment = _environment(Home(tmp_path), "http://127.0.0.1:5000")
    assert environment["MLFLOW_BACKEND_STORE_URI"] == cluster
    assert environment["MLFLOW_ARTIFACTS_DESTINATION"] == "s3://moola/mlflow"


@pytest.mark.parametrize("password", ["p@ss-word", "p/ss-word", "p:ss-word", "p#ss-word", "p?ss-word"])
def test_a_password_with_url_characters_is_refused_or_hidden(password: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MOOLA_TRACKING_URI", f"postgresql+psycopg2://moola:{password}@db.example:5432/mlflow")
    monkeypatch.setenv("MOOLA_ARTIFACTS_URI", "s3://moola/mlflow")
    try:
        uri = remote_tracking_uri()
    except BadInput as fault:
        assert "ss-word" not in str(fault)
        assert "%40 %3A %2F" in str(fault)
    else:  # it is parsed as a password, and hidden
        assert "ss-word" not in without_secrets(str(uri))


@pytest.mark.parametrize(
    "uri",
    [
        f"s3://somebody:{KEY}@moola/store",
        f"s3://{KEY}@moola/store",
        f"s3://moola/store?secret_key={KEY}",
        f"s3://moola/store?region=x&session_token={KEY}",
        f"s3://somebody:{KEY}/x@moola/store",
    ],
)
def test_a_bucket_address_with_keys_is_refused_without_showing_them(
    uri: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MOOLA_ARTIFACTS_URI", uri)
    for variable, ask in (
        ("MOOLA_STORE_URI", lambda: require_bucket(uri)),
        ("MOOLA_ARTIFACTS_URI", remote_artifacts_uri),
    ):
        with pytest.raises(BadInput, match=f"{variable} must not contain keys") as error:
            ask()
        assert KEY not in str(error.value)
        assert "AWS_SECRET_ACCESS_KEY" in str(error.value)


def test_push_and_pull_refuse_an_address_with_keys_before_connecting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    home = Home(tmp_path)
    path = home.store / "x" / "table"
    path.parent.mkdir(parents=True)
    path.with_suffix(".json").write_text("{}")
    write_checksums(path)
    monkeypatch.setenv("MOOLA_STORE_URI", f"s3://somebody:{KEY}@moola/store")
    for move in (push, pull):
        with pytest.raises(BadInput, match="must not contain keys") as error:
            move(home, path)
        assert KEY not in str(error.value)


def test_the_message_of_the_database_driver_is_shown_without_the_password(cluster: str):
    address = cluster.replace("127.0.0.1", f"{PASSWORD}.invalid")  # the driver's message has the host
    with pytest.raises(BadInput) as error, database_lock(address):
        pass
    assert 'host name "***.invalid"' in str(error.value)
    assert f":{PASSWORD}@" not in str(error.value)


@settings(max_examples=200, deadline=None)
@given(
    user=st.text("abcXYZ._-", min_size=1, max_size=8),
    password=st.text("abcXYZ019@:/?#%&=+ ~", min_size=6, max_size=24),
)
def test_without_secrets_hides_the_whole_password(user: str, password: str):
    shown = without_secrets(f"postgresql+psycopg2://{user}:{password}@db.example:5432/mlflow")
    assert shown == f"postgresql+psycopg2://{user}:***@db.example:5432/mlflow"


def test_addresses_without_secrets_are_unchanged():
    for uri in ("s3://moola/a?region=us-east-1", "sqlite:///home/mlflow.db", "http://127.0.0.1:5000/#/x"):
        assert without_secrets(uri) == uri
    assert json.dumps(without_secrets("http://h/x?password=abc&b=1")) == '"http://h/x?password=***&b=1"'
