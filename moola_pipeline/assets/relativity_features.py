"""relativity_features: the 24 input features of every bar."""

import base64
from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd

from moola_pipeline.assets.stage import integrity, open_stage, verdict
from moola_pipeline.bars.schema import PRICE_COLUMNS
from moola_pipeline.features.gates import feature_table_figures, is_dense, is_spread, weakest_feature
from moola_pipeline.features.relativity import compute_features
from moola_pipeline.features.schema import FEATURE_NAMES, FEATURES, MIN_DENSITY, MIN_SPREAD, Feature
from moola_pipeline.resources.pipeline import Pipeline
from moola_pipeline.staleness.fingerprints import code_version
from moola_pipeline.tracking.runs import Tracking


def figure_table(figures: pd.DataFrame) -> dg.TableMetadataValue:
    """A table with one row per feature for the Dagster UI."""
    rows = figures.rename_axis("feature").reset_index().round(3).to_dict("records")
    records = [dg.TableRecord({str(name): value for name, value in row.items()}) for row in rows]
    return dg.MetadataValue.table(records)


def gate_picture(features: Sequence[Feature], density: np.ndarray, spread: np.ndarray) -> str:
    """Markdown with a bar chart: density and spread of each feature, with a mark at its limit."""
    from moola_pipeline.plotting import picture_file
    from moola_pipeline.report.feature_charts import gate_figure

    least_density, least_spread = (
        np.array([getattr(feature, name) for feature in features]) for name in ("min_density", "min_spread")
    )
    charts = {
        "density: share of values that are not 0": (density, least_density),
        "spread: 1st to 99th percentile of range": (spread, least_spread),
    }
    picture = picture_file(gate_figure([feature.name for feature in features], charts), ".svg")
    encoded = base64.b64encode(picture).decode()
    return f"![density and spread of each feature](data:image/svg+xml;base64,{encoded})"


@dg.asset(
    group_name="moola",
    kinds={"numpy", "talib"},
    io_manager_key="features",
    code_version=code_version("relativity_features"),
    check_specs=[
        integrity(
            "relativity_features", "non_zero_density", "More than half of every feature's values are not 0."
        ),
        integrity("relativity_features", "feature_spread", "Every feature uses enough of its range."),
    ],
)
def relativity_features(
    context: dg.AssetExecutionContext, pipeline: Pipeline, tracking: Tracking, raw_nq_bars: pd.DataFrame
) -> Iterator[Any]:
    """24 causal features a bar, float32: 12 relativity and 12 structural features, computed by segment."""
    with open_stage(context, pipeline, tracking) as stage:
        table = compute_features(
            raw_nq_bars[list(PRICE_COLUMNS)].to_numpy(np.float64),
            raw_nq_bars["segment"].to_numpy(np.int64),
            stage.market.instrument.tick_points,
        )
        figures = feature_table_figures(table.values[table.structure_valid])
        stage.run.log_params({"features": ",".join(FEATURE_NAMES)})
        density, spread = (figures[name].to_numpy(float) for name in ("non_zero_share", "spread_share"))
        for name, shares in (("non_zero", density), ("spread", spread)):
            logged = zip(FEATURE_NAMES, shares.tolist(), strict=True)
            stage.run.log_metrics({f"{name}.{feature}": share for feature, share in logged})
        yield stage.result(
            table,
            {
                "shape": str(table.values.shape),
                "dtype": str(table.values.dtype),
                "valid_share": float(table.valid.mean()),
                "figures": figure_table(figures),
                "figures_plot": dg.MetadataValue.md(gate_picture(FEATURES, density, spread)),
                "why_cpu": "one compiled pass of about 0.1 s for five years: a GPU would not help",
            },
            [
                _gate("non_zero_density", density, MIN_DENSITY, is_dense(density)),
                _gate("feature_spread", spread, MIN_SPREAD, is_spread(spread)),
            ],
        )


def _gate(name: str, shares: np.ndarray, limits: np.ndarray, passed: np.ndarray) -> dg.AssetCheckResult:
    feature, share, limit = weakest_feature(shares, limits)
    return verdict(name, bool(passed.all()), share, limit, f"lowest: {feature}")
