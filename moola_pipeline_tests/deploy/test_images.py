"""Dockerfile and Helm values, checked without a registry or a cluster."""

import json
import re
from typing import Any

import yaml

from moola_pipeline.resources.executors import EXECUTOR_VARIABLE, KUBERNETES
from moola_pipeline.storage.home import PROJECT_ROOT

DEPLOY = PROJECT_ROOT / "deploy"


def _recipe() -> list[str]:
    text = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def _deployment() -> dict[str, Any]:
    values = yaml.safe_load((DEPLOY / "cluster" / "values.yaml").read_text())
    (deployment,) = values["dagster-user-deployments"]["deployments"]
    return deployment


def test_the_image_copies_existing_files_that_dockerignore_allows():
    allowed = {
        line[1:] for line in (DEPLOY / "Dockerfile.dockerignore").read_text().split() if line[0] == "!"
    }
    copied = [word for line in _recipe() if line.startswith("COPY") for word in line.split()[2:-1]]
    assert copied
    assert set(copied) == allowed
    assert all((PROJECT_ROOT / name).exists() for name in copied)


def test_the_image_does_not_install_or_run_as_root():
    recipe = _recipe()
    user = next(number for number, line in enumerate(recipe) if line.startswith("USER"))
    assert recipe[user].split()[1] not in ("root", "0")
    assert sum(line.startswith("USER") for line in recipe) == 1
    assert user < min(
        number for number, line in enumerate(recipe) if "pip install" in line or line.startswith("CMD")
    )


def test_the_image_has_no_entrypoint_that_would_swallow_the_command_of_the_chart():
    recipe = _recipe()
    assert not [line for line in recipe if line.startswith("ENTRYPOINT")]
    [command] = [line for line in recipe if line.startswith("CMD")]
    assert json.loads(command.removeprefix("CMD ")) == ["moola", "doctor"]


def test_the_image_has_the_cuda_version_of_the_pinned_torch():
    pins = (PROJECT_ROOT / "requirements.txt").read_text()
    toolkit = re.search(r"^cuda-toolkit==(\d+\.\d+)", pins, re.M)
    image = re.match(r"FROM nvidia/cuda:(\d+\.\d+)", _recipe()[0])
    assert toolkit and image
    assert image[1] == toolkit[1]


def test_the_image_installs_the_pinned_versions():
    (install,) = [line for line in _recipe() if "pip install" in line]
    assert "-c requirements.txt" in install


def test_the_chart_runs_these_definitions_on_kubernetes_with_one_home():
    deployment = _deployment()
    environment = {variable["name"]: variable["value"] for variable in deployment["env"]}
    assert deployment["dagsterApiGrpcArgs"][-1] == "moola_pipeline.definitions"
    assert environment[EXECUTOR_VARIABLE] == KUBERNETES
    assert deployment["volumeMounts"][0]["mountPath"] == environment["MOOLA_HOME"]
    assert f"MOOLA_HOME={environment['MOOLA_HOME']}" in (DEPLOY / "Dockerfile").read_text()


def test_no_file_contains_a_secret():
    written = [path for path in DEPLOY.rglob("*") if path.is_file()]
    assert len(written) > 8
    named = re.compile(r"(password|secret_access_key|token)\s*[:=]\s*['\"]?[A-Za-z0-9/+]{8,}", re.I)
    assert not [path.name for path in written if named.search(path.read_text())]
    plain = {variable["name"] for variable in _deployment()["env"]}
    assert not plain & {
        "AWS_SECRET_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "MOOLA_TRACKING_URI",
        "MOOLA_DAGSTER_URI",
    }
