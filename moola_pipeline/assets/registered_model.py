"""registered_model: a version in the MLflow registry, and the promotion decision."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg
import numpy as np
import pandas as pd

from moola_pipeline.assets.metadata import OWNERS, RESULTS
from moola_pipeline.assets.stage import OpenStage, open_stage
from moola_pipeline.errors import IntegrityError
from moola_pipeline.evaluation.promotion import PromotionDecision, difference_text
from moola_pipeline.features.relativity import FeatureTable
from moola_pipeline.labels.splits import resolve_dates, training_rows_end
from moola_pipeline.resources.io_managers import TrainedClassifiers, WrittenReport
from moola_pipeline.resources.pipeline import Pipeline
from moola_pipeline.staleness.fingerprints import code_version
from moola_pipeline.tracking.pages import server_url, version_page
from moola_pipeline.tracking.promotion_log import apply_decision
from moola_pipeline.tracking.registry import champion_version, register
from moola_pipeline.tracking.runs import Tracking
from moola_pipeline.tracking.scores import HEADLINES, log_version_scores
from moola_pipeline.tracking.served_model import ROLLS, served_rolls

if TYPE_CHECKING:
    from moola_pipeline.windows.market_arrays import MarketArrays


@dg.asset(
    group_name=RESULTS,
    owners=OWNERS,
    kinds={"mlflow"},
    io_manager_key="facts",
    code_version=code_version("registered_model"),
)
def registered_model(
    context: dg.AssetExecutionContext,
    pipeline: Pipeline,
    tracking: Tracking,
    raw_nq_bars: pd.DataFrame,
    labeled_expansions: pd.DataFrame,
    relativity_features: FeatureTable,
    finetuned_classifier: TrainedClassifiers,
    bootstrap_ci_report: WrittenReport,
) -> Iterator[Any]:
    """Registers the served seed as `challenger`; the promotion rule decides whether it becomes `champion`.

    Runs on the CPU: copying files and reading some hundred windows gain nothing from a GPU.
    """
    from moola_pipeline.evaluation.alarm_budgets import ALARM_THRESHOLDS
    from moola_pipeline.evaluation.drift import REFERENCE, reference_of
    from moola_pipeline.windows.market_arrays import MarketArrays

    with open_stage(context, pipeline, tracking) as stage:
        name, served = stage.market.model_name, finetuned_classifier.served
        facts = _facts_of(stage, finetuned_classifier.facts, bootstrap_ci_report)
        tick_points = stage.market.instrument.tick_points
        market = MarketArrays.from_table(raw_nq_bars, tick_points, relativity_features)
        training_end = training_rows_end(raw_nq_bars, resolve_dates(stage.market.splits, labeled_expansions))
        reference = reference_of(served, market, labeled_expansions, training_end)
        facts[REFERENCE] = reference.model_dump(mode="json")
        budgets = bootstrap_ci_report.data.details.alarm_budgets
        facts[ALARM_THRESHOLDS] = {str(one.budget): one.threshold for one in budgets}
        facts[ROLLS] = served_rolls(stage.market.rolls())
        tags = _tags_of(stage, bootstrap_ci_report)
        parent = stage.run.parent
        registered = register(pipeline.home, parent, name, served, facts, tags)
        decision = _decision(stage, registered.version, bootstrap_ci_report, market, labeled_expansions)
        entry = apply_decision(pipeline.home, stage.run.client, name, registered.version, decision)
        same = "" if registered.is_new else f"the same weights as version {registered.version}; "
        decided = "promoted" if entry.verdict == "promoted" else "kept as challenger"
        if entry.champion == registered.version and entry.verdict == "stayed":
            decided = "champion already"
        decision = {
            "name": name,
            "version": registered.version,
            "is_new": registered.is_new,
            "aliases": ["challenger", "champion"] if entry.champion == registered.version else ["challenger"],
            "reason": f"{same}{entry.reason}",
        }
        stage.run.set_tags({"decision": decided, "reason": decision["reason"]})
        page = f"{server_url()}/{version_page(name, registered.version)}"
        log_version_scores(
            parent,
            bootstrap_ci_report.data,
            name,
            registered.version,
            stage.scored_labels,
            f"Version {registered.version}: {decided}. Reason: {decision['reason']}.",
        )
        yield stage.result(
            decision,
            {
                "model": f"models:/{name}/{registered.version}",
                "model_page": dg.MetadataValue.url(page),
                "aliases": ", ".join(decision["aliases"]),
                "decision": decided,
                "reason": decision["reason"],
                "rule": entry.rule,
                "interval": difference_text(entry.interval) if entry.interval else "not measured",
                "champion": str(entry.champion),
                "why_cpu": "copying files: a GPU would not help",
            },
        )


def _decision(
    stage: OpenStage,
    version: str,
    report: WrittenReport,
    market: "MarketArrays",
    labels: pd.DataFrame,
) -> PromotionDecision:
    """The promotion decision on a version: compared with the registered champion."""
    from moola_pipeline.evaluation import promotion
    from moola_pipeline.tracking.imported_promotion import contender

    home, name, checks = stage.market.home, stage.market.model_name, report.data.checks
    champion = champion_version(home, name)
    if champion is None:
        return promotion.decide_first_version(checks)
    try:
        new, old = (contender(home, name, number) for number in (version, champion))
    except IntegrityError as fault:
        # the reason is stored, so it must not name the home, which may move
        return promotion.decide_lost_champion(version, champion, str(fault).replace(f"{home.root}/", ""))
    rng = np.random.default_rng(stage.profile.report.seed)
    return promotion.decide_promotion(new, old, checks, market, labels, rng)


def _facts_of(stage: OpenStage, training: dict[str, Any], report: WrittenReport) -> dict[str, Any]:
    market, encoder = stage.market, training["encoder"]
    last_bar = max(training["last_bar_seen"], encoder["last_bar_seen"], key=pd.Timestamp)
    return {
        "model": market.model_name,
        "instrument": market.instrument.name,
        "simulated": market.simulated,
        "first_bar_seen": encoder["first_bar_seen"],
        "last_bar_seen": last_bar,
        "bars_sha256": report.data.data.sha256,
        "labels_sha256": report.data.data.labels_sha256,
        "settings": training["settings"],
        "served_seed": training["served"],
        "n_parameters": training["n_parameters"],
        "code_version": training["code_version"],
        "mlflow_run_id": stage.run.id,
    }


def _tags_of(stage: OpenStage, report: WrittenReport) -> dict[str, Any]:
    data = report.data
    scores = {
        name: f"{one.estimate:.4f} [{one.low:.4f}, {one.high:.4f}]"
        for name in HEADLINES
        if (one := data.metrics.get(name)) and None not in (one.estimate, one.low, one.high)
    }
    return {
        **scores,
        "data.sha256": data.data.sha256,
        "labels.sha256": data.data.labels_sha256,
        "simulated": stage.market.simulated,
        "profile": stage.profile.name,
    }
