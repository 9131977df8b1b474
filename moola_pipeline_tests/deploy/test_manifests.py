"""The Kubernetes objects made of deploy/cluster, checked against the API's own model without a cluster."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import kubernetes.client
import pytest
import yaml
from dagster._config.validate import process_config
from dagster._core.instance.config import dagster_instance_config
from dagster_k8s import K8sRunLauncher
from dagster_k8s.models import k8s_model_from_dict, k8s_snake_case_dict

from moola_pipeline_tests.deploy import chart

KINDS = {"Job": kubernetes.client.V1Job, "Deployment": kubernetes.client.V1Deployment}
API = {"Job": "batch/v1", "Deployment": "apps/v1"}


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, dict[str, Any]]]:
    """Job of a run, of a step on the processor, and of a step on a GPU."""
    with chart.instance_in(tmp_path_factory.mktemp("instance")) as instance:
        made = {}
        for name, asset in (("plain step", "raw_nq_bars"), ("GPU step", "pretrained_encoder")):
            run, launcher = chart.launched(instance, Path("/opt/moola"), asset)
            made[name] = chart.step_job(run, launcher, instance)
            made["run"] = chart.run_job(run, launcher)
        yield made


def require_valid(manifest: dict[str, Any]) -> None:
    """Refuse a wrong kind or version, an unknown or missing field, and a wrong type.

    Raises:
        Exception: Of dagster-k8s or of the Kubernetes client; names the field.
    """
    kind = manifest["kind"]
    assert manifest["apiVersion"] == API[kind]
    model = k8s_model_from_dict(KINDS[kind], k8s_snake_case_dict(KINDS[kind], manifest))
    assert chart.manifest(model) == manifest, "every value survives the API's types"


def pod_of(manifest: dict[str, Any]) -> dict[str, Any]:
    return manifest["spec"]["template"]["spec"]


def test_the_jobs_of_runs_and_steps_and_the_code_location_are_valid(jobs: dict[str, dict[str, Any]]):
    for manifest in (*jobs.values(), chart.code_location()):
        require_valid(manifest)


@pytest.mark.parametrize(
    ("path", "value", "error"),
    [
        (("apiVersion",), "apps/v2", "apps/v1"),
        (("spec", "template", "spec", "volumes", 0, "persistentVolumeClam"), {}, "persistentVolumeClam"),
        (("spec", "template", "spec", "containers", 0, "volumeMounts", 0, "path"), "/srv", "path"),
        (("spec", "template", "spec", "containers", 0, "name"), None, "name"),
        (("spec", "template", "spec", "securityContext", "runAsUser"), "10001", "runAsUser|types|10001"),
    ],
)
def test_a_mistake_in_a_manifest_is_refused(path: tuple[str | int, ...], value: Any, error: str):
    manifest = yaml.safe_load(yaml.safe_dump(chart.code_location()))
    part: Any = manifest
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    with pytest.raises(Exception, match=error):
        require_valid(manifest)


def test_names_of_volumes_mounts_and_variables_are_unique_in_every_pod(jobs: dict[str, dict[str, Any]]):
    for manifest in (*jobs.values(), chart.code_location()):
        pod = pod_of(manifest)
        [container] = pod["containers"]
        for listed, key in (
            (pod["volumes"], "name"),
            (container["volumeMounts"], "mountPath"),
            (container["env"], "name"),
        ):
            names = [one[key] for one in listed]
            assert sorted(names) == sorted(set(names))
        assert {mount["name"] for mount in container["volumeMounts"]} <= {
            one["name"] for one in pod["volumes"]
        }


def test_all_pods_share_environment_secret_home_and_user(jobs: dict[str, dict[str, Any]]):
    own = {variable["name"]: variable["value"] for variable in chart.deployment()["env"]}
    for manifest in (*jobs.values(), chart.code_location()):
        pod = pod_of(manifest)
        [container] = pod["containers"]
        variables = {one["name"]: one.get("value") for one in container["env"]}
        assert variables.items() >= own.items()
        assert {"secretRef": {"name": "moola"}} in container["envFrom"]
        assert {"name": "home", "persistentVolumeClaim": {"claimName": "moola-home"}} in pod["volumes"]
        assert pod["securityContext"] == chart.deployment()["podSecurityContext"]
        assert "command" not in container, "a command would replace that of the image"


def test_the_user_of_the_pods_is_the_user_of_the_image():
    [created] = [line for line in chart.recipe() if "useradd" in line]
    uid = re.search(r"--uid (\d+)", created)
    assert uid
    assert chart.deployment()["podSecurityContext"]["runAsUser"] == int(uid[1])


def test_only_a_step_that_can_use_a_gpu_requests_one(jobs: dict[str, dict[str, Any]]):
    limits = {
        name: pod_of(manifest)["containers"][0].get("resources", {}).get("limits", {})
        for name, manifest in jobs.items()
    }
    assert limits == {"run": {}, "plain step": {}, "GPU step": {"nvidia.com/gpu": "1"}}


def test_the_launcher_takes_the_settings_of_the_values():
    config = chart.launcher_config()
    checked = dg.Field(K8sRunLauncher.config_type())
    assert process_config(checked.config_type, config).success
    unknown = process_config(checked.config_type, {**config, "volume_mount": []})
    assert not unknown.success


def test_the_instance_file_for_several_machines_has_no_unknown_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    given = yaml.safe_load((chart.DEPLOY / "cluster" / "dagster.yaml").read_text())
    monkeypatch.setenv("MOOLA_DAGSTER_URI", "postgresql+psycopg2://u:p@h/dagster")
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(given))
    config, _ = dagster_instance_config(str(tmp_path))
    assert config["storage"] == {"postgres": {"postgres_url": {"env": "MOOLA_DAGSTER_URI"}}}
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump({**given, "run_monitorin": {}}))
    with pytest.raises(dg.DagsterInvalidConfigError, match="run_monitorin"):
        dagster_instance_config(str(tmp_path))
