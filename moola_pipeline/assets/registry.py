"""registered_model: a version in the MLflow registry, and whether it became champion."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from moola_pipeline.assets.stage import open_stage
from moola_pipeline.resources.artifacts import TrainedClassifiers, WrittenReport
from moola_pipeline.resources.pipeline import Pipeline
from moola_pipeline.resources.provenance import code_version
from moola_pipeline.resources.registry import promote_if_first, register
from moola_pipeline.resources.tracking import Tracking


@dg.asset(
    group_name="moola",
    kinds={"mlflow"},
    io_manager_key="facts",
    code_version=code_version("registered_model"),
)
def registered_model(
    context: dg.AssetExecutionContext,
    pipeline: Pipeline,
    tracking: Tracking,
    finetuned_classifier: TrainedClassifiers,
    bootstrap_ci_report: WrittenReport,
) -> Iterator[Any]:
    """Registers the served seed as `challenger`; it becomes `champion` when there is none.

    Runs on the CPU: it copies files, a GPU would not help.
    """
    with open_stage(context, pipeline, tracking) as stage:
        data = bootstrap_ci_report.data
        market, training = stage.market, finetuned_classifier.facts
        facts = {
            "model": market.model_name,
            "instrument": market.instrument.name,
            "simulated": market.simulated,
            "last_bar_seen": training["last_bar_seen"],
            "bars_sha256": data.data.sha256,
            "labels_sha256": data.data.labels_sha256,
            "settings": training["settings"],
            "served_seed": training["served"],
            "n_parameters": training["n_parameters"],
            "code_version": training["code_version"],
            "mlflow_run_id": stage.run.id,
        }
        scores = {
            name: f"{one.estimate:.4f} [{one.low:.4f}, {one.high:.4f}]"
            for name, one in data.metrics.items()
            if None not in (one.estimate, one.low, one.high)
        }
        tags = {
            **scores,
            "data.sha256": data.data.sha256,
            "labels.sha256": data.data.labels_sha256,
            "simulated": market.simulated,
            "profile": stage.profile.name,
        }
        version = register(
            pipeline.home, stage.run, market.model_name, finetuned_classifier.served, facts, tags
        )
        sound = all(check.passed for check in data.checks.values() if check.kind == "integrity")
        promoted, reason = promote_if_first(pipeline.home, market.model_name, version, sound)
        stage.run.set_tags({"decision": "promoted" if promoted else "kept as challenger", "reason": reason})
        decision = {
            "name": market.model_name,
            "version": version,
            "aliases": ["challenger", "champion"] if promoted else ["challenger"],
            "reason": reason,
        }
        yield stage.result(
            decision,
            {
                "model": f"models:/{market.model_name}/{version}",
                "aliases": ", ".join(decision["aliases"]),
                "reason": reason,
                "why_cpu": "copying files: a GPU would not help",
            },
        )
