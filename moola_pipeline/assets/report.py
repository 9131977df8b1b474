"""bootstrap_ci_report: every score with its interval, beside what it must beat."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd

from moola_pipeline.assets.stage import (
    integrity,
    launchpad_config,
    open_stage,
    plain_value,
    score,
    settings_in_force,
    verdict,
)
from moola_pipeline.bars.schema import content_digest
from moola_pipeline.evaluation.bootstrap import Resampled
from moola_pipeline.evaluation.report_data import (
    Check,
    DataFacts,
    GalleryWindow,
    LossCurve,
    LossCurves,
    ReportData,
    RunFacts,
    Score,
)
from moola_pipeline.features.relativity import FeatureTable
from moola_pipeline.labels.schema import TYPES
from moola_pipeline.labels.spans import labeled_windows
from moola_pipeline.profiles import ReportSettings
from moola_pipeline.resources.artifacts import TrainedClassifiers, WrittenReport
from moola_pipeline.resources.compute import Compute
from moola_pipeline.resources.pipeline import Pipeline
from moola_pipeline.resources.provenance import STAGES, code_version, evaluations, recorded_fingerprint
from moola_pipeline.resources.tracking import Tracking
from moola_pipeline.windows.frame import WINDOW_BARS

ReportConfig = launchpad_config(ReportSettings, "ReportConfig")
Scored = dict[str, Resampled]
REQUIRED_BASELINES = ("majority", *(f"always_{name}" for name in TYPES))
TARGET_ESTIMATE, TARGET_LOW = 0.75, 0.65
"""Floor of the user's target: the estimate of type F1, and what its interval must stay above."""
PRIMARY, EVENT = "type_f1_macro", "event_f1_macro"
TEST_TAG, MODEL_TAG = "test.sha256", "model.fingerprint"
_NAME = "bootstrap_ci_report"


@dg.asset(
    group_name="moola",
    kinds={"scikitlearn", "mlflow"},
    io_manager_key="reports",
    pool="gpu",
    deps=["densified_windows", "pretrained_encoder"],  # it states their checks
    code_version=code_version(_NAME),
    check_specs=[
        integrity(_NAME, "baselines_present", "Every required baseline stands beside the model."),
        score(_NAME, "beats_baselines", "Type F1 minus the best baseline has an interval above zero."),
        score(_NAME, "target_f1", "Type F1 is at least 0.75 and its interval stays above 0.65."),
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
    finetuned_classifier: TrainedClassifiers,
) -> Iterator[Any]:
    """The model on the test windows, with 95 % intervals by session, baselines, peers and a page."""
    from moola_pipeline.assets import scoring
    from moola_pipeline.evaluation.report import render_html, summary_lines
    from moola_pipeline.serving.annotate import bar_arrays

    settings = settings_in_force(config, pipeline.chosen_profile().report)
    with open_stage(context, pipeline, tracking, {"report": settings}) as stage:
        device = compute.prepare()
        rng = np.random.default_rng(settings.seed)
        bars = bar_arrays(raw_nq_bars, stage.market.instrument.tick_points)
        test, train = (
            labeled_windows(labeled_expansions, "test"),
            labeled_windows(labeled_expansions, "train"),
        )
        ground = scoring.make_ground(bars, relativity_features, test, settings.resamples, rng)
        model, events = scoring.score_annotators(ground, finetuned_classifier.annotators, device)
        by_rule = scoring.find_by_rule(ground, train)
        baselines = scoring.score_baselines(ground, train, by_rule)
        peers = scoring.score_peers(ground, train, by_rule, rng)
        checks = _checks(model, baselines)
        facts = finetuned_classifier.facts
        seen = stage.sources["labels.test"] + stage.sources["bars.test"]
        scored = str(recorded_fingerprint(context.instance, "finetuned_classifier"))
        data = ReportData(
            data=DataFacts(
                simulated=stage.market.simulated,
                sha256=content_digest(raw_nq_bars),
                looks_at_test=_looks(stage.run, seen, scored),
                labels_sha256=stage.sources["labels"],
                labels_note=_labels_note(labeled_expansions, stage.market.simulated),
            ),
            device=device,
            profile=stage.profile.name,
            metrics=_scores(model),
            baselines={name: _scores(scored) for name, scored in baselines.items()},
            peers={name: _scores(scored) for name, scored in peers.items()},
            ceiling={},
            checks={**_earlier_checks(context), **checks},
            run=RunFacts(
                run_id=context.run.run_id,
                created_at=datetime.now(UTC),
                model_version=None,
                code_version=facts["code_version"],
                settings={
                    "pretrain": facts["encoder"]["settings"],
                    "finetune": facts["settings"],
                    "report": settings.model_dump(mode="json"),
                    "splits": stage.market.splits.model_dump(mode="json"),
                    "n_parameters": facts["n_parameters"],
                },
            ),
            seeds=facts["seeds"],
            differences=_differences(model, {**baselines, **peers}),
        )
        gallery = _gallery(raw_nq_bars, test, events[facts["served"]], settings.gallery_windows)
        report = WrittenReport(data, render_html(data, gallery, _curves(facts)))
        stage.run.log_text(report.page, "report.html")
        stage.run.log_text(data.model_dump_json(indent=2), "report.json")
        stage.run.log_metrics(_flat(data))
        stage.run.set_tags({TEST_TAG: seen, MODEL_TAG: scored})
        summary = "\n".join(summary_lines(data))
        yield stage.result(
            report,
            {
                "summary": dg.MetadataValue.md(f"```\n{summary}\n```"),
                "report": dg.MetadataValue.path(str(pipeline.report_folder / "report.html")),
                "looks_at_test": data.data.looks_at_test,
            },
            [
                verdict(name, check.passed, check.value, check.limit, warn=check.kind == "score")
                for name, check in checks.items()
            ],
            device=device,
        )


def _scores(scored: Scored) -> dict[str, Score]:
    return {name: Score.model_validate(one.interval) for name, one in scored.items()}


def _best(rivals: dict[str, Scored], metric: str) -> tuple[str, Resampled]:
    scored = {name: scores[metric] for name, scores in rivals.items() if metric in scores}
    name = max(scored, key=lambda rival: scored[rival].estimate)
    return name, scored[name]


def _differences(model: Scored, rivals: dict[str, Scored]) -> dict[str, dict[str, Score]]:
    """Model minus each rival on each shared metric, paired."""
    return {
        rival: {
            name: Score.model_validate(model[name].minus(scores[name]).interval)
            for name in scores
            if name in model
        }
        for rival, scores in rivals.items()
    }


def _checks(model: Scored, baselines: dict[str, Scored]) -> dict[str, Check]:
    missing = [name for name in REQUIRED_BASELINES if name not in baselines]
    _, best = _best(baselines, PRIMARY)
    ahead = model[PRIMARY].minus(best).interval
    own = model[PRIMARY].interval
    return {
        "baselines_present": Check(
            passed=not missing,
            kind="integrity",
            value=len(REQUIRED_BASELINES) - len(missing),
            limit=len(REQUIRED_BASELINES),
        ),
        "beats_baselines": Check(passed=ahead.low > 0, kind="score", value=ahead.low, limit=0.0),
        "target_f1": Check(
            passed=own.estimate >= TARGET_ESTIMATE and own.low > TARGET_LOW,
            kind="score",
            value=own.estimate,
            limit=TARGET_ESTIMATE,
        ),
    }


def _earlier_checks(context: dg.AssetExecutionContext) -> dict[str, Check]:
    """Integrity checks of the assets upstream, as Dagster last evaluated them."""
    upstream = {key.to_user_string() for key in context.assets_def.asset_deps[context.asset_key]}
    return {
        one.check_name: Check(
            passed=one.passed,
            kind="integrity",
            value=plain_value(one.metadata["value"]),
            limit=plain_value(one.metadata["limit"]),
        )
        for one in evaluations(context.instance, [asset for asset in STAGES if asset in upstream])
    }


def _looks(run: Any, test: str, model: str) -> int:
    """How many models have been scored on these test rows, this one included."""
    query = f"tags.`{TEST_TAG}` = '{test}'"
    found = run.client.search_runs([run.experiment], query, max_results=5000)
    return len({one.data.tags.get(MODEL_TAG) for one in found} | {model})


def _labels_note(labels: pd.DataFrame, simulated: bool) -> str | None:
    if simulated:
        return "labels drawn from the simulated market's known states, with an annotator's slips"
    annotators = sorted(labels["annotator"].dropna().unique())
    return f"labels by {', '.join(annotators)}" if annotators else None


def _curves(facts: dict[str, Any]) -> LossCurves:
    def curve(seed: int, history: list[dict[str, float]]) -> LossCurve:
        return LossCurve(seed, [e["train_loss"] for e in history], [e["val_loss"] for e in history])

    encoder = facts["encoder"]
    return LossCurves(
        [curve(encoder["settings"]["seed"], encoder["history"])],
        [curve(int(seed), history) for seed, history in facts["histories"].items()],
    )


def _gallery(bars: pd.DataFrame, test: Any, events: pd.DataFrame, n_windows: int) -> list[GalleryWindow]:
    """Test windows evenly spread over time."""
    if n_windows == 0:
        return []
    chosen = np.unique(np.linspace(0, len(test.bar0) - 1, n_windows).astype(int))
    pages = []
    for number in chosen:
        rows = bars.iloc[test.bar0[number] : test.bar0[number] + WINDOW_BARS]
        mine = np.flatnonzero(test.spans.window == number)
        found = events.loc[events["window"] == number]
        pages.append(
            GalleryWindow(
                window_id=str(test.window_id[number]),
                session=f"{pd.Timestamp(test.session[number]):%Y-%m-%d}",
                started_at=f"{rows['timestamp'].iloc[0]:%Y-%m-%d %H:%M} UTC",
                **{name: rows[name].to_numpy(float) for name in ("open", "high", "low", "close")},
                truth=[
                    (
                        int(test.spans.start[i]),
                        int(test.spans.end[i]),
                        TYPES[test.spans.type[i]],
                        int(test.spans.direction[i]),
                    )
                    for i in mine
                ],
                predicted=[
                    (int(e.onset), int(e.offset), TYPES[int(e.type)], int(e.direction), float(e.probability))
                    for e in found.itertuples()
                ],
            )
        )
    return pages


def _flat(data: ReportData) -> dict[str, float]:
    flat: dict[str, float] = {}
    groups = {
        "": data.metrics,
        **{f"{name}.": scores for name, scores in {**data.baselines, **data.peers}.items()},
    }
    for prefix, scores in groups.items():
        for name, one in scores.items():
            for part in ("estimate", "low", "high"):
                value = getattr(one, part)
                if value is not None:
                    flat[f"{prefix}{name}" + ("" if part == "estimate" else f".{part}")] = value
    return flat
