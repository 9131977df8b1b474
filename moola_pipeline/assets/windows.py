"""densified_windows: an index of windows into the feature table."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd

from moola_pipeline.assets.stage import integrity, open_stage, verdict
from moola_pipeline.features.gates import MIN_NON_ZERO_SHARE
from moola_pipeline.features.relativity import FeatureTable
from moola_pipeline.features.schema import FEATURE_NAMES
from moola_pipeline.labels.splits import UNUSED, resolve_dates, training_rows_end
from moola_pipeline.resources.pipeline import Pipeline
from moola_pipeline.resources.provenance import code_version
from moola_pipeline.resources.tracking import Tracking
from moola_pipeline.windows.dense import density_by_position, pretraining_windows, straddling

PRETRAINING = "pretraining"
POSITION_SAMPLE = 2000


@dg.asset(
    group_name="moola",
    kinds={"numpy", "parquet"},
    io_manager_key="frames",
    code_version=code_version("densified_windows"),
    check_specs=[
        integrity("densified_windows", "no_window_straddles", "No window leaves its segment."),
        integrity(
            "densified_windows", "dense_at_each_position", "Features are dense at each bar of a window."
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
    """Rows of bar 0 of pretraining and labeled windows: views, never copies."""
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
        astray = int(straddling(bar0, segment).sum())
        sample = tiled[:: max(1, len(tiled) // POSITION_SAMPLE)]
        density = density_by_position(relativity_features.values, sample, range(len(FEATURE_NAMES)))
        counts = index["purpose"].value_counts()
        stage.run.log_metrics({f"windows.{name}": n for name, n in counts.items()})
        table_mb = relativity_features.values.nbytes / 2**20
        yield stage.result(
            index,
            {
                **{f"windows_{name}": int(n) for name, n in counts.items()},
                "index_mb": bar0.nbytes / 2**20,
                "feature_table_mb": table_mb,
                "last_training_bar": str(raw_nq_bars["timestamp"].iloc[max(end - 1, 0)]),
                "why_cpu": "an index of integers: a GPU would not help",
            },
            [
                verdict("no_window_straddles", astray == 0, astray, 0),
                verdict(
                    "dense_at_each_position",
                    bool((density > MIN_NON_ZERO_SHARE).all()),
                    float(density.min()),
                    MIN_NON_ZERO_SHARE,
                ),
            ],
        )
