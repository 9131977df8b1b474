"""What can be held to without a registry or a cluster: the image's recipe and the chart's values."""

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


def test_the_image_copies_only_what_is_there_and_let_in():
    let_in = {line[1:] for line in (DEPLOY / "Dockerfile.dockerignore").read_text().split() if line[0] == "!"}
    copied = [word for line in _recipe() if line.startswith("COPY") for word in line.split()[2:-1]]
    assert copied
    assert set(copied) == let_in
    assert all((PROJECT_ROOT / name).exists() for name in copied)


def test_the_image_installs_and_runs_as_another_than_root():
    recipe = _recipe()
    user = next(number for number, line in enumerate(recipe) if line.startswith("USER"))
    assert recipe[user].split()[1] not in ("root", "0")
    assert sum(line.startswith("USER") for line in recipe) == 1
    assert user < min(
        number for number, line in enumerate(recipe) if "pip install" in line or "ENTRYPOINT" in line
    )


def test_the_image_is_of_the_cuda_that_the_pinned_torch_was_built_for():
    pins = (PROJECT_ROOT / "requirements.txt").read_text()
    toolkit = re.search(r"^cuda-toolkit==(\d+\.\d+)", pins, re.M)
    image = re.match(r"FROM nvidia/cuda:(\d+\.\d+)", _recipe()[0])
    assert toolkit and image
    assert image[1] == toolkit[1]


def test_every_pin_is_kept_in_the_image():
    (install,) = [line for line in _recipe() if "pip install" in line]
    assert "-c requirements.txt" in install


def test_the_chart_runs_these_definitions_on_kubernetes_with_one_home():
    deployment = _deployment()
    environment = {one["name"]: one["value"] for one in deployment["env"]}
    assert deployment["dagsterApiGrpcArgs"][-1] == "moola_pipeline.definitions"
    assert environment[EXECUTOR_VARIABLE] == KUBERNETES
    assert deployment["volumeMounts"][0]["mountPath"] == environment["MOOLA_HOME"]
    assert f"MOOLA_HOME={environment['MOOLA_HOME']}" in (DEPLOY / "Dockerfile").read_text()


def test_no_secret_stands_in_a_file():
    written = [path for path in DEPLOY.rglob("*") if path.is_file()]
    assert len(written) > 8
    named = re.compile(r"(password|secret_access_key|token)\s*[:=]\s*['\"]?[A-Za-z0-9/+]{8,}", re.I)
    assert not [path.name for path in written if named.search(path.read_text())]
    plain = {one["name"] for one in _deployment()["env"]}
    assert not plain & {
        "AWS_SECRET_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "MOOLA_TRACKING_URI",
        "MOOLA_DAGSTER_URI",
    }
