"""latest_expansions: the champion's expansions and alarms in bars after the last split, and their drift."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg
import numpy as np
import pandas as pd

from moola_pipeline.assets.metadata import OWNERS, RESULTS, column_schema, marks_picture, svg_picture
from moola_pipeline.assets.stage import OpenStage, open_stage, score
from moola_pipeline.errors import MissingArtifact
from moola_pipeline.evaluation.drift import NAMES, Drift, compare, load_reference, no_drift
from moola_pipeline.features.relativity import FeatureTable
from moola_pipeline.inference.expansion_table import EXPANSION_DTYPES, EXPANSION_TABLE
from moola_pipeline.labels.spans import LabeledWindows, labeled_windows
from moola_pipeline.labels.splits import SPLITS, is_drawn, resolve_dates, used_rows_end
from moola_pipeline.resources.compute import Compute
from moola_pipeline.resources.pipeline import Pipeline
from moola_pipeline.staleness.fingerprints import code_version
from moola_pipeline.storage.atomic_write import atomic_write_bytes, atomic_write_json
from moola_pipeline.tracking.registry import champion_version, load_version
from moola_pipeline.tracking.runs import Tracking
from moola_pipeline.windows.window_geometry import CONTEXT_BARS

if TYPE_CHECKING:
    from moola_pipeline.inference.hindsight import Predictions
    from moola_pipeline.models.expansion_model import ExpansionModel
    from moola_pipeline.windows.market_arrays import MarketArrays

_NEW = "new"
_DRIFT_CHECKS = [score("latest_expansions", name, text) for name, text in NAMES.items()]


@dg.asset(
    group_name=RESULTS,
    owners=OWNERS,
    kinds={"pytorch", "parquet"},
    io_manager_key="frames",
    pool="gpu",
    deps=["registered_model"],  # the champion, read from the registry
    metadata=column_schema(EXPANSION_TABLE),
    code_version=code_version("latest_expansions"),
    check_specs=_DRIFT_CHECKS,
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
    """The champion's expansions and live alarms in the bars after the last split; empty if there are none.

    A table with one row for each; times are UTC opens of bars, probabilities 0 to 1.
    """
    from moola_pipeline.inference.hindsight import no_expansions
    from moola_pipeline.training.device import precision_on
    from moola_pipeline.windows.market_arrays import MarketArrays

    champion = champion_version(pipeline.home, pipeline.chosen_market().model_name)
    with open_stage(context, pipeline, tracking, upstream={"champion": champion}) as stage:
        device = compute.prepare()
        splits = resolve_dates(stage.market.splits, labeled_expansions)
        first_new = used_rows_end(raw_nq_bars, splits, SPLITS[-1])
        n_new = len(raw_nq_bars) - first_new
        note, drift = "", no_drift("no new bars since the last split")
        predictions = alarms = no_expansions()
        try:
            model, facts = load_version(pipeline.home, f"models:/{stage.market.model_name}@champion")
        except MissingArtifact:
            note = "there is no champion yet"
            drift = no_drift(note)
        else:
            model.classifier.to(device)
            tick_points = stage.market.instrument.tick_points
            market = MarketArrays.from_table(raw_nq_bars, tick_points, relativity_features)
            predictions, alarms = _predictions(model, market, first_new, facts["model_version"], str(device))
            if predictions.n_windows == 0:
                note = f"{n_new} bars lie after the last split: too few for a window"
            if n_new:
                windows = new_windows(labeled_expansions, first_new)
                p = _types(model, market, windows, str(device))
                drift = _drift(stage, facts, market.rows(first_new), predictions.expansions, windows, p)
        _store_drift(stage, pipeline, drift)
        counted = {"expansions": len(predictions.expansions), "live_alarms": len(alarms.expansions)}
        stage.run.log_metrics({**counted, "windows": predictions.n_windows})
        marks = _merged(predictions.expansions, alarms.expansions)
        yield stage.result(
            marks.astype(EXPANSION_DTYPES),
            {
                **counted,
                "new_bars": n_new,
                "windows_read": predictions.n_windows,
                "sessions": _spans_of_sessions(raw_nq_bars, first_new),
                "not_covered": _uncovered_words(predictions.not_covered, predictions.n_waiting),
                "modes": ", ".join(sorted(set(marks["mode"]))) or "none",
                "champion": str(champion),
                "marks_plot": marks_picture(raw_nq_bars, marks),
                "drift": _drift_picture(drift),
                "precision": precision_on(device),
                "note": note or f"{predictions.n_windows} windows read",
            },
            checks=_drift_checks(drift),
            device=device,
        )


def new_windows(labels: pd.DataFrame, first_new: int) -> LabeledWindows:
    """The labeled windows behind all splits that were drawn: those that drift is measured on.

    Args:
        labels: The frame of `labeled_expansions`.
        first_new: First bar behind all splits; a window may read none before it.
    """
    is_new = labels["bar0"] - CONTEXT_BARS >= first_new
    return labeled_windows(labels.loc[is_new & is_drawn(labels)].assign(split=_NEW), _NEW)


def _predictions(
    model: "ExpansionModel", market: "MarketArrays", first_new: int, model_version: str, device: str
) -> tuple["Predictions", "Predictions"]:
    """Expansions in hindsight, and live alarms; no alarms from a version without live thresholds."""
    from moola_pipeline.inference.hindsight import no_expansions, predict_new
    from moola_pipeline.inference.live import predict_live_new

    inputs = model, market, first_new, model_version, device
    has_live = model.thresholds.live is not None
    return predict_new(*inputs), predict_live_new(*inputs) if has_live else no_expansions()


def _merged(expansions: pd.DataFrame, alarms: pd.DataFrame) -> pd.DataFrame:
    """Expansions and alarms by first bar, each expansion before its alarms."""
    if alarms.empty:
        return expansions
    return pd.concat([expansions, alarms]).sort_values(
        ["started_at", "mode", "decided_at"], ignore_index=True
    )


def _types(
    model: "ExpansionModel", market: "MarketArrays", windows: LabeledWindows, device: str
) -> np.ndarray:
    """P(retracement) of the labeled expansions of windows: (n_expansions,)."""
    from moola_pipeline.evaluation.test_set import oracle_span_probabilities

    if not len(windows.spans.type):
        return np.empty(0)
    return oracle_span_probabilities(model, market, windows, device)[0]


def _drift(
    stage: OpenStage,
    facts: dict[str, Any],
    new: "MarketArrays",
    marks: pd.DataFrame,
    windows: LabeledWindows,
    p_retracement: np.ndarray,
) -> Drift:
    """Drift of the new bars from the version's reference; arguments as in `compare`."""
    reference = load_reference(facts)
    if reference is None:
        return no_drift(f"version {facts['model_version']} was registered without a drift reference")
    rng = np.random.default_rng(stage.profile.report.seed)
    return compare(reference, new, marks, windows, p_retracement, rng)


def _drift_checks(drift: Drift) -> list[dg.AssetCheckResult]:
    """The findings as Dagster checks, which warn at most."""
    return [
        dg.AssetCheckResult(
            check_name=one.name,
            passed=bool(one.passed),
            severity=dg.AssetCheckSeverity.WARN,
            description=one.said,
            metadata={"value": str(one.value), "limit": str(one.limit)},
        )
        for one in drift.findings
    ]


def _drift_picture(drift: Drift) -> dg.MarkdownMetadataValue:
    """The drift chart; without one, why nothing could be compared."""
    caption = "shift of each feature, and expansions in each new session"
    return svg_picture(caption if drift.picture else drift.findings[0].said, drift.picture)


def _store_drift(stage: OpenStage, pipeline: Pipeline, drift: Drift) -> None:
    """Store the findings beside the expansions in the home, and in the MLflow run."""
    folder = pipeline.artifact_path(stage.asset)  # covered by the asset's checksum file
    atomic_write_json(folder / "drift.json", drift.facts())
    if drift.picture:
        atomic_write_bytes(folder / "drift.svg", drift.picture)
    else:
        (folder / "drift.svg").unlink(missing_ok=True)
    stage.run.log_artifact(folder, "drift")
    stage.run.log_metrics({f"drift.{name}": shift for name, shift in drift.shifts.items()})


def _spans_of_sessions(bars: pd.DataFrame, first_new: int) -> str:
    days = bars["session"].iloc[first_new:].unique()
    return f"{len(days)}: {days[0]:%Y-%m-%d} to {days[-1]:%Y-%m-%d}" if len(days) else "none"


def _uncovered_words(not_covered: pd.DataFrame, n_waiting: int) -> str:
    n_bars = int(not_covered["bars"].to_numpy(np.int64).sum())
    waiting = f"; {n_waiting} of them wait for more bars of an open session" if n_waiting else ""
    return f"{n_bars:,} bars at the edges of {len(not_covered)} stretches{waiting}"
