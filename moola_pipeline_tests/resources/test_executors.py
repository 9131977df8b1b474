"""Executors: one process by default; on Kubernetes one pod per step, with a GPU where needed."""

import os
import subprocess
import sys

import dagster as dg
import pytest

from moola_pipeline.definitions import defs
from moola_pipeline.errors import BadInput
from moola_pipeline.resources.executors import GPU_STEPS, chosen_executor


def test_steps_run_in_process_by_default(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("MOOLA_EXECUTOR", raising=False)
    assert chosen_executor() is dg.in_process_executor


def test_the_steps_that_request_a_gpu_are_those_of_the_gpu_pool():
    in_pool = {
        asset.key.to_user_string()
        for asset in defs.resolve_asset_graph().assets_defs
        if isinstance(asset, dg.AssetsDefinition) and asset.is_executable and asset.op.pool == "gpu"
    }
    assert set(GPU_STEPS) == in_pool


def test_on_kubernetes_each_step_is_a_job_and_training_requests_one_gpu(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MOOLA_EXECUTOR", "kubernetes")
    executor = chosen_executor()
    assert executor.name == "k8s"
    step_configs = executor.apply_config_mapping({"config": {}}).value["config"]["per_step_k8s_config"]
    limits = {step: one["container_config"]["resources"]["limits"] for step, one in step_configs.items()}
    assert limits == {step: {"nvidia.com/gpu": "1"} for step in GPU_STEPS}


def test_the_definitions_take_the_executor_that_is_named():
    """In a new process: the definitions are built once per process."""
    job = "defs.resolve_job_def('train_job')"
    shown = f"from moola_pipeline.definitions import defs; print({job}.executor_def.name)"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", shown],
        env={**os.environ, "MOOLA_EXECUTOR": "kubernetes"},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stdout.strip() == "k8s"


def test_another_executor_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MOOLA_EXECUTOR", "ray")
    with pytest.raises(BadInput, match="must be in_process or kubernetes, got 'ray'"):
        chosen_executor()


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MOOLA_EXECUTOR", "kubernetes")
    monkeypatch.setitem(sys.modules, "dagster_k8s", None)
    with pytest.raises(BadInput, match="dagster-k8s, but it is not installed"):
        chosen_executor()
