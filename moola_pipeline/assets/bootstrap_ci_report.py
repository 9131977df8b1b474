"""bootstrap_ci_report: test scores with intervals, beside baselines and ablations."""

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import numpy as np
import pandas as pd

from moola_pipeline.assets.metadata import OWNERS, RESULTS, report_pictures
from moola_pipeline.assets.stage import (
    OpenStage,
    active_settings,
    integrity,
    launchpad_config,
    open_stage,
    plain_value,
    score,
    show_work,
    verdict,
)
from moola_pipeline.bars.schema import content_digest
from moola_pipeline.errors import IntegrityError
from moola_pipeline.features.relativity import FeatureTable
from moola_pipeline.labels.second_pass import twice_labeled
from moola_pipeline.labels.spans import LabeledWindows, labeled_windows
from moola_pipeline.labels.splits import SPLITS, UNUSED, SplitSettings, resolve_dates
from moola_pipeline.report.data import Check, DataFacts, Details, ReportData, RunFacts, Target
from moola_pipeline.resources.compute import Compute
from moola_pipeline.resources.io_managers import PretrainedEncoder, TrainedClassifiers, WrittenReport
from moola_pipeline.resources.pipeline import Pipeline
from moola_pipeline.settings import ReportSettings
from moola_pipeline.staleness.fingerprints import code_version
from moola_pipeline.staleness.records import evaluations, made_in, recorded
from moola_pipeline.staleness.stages import STAGES
from moola_pipeline.tracking.runs import Tracking
from moola_pipeline.tracking.scores import log_report
from moola_pipeline.tracking.tracked_run import TrackedRun
from moola_pipeline.windows.window_geometry import CONTEXT_BARS

if TYPE_CHECKING:
    from moola_pipeline.evaluation.all_scores import AllScores, ScoreInputs
    from moola_pipeline.evaluation.folds import EvaluationFold

ReportConfig = launchpad_config(ReportSettings, "ReportConfig")
TEST_TAG, MODEL_TAG = "test.sha256", "model.fingerprint"
_NAME = "bootstrap_ci_report"


@dg.asset(
    group_name=RESULTS,
    owners=OWNERS,
    kinds={"scikitlearn", "mlflow"},
    io_manager_key="reports",
    pool="gpu",
    code_version=code_version(_NAME),
    check_specs=[
        integrity(_NAME, "baselines_present", "The report holds every required baseline."),
        score(
            _NAME,
            "beats_baselines",
            "Type F1 beats the best of the trivial baselines and the untrained encoder, and the onset "
            "error beats the mean span: both 95 % intervals exclude 0.",
        ),
        score(_NAME, "target_f1", "Type F1 and the lower bound of its interval reach the target."),
        score(
            _NAME,
            "calibrated",
            "Calibration error lies within the range of a perfectly calibrated model at this sample size.",
        ),
    ],
)
def bootstrap_ci_report(
    context: dg.AssetExecutionContext,
    config: ReportConfig,  # pyright: ignore[reportInvalidTypeForm]
    pipeline: Pipeline,
    compute: Compute,
    tracking: Tracking,
    raw_nq_bars: pd.DataFrame,
    labeled_expansions: pd.DataFrame,
    relativity_features: FeatureTable,
    pretrained_encoder: PretrainedEncoder,
    finetuned_classifier: TrainedClassifiers,
) -> Iterator[Any]:
    """Test scores of the model, with 95 % bootstrap intervals by session, beside baselines and ablations.

    One HTML page and its numbers as JSON: each score is an estimate with bounds and n, in 0..1 unless it is
    counted in bars. Times of bars are UTC.
    """
    from moola_pipeline.evaluation import sections
    from moola_pipeline.evaluation.all_scores import ScoreInputs, score_all
    from moola_pipeline.evaluation.test_set import LabeledTestSet
    from moola_pipeline.metrics.scores import resample_windows
    from moola_pipeline.report.checks import score_checks
    from moola_pipeline.report.comparisons import differences, primary_comparisons
    from moola_pipeline.report.html import render_html, summary_lines
    from moola_pipeline.training.device import precision_on
    from moola_pipeline.training.settings import FinetuneSettings
    from moola_pipeline.windows.market_arrays import MarketArrays

    settings = active_settings(config, pipeline.chosen_profile().report)
    with open_stage(context, pipeline, tracking, {"report": settings}) as stage:
        device, rng = compute.prepare(), np.random.default_rng(settings.seed)
        facts = finetuned_classifier.facts
        tick_points = stage.market.instrument.tick_points
        market = MarketArrays.from_table(raw_nq_bars, tick_points, relativity_features)
        tested, folds = _evaluated_windows(stage.market.splits, labeled_expansions)
        test = labeled_windows(tested, "test")
        if len(folds) == 1:
            require_unseen(facts["last_bar_seen"], test, market.times)
        test_set = LabeledTestSet(market, resample_windows(test, settings.resamples, rng))
        twice = twice_labeled(tested, stage.market.labels(), raw_nq_bars, "test")
        inputs = ScoreInputs(
            test_set,
            folds,
            labeled_expansions,
            stage.market.splits.embargo_bars,
            twice,
            pretrained_encoder.encoder,
            finetuned_classifier.models,
            finetuned_classifier.scratch,
            finetuned_classifier.untrained,
            facts["served"],
            FinetuneSettings.model_validate(facts["settings"]),
            settings.live_sessions,
        )
        scored = score_all(inputs, device, compute.workers_on(device), rng, _show_fresh)
        target = Target(estimate=settings.target_f1, low=settings.target_low)
        bands = scored.model.perfect_bands.values()
        checks = score_checks(scored.scores, scored.below_network, bands, target)
        run = _run_facts(context, stage, labeled_expansions, facts, settings)
        about = _data_facts(context, stage, raw_nq_bars, labeled_expansions, pipeline.scenario)
        data = ReportData(
            data=about,
            device=device,
            precision=precision_on(device),
            profile=stage.profile.name,
            n_folds=len(folds),
            metrics=sections.as_scores({**scored.scores, **scored.sessions}),
            trivial_baselines=sections.as_tables(scored.trivial_baselines),
            baselines=sections.as_tables(scored.baselines),
            ablations=sections.as_tables(scored.ablations),
            second_pass=sections.as_scores(scored.second_pass),
            checks={**_earlier_checks(context, stage.market.name), **checks},
            run=run,
            seeds=list(scored.model.by_seed),
            differences=differences(
                scored.scores, scored.trivial_baselines | scored.baselines | scored.ablations
            ),
            chosen_baselines=scored.chosen,
            primaries=primary_comparisons(scored.scores, scored.baselines, scored.chosen),
            target=target,
            details=_details(
                context, stage, inputs, scored, rng, facts, (pipeline.report_folder, run, about)
            ),
        )
        served = scored.model.answers[facts["served"]].events
        gallery = sections.gallery(raw_nq_bars, test, served, settings.gallery_windows)
        report = WrittenReport(data, render_html(data, gallery, sections.loss_curves(facts)))
        stage.run.log_metrics(sections.flat_metrics(data))
        log_report(stage.run.parent, data, report.page)
        summary = "\n".join(summary_lines(data))
        yield stage.result(
            report,
            {
                "summary": dg.MetadataValue.md(f"```\n{summary}\n```"),
                "report": dg.MetadataValue.path(str(pipeline.report_folder / "report.html")),
                **report_pictures(data),
                "looks_at_test": about.looks_at_test,
                "precision": data.precision,
            },
            [
                verdict(name, check.passed, check.value, check.limit, warn=check.kind == "score")
                for name, check in checks.items()
            ],
            device=device,
        )


def _evaluated_windows(
    settings: SplitSettings, labels: pd.DataFrame
) -> tuple[pd.DataFrame, "list[EvaluationFold]"]:
    """The labels with the scored windows as their test split, and the folds."""
    from moola_pipeline.evaluation.folds import cross_validation, single_fold

    dates = resolve_dates(settings, labels)
    if dates.rule != "provisional":
        test, train, validation = (labeled_windows(labels, part) for part in ("test", *SPLITS[:2]))
        return labels, single_fold(len(test.bar0), train, validation)
    scored, folds = cross_validation(labels, dates.embargo_bars)
    is_scored = labels["window_id"].isin(scored.window_id.tolist())
    return labels.assign(split=np.where(is_scored, "test", UNUSED)), folds


def _details(
    context: dg.AssetExecutionContext,
    stage: OpenStage,
    inputs: "ScoreInputs",
    scored: "AllScores",
    rng: np.random.Generator,
    facts: dict[str, Any],
    report: tuple[Path, RunFacts, DataFacts],
) -> Details:
    """The details below the front page.

    `facts` are those of the training; `report` holds the folder, run and data of this report.
    """
    from moola_pipeline.evaluation import sections
    from moola_pipeline.evaluation.simulated_truth import prior_scores, truth_scores
    from moola_pipeline.report.comparisons import smallest_difference

    test_set, is_tested = inputs.test_set, len(inputs.folds) == 1
    (folder, run, about), market = report, stage.market
    details = sections.details_of(test_set, scored.model, facts["served"], inputs.folds, inputs.labels, rng)
    curve = sections.study_learning_curve(market.home.studies / market.name, stage.data_digests)
    was_built_in = partial(made_in, context.instance, _NAME, market.name)
    before = sections.previous_run(folder / "report.json", run, about, was_built_in)
    budgets = sections.alarm_budget_rows(scored.budgets)
    details = details.model_copy(update={"learning_curve": curve, "alarm_budgets": budgets})
    return details.model_copy(
        update={
            "smallest_difference": smallest_difference(scored.scores, scored.trivial_baselines)
            | smallest_difference(scored.scores, scored.baselines),
            "previous": before,
            "truth": truth_scores(test_set.resampled, scored.model, market.truth(), test_set.market.times),
            "prior": prior_scores(test_set.resampled, scored.model, inputs.models) if is_tested else {},
            "not_measured": sections.not_measured(details, scored.second_pass, before, scored.ablations)
            | ({} if is_tested else sections.WITHOUT_TEST),
        }
    )


def _data_facts(
    context: dg.AssetExecutionContext,
    stage: OpenStage,
    bars: pd.DataFrame,
    labels: pd.DataFrame,
    scenario: str,
) -> DataFacts:
    """Facts about the data; tags the run as one evaluation of this model on these test rows."""
    from moola_pipeline.evaluation.sections import labels_note

    digests = stage.data_digests
    has_test = bool((labels["split"] == "test").any())
    test_data = digests["labels.test"] + digests["bars.test"] if has_test else digests["labels"]
    model = recorded(context.instance, "finetuned_classifier", stage.market.name)
    fingerprint = str(model.fingerprint if model else None)
    n_models = _n_models_scored(stage.run, test_data, fingerprint)
    stage.run.set_tags({TEST_TAG: test_data, MODEL_TAG: fingerprint})
    return DataFacts(
        simulated=stage.market.simulated,
        sha256=content_digest(bars),
        looks_at_test=n_models,
        labels_sha256=digests["labels"],
        labels_note=labels_note(labels, stage.market.simulated, scenario),
    )


def require_unseen(last_bar_seen: str, test: LabeledWindows, timestamps: pd.DatetimeIndex) -> None:
    """Refuse to score a model on windows that overlap the bars it was fitted on.

    Args:
        last_bar_seen: Last bar of the training and validation windows.
        test: The test windows.
        timestamps: (n_bars,) UTC opens of the bar table.

    Raises:
        IntegrityError: If a test window reads that bar or an earlier one.
    """
    first = pd.Timestamp(str(timestamps[max(int(test.bar0.min()) - CONTEXT_BARS, 0)]))
    if not pd.Timestamp(last_bar_seen) < first:
        raise IntegrityError(
            f"test windows must start after the last bar that the model was fitted on, {last_bar_seen}, "
            f"but the first one reads from {first}. Run: moola run --force"
        )


def _earlier_checks(context: dg.AssetExecutionContext, market: str) -> dict[str, Check]:
    """Integrity checks of all stages before the report, as last evaluated by Dagster."""
    before = list(takewhile(lambda asset: asset != _NAME, STAGES))
    return {
        one.check_name: Check(
            passed=one.passed,
            kind="integrity",
            value=plain_value(one.metadata["value"]),
            limit=plain_value(one.metadata["limit"]),
        )
        for one in evaluations(context.instance, before, market)
    }


def _n_models_scored(run: TrackedRun, test: str, model: str) -> int:
    """Number of models scored on these test rows, including this one."""
    query = f"tags.`{TEST_TAG}` = '{test}'"
    runs = run.client.search_runs([run.experiment], query, max_results=5000)
    return len({one.data.tags.get(MODEL_TAG) for one in runs} | {model})


def _run_facts(
    context: dg.AssetExecutionContext,
    stage: OpenStage,
    labels: pd.DataFrame,
    facts: dict[str, Any],
    settings: ReportSettings,
) -> RunFacts:
    chosen = stage.market.splits
    splits = resolve_dates(chosen, labels)
    if chosen.rule == "rolling":
        splits = splits.model_copy(update={"rule": chosen.rule})
    return RunFacts(
        run_id=context.run.run_id,
        created_at=datetime.now(UTC),
        model_version=None,
        code_version=facts["code_version"],
        settings={
            "pretrain": facts["encoder"]["settings"],
            "finetune": facts["settings"],
            "report": settings.model_dump(mode="json"),
            "splits": splits.model_dump(mode="json"),
            "n_parameters": facts["n_parameters"],
        },
    )


def _show_fresh(name: str, seed: int, entry: dict[str, float]) -> None:
    show_work(f"{name}, epoch {int(entry['epoch']) + 1}, loss {entry['val_loss']:.4f}")
