"""What Dagster's Helm chart makes of deploy/cluster/values.yaml, without helm and without a cluster.

The chart's templates place the values as they are: arguments of the code location, environment, volumes,
security context. Jobs of runs and steps come from dagster-k8s, with a client that keeps what it is given.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import kubernetes.client
import yaml
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.launcher import LaunchRunContext
from dagster._core.origin import DEFAULT_DAGSTER_ENTRY_POINT, JobPythonOrigin, RepositoryPythonOrigin
from dagster._grpc.types import ExecuteStepArgs
from dagster_k8s import K8sRunLauncher
from dagster_k8s.container_context import K8sContainerContext
from dagster_k8s.job import UserDefinedDagsterK8sConfig, construct_dagster_k8s_job
from dagster_k8s.models import k8s_snake_case_dict

from moola_pipeline.definitions import defs
from moola_pipeline.resources.executors import GPU_STEPS, ONE_GPU
from moola_pipeline.storage.home import PROJECT_ROOT

DEPLOY = PROJECT_ROOT / "deploy"
VALUES = yaml.safe_load((DEPLOY / "cluster" / "values.yaml").read_text())
DAGSTER_HOME = "/opt/dagster/dagster_home"
"""The chart's `global.dagsterHome`; its dagster.yaml lies there."""
IMAGE = "moola:latest"


def deployment() -> dict[str, Any]:
    """The values of the one code location."""
    [found] = VALUES["dagster-user-deployments"]["deployments"]
    return found


def recipe() -> list[str]:
    """The instructions of the Dockerfile, one a line."""
    text = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def image_environment() -> dict[str, str]:
    """The variables that ENV sets."""
    [line] = [line.removeprefix("ENV ") for line in recipe() if line.startswith("ENV ")]
    return dict(word.split("=", 1) for word in line.split())


def grpc_command(port: int) -> list[str]:
    """Arguments of the code location's container."""
    return ["dagster", "api", "grpc", "-h", "0.0.0.0", "-p", str(port), *deployment()["dagsterApiGrpcArgs"]]


def health_command(port: int) -> list[str]:
    """Its readiness probe."""
    return ["dagster", "api", "grpc-health-check", "-p", str(port)]


def webserver_command(port: int, workspace: Path) -> list[str]:
    """Command of the webserver's container."""
    return ["dagster-webserver", "-h", "0.0.0.0", "-p", str(port), "-w", str(workspace)]


def daemon_command(workspace: Path) -> list[str]:
    """Command of the daemon's container."""
    return ["dagster-daemon", "run", "-w", str(workspace)]


def workspace(port: int) -> dict[str, Any]:
    """The workspace file of webserver and daemon."""
    server = {"host": "localhost", "port": port, "location_name": deployment()["name"]}
    return {"load_from": [{"grpc_server": server}]}


def container_context() -> dict[str, Any]:
    """What the code location hands to its runs (`includeConfigInLaunchedRuns`)."""
    given = deployment()
    assert given["includeConfigInLaunchedRuns"]["enabled"]
    return {
        "k8s": {
            "image_pull_policy": given["image"]["pullPolicy"],
            "env": given["env"],
            "env_secrets": [secret["name"] for secret in given["envSecrets"]],
            "volumes": given["volumes"],
            "volume_mounts": given["volumeMounts"],
        }
    }


def launcher_config() -> dict[str, Any]:
    """The run launcher's part of the chart's dagster.yaml, with the chart's names filled in."""
    given = VALUES["runLauncher"]["config"]["k8sRunLauncher"]
    pod = k8s_snake_case_dict(kubernetes.client.V1PodSpec, given["runK8sConfig"]["podSpecConfig"])
    return {
        "service_account_name": "dagster",
        "instance_config_map": "dagster-instance",
        "postgres_password_secret": VALUES["global"]["postgresqlSecretName"],
        "dagster_home": DAGSTER_HOME,
        "job_image": IMAGE,
        "load_incluster_config": False,
        "env_secrets": [secret["name"] for secret in given["envSecrets"]],
        "volumes": given["volumes"],
        "volume_mounts": given["volumeMounts"],
        "run_k8s_config": {"pod_spec_config": pod},
    }


class CollectedJobs(kubernetes.client.BatchV1Api):
    """A Kubernetes client that keeps the jobs that it is asked to create."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs: list[kubernetes.client.V1Job] = []

    def create_namespaced_job(self, body: Any, namespace: str, **_: Any) -> None:  # pyright: ignore
        """Keep the job."""
        self.jobs.append(body)


@contextmanager
def instance_in(folder: Path) -> Iterator[dg.DagsterInstance]:
    """Dagster's instance of a folder; SQLite stands for the chart's Postgres."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    with dg.DagsterInstance.from_config(str(folder)) as instance:
        yield instance


def launched(instance: dg.DagsterInstance, folder: Path, asset: str) -> tuple[dg.DagsterRun, K8sRunLauncher]:
    """A run of one asset of `train_job` on simulated bars, and the launcher of the chart.

    Args:
        instance: Holds the run.
        folder: Where the code lies in the image.
        asset: The only step.
    """
    pointer = ModuleCodePointer(deployment()["dagsterApiGrpcArgs"][-1], "defs", str(folder))
    repository = RepositoryPythonOrigin(
        sys.executable, pointer, IMAGE, DEFAULT_DAGSTER_ENTRY_POINT, container_context()
    )
    smoke = {"config": {"profile": "smoke", "market": "simulated"}}
    run = instance.create_run_for_job(
        defs.resolve_job_def("train_job"),
        run_config={"resources": {"pipeline": smoke}},
        asset_selection=frozenset({dg.AssetKey(asset)}),
        job_code_origin=JobPythonOrigin("train_job", repository),
    )
    kubeconfig = instance.root_directory + "/kubeconfig"
    server = {"server": "http://127.0.0.1:1"}
    names = {"current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}]}
    parts = {"clusters": [{"name": "c", "cluster": server}], "users": [{"name": "u", "user": {}}]}
    Path(kubeconfig).write_text(json.dumps({"apiVersion": "v1", "kind": "Config", **names, **parts}))
    launcher = K8sRunLauncher(
        **launcher_config(), kubeconfig_file=kubeconfig, k8s_client_batch_api=CollectedJobs()
    )
    launcher.register_instance(instance)
    return run, launcher


def run_job(run: dg.DagsterRun, launcher: K8sRunLauncher) -> dict[str, Any]:
    """The Kubernetes job of a run."""
    launcher.launch_run(LaunchRunContext(run, None))
    client = launcher._api_client.batch_api
    assert isinstance(client, CollectedJobs)
    [job] = client.jobs
    return manifest(job)


def step_job(run: dg.DagsterRun, launcher: K8sRunLauncher, instance: dg.DagsterInstance) -> dict[str, Any]:
    """The Kubernetes job of the run's step, as the executor of `MOOLA_EXECUTOR=kubernetes` makes it."""
    step = next(iter(run.asset_selection or ())).to_user_string()
    assert run.job_code_origin is not None
    arguments = ExecuteStepArgs(run.job_code_origin, run.run_id, [step], instance.get_ref())
    own = ONE_GPU if step in GPU_STEPS else {}
    context = K8sContainerContext.create_for_run(run, launcher, include_run_tags=False)
    context = context.merge(K8sContainerContext(run_k8s_config=UserDefinedDagsterK8sConfig.from_dict(own)))
    job = construct_dagster_k8s_job(
        context.get_k8s_job_config(IMAGE, launcher),
        arguments.get_command_args(skip_serialized_namedtuple=True),
        "dagster-step-1",
        context.run_k8s_config,
        component="step_worker",
        env_vars=arguments.get_command_env(),
    )
    return manifest(job)


def code_location() -> dict[str, Any]:
    """The Kubernetes deployment of the code location; its labels are shortened."""
    given, labels = deployment(), {"deployment": deployment()["name"]}
    container = {
        "name": "dagster-user-deployments",
        "image": IMAGE,
        "imagePullPolicy": given["image"]["pullPolicy"],
        "args": grpc_command(given["port"]),
        "env": given["env"],
        "envFrom": [{"secretRef": secret} for secret in given["envSecrets"]],
        "readinessProbe": {"exec": {"command": health_command(given["port"])}, "periodSeconds": 20},
        "volumeMounts": given["volumeMounts"],
    }
    pod = {
        "containers": [container],
        "volumes": given["volumes"],
        "securityContext": given["podSecurityContext"],
    }
    template = {"metadata": {"labels": labels}, "spec": pod}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "dagster-moola"},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template},
    }


def manifest(model: Any) -> dict[str, Any]:
    """A Kubernetes object as the API receives it."""
    return json.loads(json.dumps(kubernetes.client.ApiClient().sanitize_for_serialization(model)))
