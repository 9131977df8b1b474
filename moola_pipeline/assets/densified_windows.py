"""densified_windows: index of the pretraining and labeled windows in the feature table."""

from collections.abc import Callable, Iterator
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd

from moola_pipeline.assets.metadata import DATA, OWNERS, column_schema, windows_picture
from moola_pipeline.assets.stage import integrity, open_stage, verdict
from moola_pipeline.features.gates import is_dense, is_spread, weakest_feature
from moola_pipeline.features.relativity import FeatureTable
from moola_pipeline.features.schema import MIN_DENSITY, MIN_SPREAD
from moola_pipeline.labels.splits import UNUSED, resolve_dates, training_rows_end
from moola_pipeline.resources.pipeline import Pipeline
from moola_pipeline.staleness.fingerprints import code_version
from moola_pipeline.tracking.runs import Tracking
from moola_pipeline.windows.dense import (
    WINDOW_TABLE,
    crossing_segments,
    figures_by_position,
    pretraining_windows,
)

PRETRAINING = "pretraining"
POSITION_SAMPLE = 2000
MIN_CHECKED = 100
"""Fewer windows are too few for the 1st and 99th percentiles at one bar."""


@dg.asset(
    group_name=DATA,
    owners=OWNERS,
    kinds={"numpy", "parquet"},
    io_manager_key="frames",
    metadata=column_schema(WINDOW_TABLE),
    code_version=code_version("densified_windows"),
    check_specs=[
        integrity("densified_windows", "no_window_straddles", "No window crosses a segment boundary."),
        integrity(
            "densified_windows",
            "dense_at_each_position",
            "At each bar of the window, more than half of every feature's values are not 0.",
        ),
        integrity(
            "densified_windows",
            "spread_at_each_position",
            "At each bar of the window, every feature uses enough of its range.",
        ),
    ],
)
def densified_windows(
    context: dg.AssetExecutionContext,
    pipeline: Pipeline,
    tracking: Tracking,
    raw_nq_bars: pd.DataFrame,
    labeled_expansions: pd.DataFrame,
    relativity_features: FeatureTable,
) -> Iterator[Any]:
    """Index of the first bar of each pretraining and labeled window; windows are views, never copies.

    A table with one row for each window of 105 bars; with its 20 bars of context the network reads an array
    (125, 24) of `relativity_features`.
    """
    with open_stage(context, pipeline, tracking) as stage:
        segment = raw_nq_bars["segment"].to_numpy(np.int64)
        splits = resolve_dates(stage.market.splits, labeled_expansions)
        end = training_rows_end(raw_nq_bars, splits)
        tiled = pretraining_windows(segment, end, stage.profile.pretrain.stride)
        labeled = labeled_expansions.drop_duplicates(subset="window_id")
        labeled = labeled.loc[labeled["split"] != UNUSED]
        index = pd.concat(
            [
                pd.DataFrame({"bar0": tiled, "purpose": PRETRAINING}),
                pd.DataFrame({"bar0": labeled["bar0"], "purpose": labeled["split"]}),
            ],
            ignore_index=True,
        )
        bar0 = index["bar0"].to_numpy(np.int64)
        n_straddling = int(crossing_segments(bar0, segment).sum())
        sample = tiled[:: max(1, len(tiled) // POSITION_SAMPLE)]
        at_bar = figures_by_position(relativity_features.values, sample)
        counts = index["purpose"].value_counts()
        stage.run.log_metrics({f"windows.{name}": n for name, n in counts.items()})
        table_mb = relativity_features.values.nbytes / 2**20
        yield stage.result(
            index,
            {
                **{f"windows_{name}": int(n) for name, n in counts.items()},
                "windows_plot": windows_picture(index, raw_nq_bars),
                "index_mb": bar0.nbytes / 2**20,
                "feature_table_mb": table_mb,
                "last_training_bar": str(raw_nq_bars["timestamp"].iloc[max(end - 1, 0)]),
                "why_cpu": "an index of integers: a GPU would not help",
            },
            [
                verdict("no_window_straddles", n_straddling == 0, n_straddling, 0),
                _at_each_position("dense", at_bar.non_zero_share, MIN_DENSITY, is_dense, len(sample)),
                _at_each_position("spread", at_bar.spread_share, MIN_SPREAD, is_spread, len(sample)),
            ],
        )


def _at_each_position(
    name: str,
    shares: np.ndarray,
    limits: np.ndarray,
    passes: Callable[[np.ndarray], np.ndarray],
    n_windows: int,
) -> dg.AssetCheckResult:
    """Check (T, F) shares; too few windows always pass."""
    feature, share, limit = weakest_feature(shares, limits)
    checked = n_windows >= MIN_CHECKED
    note = f"lowest: {feature}, over {n_windows} windows"
    return verdict(
        f"{name}_at_each_position",
        not checked or bool(passes(shares).all()),
        share,
        limit,
        note if checked else f"{note}: not checked below {MIN_CHECKED}",
    )
