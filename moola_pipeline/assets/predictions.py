"""latest_expansions: what the champion marks in bars that no split has used."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pandas as pd

from moola_pipeline.assets.stage import open_stage
from moola_pipeline.errors import MissingArtifact
from moola_pipeline.features.relativity import FeatureTable
from moola_pipeline.labels.splits import SPLITS, resolve_dates, used_rows_end
from moola_pipeline.resources.compute import Compute
from moola_pipeline.resources.pipeline import Pipeline
from moola_pipeline.resources.provenance import code_version
from moola_pipeline.resources.registry import champion_version, load_version
from moola_pipeline.resources.tracking import Tracking


@dg.asset(
    group_name="moola",
    kinds={"pytorch", "parquet"},
    io_manager_key="frames",
    pool="gpu",
    deps=["registered_model"],
    code_version=code_version("latest_expansions"),
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
        note, found = "", nothing_found()
        try:
            annotator, facts = load_version(pipeline.home, f"models:/{stage.market.model_name}@champion")
        except MissingArtifact:
            note = "there is no champion yet"
        else:
            annotator.classifier.to(device)
            found: Annotation = annotate_new(
                annotator,
                raw_nq_bars,
                bar_arrays(raw_nq_bars, stage.market.instrument.tick_points),
                relativity_features,
                first_new,
                facts["model_version"],
                device,
            )
            if found.n_windows == 0:
                note = f"{n_new} bars lie after the last split: too few for a window"
        stage.run.log_metrics({"expansions": len(found.expansions), "windows": found.n_windows})
        yield stage.result(
            found.expansions.astype({"probability": "float32", "p_retracement": "float32"}),
            {
                "expansions": len(found.expansions),
                "new_bars": n_new,
                "windows_read": found.n_windows,
                "champion": str(champion),
                "note": note or f"{found.n_windows} windows read",
            },
            device=device,
        )
