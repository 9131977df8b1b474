"""relativity_features: the 24 input features of every bar."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd

from moola_pipeline.assets.metadata import (
    DATA,
    OWNERS,
    ROW_COUNT,
    feature_schema,
    figure_table,
    gate_picture,
)
from moola_pipeline.assets.stage import integrity, open_stage, verdict
from moola_pipeline.bars.schema import PRICE_COLUMNS
from moola_pipeline.features.gates import feature_table_figures, is_dense, is_spread, weakest_feature
from moola_pipeline.features.relativity import compute_features
from moola_pipeline.features.schema import FEATURE_NAMES, FEATURES, MIN_DENSITY, MIN_SPREAD
from moola_pipeline.resources.pipeline import Pipeline
from moola_pipeline.staleness.fingerprints import code_version
from moola_pipeline.tracking.runs import Tracking


@dg.asset(
    group_name=DATA,
    owners=OWNERS,
    kinds={"numpy", "talib"},
    io_manager_key="features",
    metadata=feature_schema(FEATURES),
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
    """24 causal features a bar, float32: 12 relativity and 12 structural features, computed by segment.

    An array (n_bars, 24) beside the rows of `raw_nq_bars`, without units, each column clipped to its range.
    """
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
                ROW_COUNT: len(table.values),
                "shape": str(table.values.shape),
                "dtype": str(table.values.dtype),
                "valid_share": float(table.valid.mean()),
                "figures": figure_table(figures),
                "figures_plot": gate_picture(FEATURES, density, spread),
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
