"""Executors: all steps in the run's process, or each step in a pod on Kubernetes."""

import os
from typing import Any

import dagster as dg

from moola_pipeline.errors import BadInput, install_command

EXECUTOR_VARIABLE = "MOOLA_EXECUTOR"
IN_PROCESS, KUBERNETES = "in_process", "kubernetes"
GPU_STEPS = ("pretrained_encoder", "finetuned_classifier", "bootstrap_ci_report", "latest_expansions")
"""Assets that run on a GPU when there is one."""
ONE_GPU = {"container_config": {"resources": {"limits": {"nvidia.com/gpu": "1"}}}}


def chosen_executor() -> Any:
    """The executor named in MOOLA_EXECUTOR; by default the in-process one.

    On one machine, a process for each step costs seconds and gains nothing. On Kubernetes each
    step is a job, and the steps in GPU_STEPS request one GPU.

    Raises:
        BadInput: If the name is unknown, or dagster-k8s is not installed.
    """
    chosen = os.environ.get(EXECUTOR_VARIABLE) or IN_PROCESS
    if chosen == IN_PROCESS:
        return dg.in_process_executor
    if chosen != KUBERNETES:
        raise BadInput(
            f"{EXECUTOR_VARIABLE} must be {IN_PROCESS} or {KUBERNETES}, got {chosen!r}. Correct or unset it."
        )
    try:
        from dagster_k8s import k8s_job_executor
    except ImportError:
        raise BadInput(
            f"{EXECUTOR_VARIABLE}={KUBERNETES} needs dagster-k8s, but it is not installed. "
            f"Run in the project root: {install_command('cluster')}"
        ) from None
    return k8s_job_executor.configured({"per_step_k8s_config": dict.fromkeys(GPU_STEPS, ONE_GPU)})
