"""latest_expansions: what the champion marks in bars that no split has used, and how these bars differ."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg
import numpy as np
import pandas as pd

from moola_pipeline.assets.drift import DRIFT_CHECKS, Drift, NewBars, compare, known_reference, no_drift
from moola_pipeline.assets.stage import OpenStage, open_stage
from moola_pipeline.errors import MissingArtifact
from moola_pipeline.features.relativity import FeatureTable
from moola_pipeline.labels.spans import labeled_windows
from moola_pipeline.labels.splits import SPLITS, resolve_dates, used_rows_end
from moola_pipeline.publish import publish_bytes, publish_json
from moola_pipeline.resources.compute import Compute
from moola_pipeline.resources.pipeline import Pipeline
from moola_pipeline.resources.provenance import code_version
from moola_pipeline.resources.registry import champion_version, load_version
from moola_pipeline.resources.tracking import Tracking
from moola_pipeline.windows.frame import CONTEXT_BARS

if TYPE_CHECKING:
    from moola_pipeline.models.annotator import Annotator

_NEW = "new"


@dg.asset(
    group_name="moola",
    kinds={"pytorch", "parquet"},
    io_manager_key="frames",
    pool="gpu",
    deps=["registered_model"],
    code_version=code_version("latest_expansions"),
    check_specs=DRIFT_CHECKS,
)
def latest_expansions(
    context: dg.AssetExecutionContext,
    pipeline: Pipeline,
    compute: Compute,
    tracking: Tracking,
    raw_nq_bars: pd.DataFrame,
    labeled_expansions: pd.DataFrame,
    relativity_features: FeatureTable,
) -> Iterator[Any]:
    """Expansions in the bars after the last split; empty, and saying so, where there are none."""
    from moola_pipeline.serving.annotate import Annotation, annotate_new, bar_arrays, nothing_found

    champion = champion_version(pipeline.home, pipeline.chosen_market().model_name)
    with open_stage(context, pipeline, tracking, upstream={"champion": champion}) as stage:
        device = compute.prepare()
        splits = resolve_dates(stage.market.splits, labeled_expansions)
        first_new = used_rows_end(raw_nq_bars, splits, SPLITS[-1])
        n_new = len(raw_nq_bars) - first_new
        note, found, drift = "", nothing_found(), no_drift("no new bars since the last split")
        try:
            annotator, facts = load_version(pipeline.home, f"models:/{stage.market.model_name}@champion")
        except MissingArtifact:
            note = "there is no champion yet"
            drift = no_drift(note)
        else:
            annotator.classifier.to(device)
            bars = bar_arrays(raw_nq_bars, stage.market.instrument.tick_points)
            found: Annotation = annotate_new(
                annotator, raw_nq_bars, bars, relativity_features, first_new, facts["model_version"], device
            )
            if found.n_windows == 0:
                note = f"{n_new} bars lie after the last split: too few for a window"
            tables = raw_nq_bars, labeled_expansions, relativity_features
            if n_new:
                drift = _drift(stage, annotator, facts, tables, first_new, found.expansions, str(device))
        _keep(stage, pipeline, drift)
        stage.run.log_metrics({"expansions": len(found.expansions), "windows": found.n_windows})
        yield stage.result(
            found.expansions.astype({"probability": "float32", "p_retracement": "float32"}),
            {
                "expansions": len(found.expansions),
                "new_bars": n_new,
                "windows_read": found.n_windows,
                "sessions": _spans_of_sessions(raw_nq_bars, first_new),
                "not_covered": _uncovered_words(found.not_covered, found.n_waiting),
                "modes": ", ".join(sorted(set(found.expansions["mode"]))) or "none",
                "champion": str(champion),
                "drift": drift.shown(),
                "note": note or f"{found.n_windows} windows read",
            },
            checks=drift.checks(),
            device=device,
        )


def _drift(
    stage: OpenStage,
    annotator: "Annotator",
    facts: dict[str, Any],
    tables: tuple[pd.DataFrame, pd.DataFrame, FeatureTable],
    first_new: int,
    marks: pd.DataFrame,
    device: str,
) -> Drift:
    """The new bars beside the reference of the version that marked them."""
    from moola_pipeline.assets.told import told_probabilities
    from moola_pipeline.serving.annotate import bar_arrays

    bars, labels, features = tables
    reference = known_reference(facts)
    if reference is None:
        return no_drift(f"version {facts['model_version']} was registered without a reference")
    behind = labels.loc[labels["bar0"] - CONTEXT_BARS >= first_new]
    windows = labeled_windows(behind.assign(split=_NEW), _NEW)
    p = np.empty(0)
    if len(windows.spans.type):
        arrays = bar_arrays(bars, stage.market.instrument.tick_points)
        p = told_probabilities(annotator, arrays, features, windows, device)[0]
    new = FeatureTable(
        features.values[first_new:],
        features.valid[first_new:],
        features.structure_valid[first_new:],
        features.atr[first_new:],
    )
    rng = np.random.default_rng(stage.profile.report.seed)
    return compare(reference, NewBars(bars.iloc[first_new:], new, marks, windows, p), rng)


def _keep(stage: OpenStage, pipeline: Pipeline, drift: Drift) -> None:
    """The findings beside the marks in the home, and in the MLflow run."""
    folder = pipeline.folder / "drift"
    publish_json(folder / "drift.json", drift.facts())
    if drift.picture:
        publish_bytes(folder / "drift.svg", drift.picture)
    else:
        (folder / "drift.svg").unlink(missing_ok=True)
    stage.run.log_artifact(folder, "drift")
    stage.run.log_metrics({f"drift.{name}": shift for name, shift in drift.shifts.items()})


def _spans_of_sessions(bars: pd.DataFrame, first_new: int) -> str:
    days = bars["session"].iloc[first_new:].unique()
    return f"{len(days)}: {days[0]:%Y-%m-%d} to {days[-1]:%Y-%m-%d}" if len(days) else "none"


def _uncovered_words(not_covered: pd.DataFrame, n_waiting: int) -> str:
    n_bars = int(not_covered["bars"].to_numpy(np.int64).sum())
    waiting = f"; {n_waiting} of them wait for bars of a session that is not over" if n_waiting else ""
    return f"{n_bars:,} bars at the edges of {len(not_covered)} stretches{waiting}"
