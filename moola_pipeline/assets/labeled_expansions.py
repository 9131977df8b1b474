"""labeled_expansions: labels placed on the bars and split by time."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pandas as pd

from moola_pipeline.assets.metadata import DATA, OWNERS, column_schema, labels_picture
from moola_pipeline.assets.stage import integrity, open_stage, verdict
from moola_pipeline.bars.schema import content_digest
from moola_pipeline.labels.placement import GRADED_OUT, split_labels
from moola_pipeline.labels.schema import PLACED_TABLE, is_complete
from moola_pipeline.labels.split_checks import check_splits, class_counts, find_leakage
from moola_pipeline.labels.splits import UnsoundSplit, resolve_dates
from moola_pipeline.resources.pipeline import Pipeline
from moola_pipeline.staleness.fingerprints import code_version
from moola_pipeline.tracking.runs import Tracking
from moola_pipeline.tracking.tracked_run import DataInput


@dg.asset(
    group_name=DATA,
    owners=OWNERS,
    kinds={"pandas", "parquet"},
    io_manager_key="frames",
    metadata=column_schema(PLACED_TABLE),
    code_version=code_version("labeled_expansions"),
    check_specs=[
        integrity("labeled_expansions", "labels_on_bars", "Each labeled window lies on bars of one segment."),
        integrity("labeled_expansions", "splits_sound", "Each split holds expansions of both types."),
        integrity("labeled_expansions", "no_leakage", "Different splits are at least one embargo apart."),
    ],
)
def labeled_expansions(
    context: dg.AssetExecutionContext, pipeline: Pipeline, tracking: Tracking, raw_nq_bars: pd.DataFrame
) -> Iterator[Any]:
    """One row per labeled expansion, or per labeled window without one, with its split.

    A table with one row for each: the window of 105 bars, the expansion's first and last bar in it, its
    type, and the row of the window's bar 0 in `raw_nq_bars`.
    """
    with open_stage(context, pipeline, tracking) as stage:
        labels = stage.market.labels()
        placement = split_labels(labels, raw_nq_bars, stage.market.splits)
        frame = placement.frame
        refused = placement.refused.loc[placement.refused["reason"] != GRADED_OUT]
        splits = resolve_dates(stage.market.splits, frame)
        leaks = find_leakage(frame, splits.embargo_bars)
        sound, why = True, ""
        try:
            check_splits(frame, raw_nq_bars, splits)
        except UnsoundSplit as fault:
            sound, why = False, str(fault)
        digest = content_digest(labels)
        counts = class_counts(frame)
        stage.run.log_inputs([DataInput("labels", digest, "labels.csv", {"rows": len(labels)})])
        stage.run.set_tags({"labels.sha256": digest})
        stage.run.log_text(counts.to_csv(), "class_counts.csv")
        first_refused = "" if refused.empty else str(refused["detail"].iloc[0])
        yield stage.result(
            frame,
            {
                "rows": len(frame),
                "windows": len(set(frame["window_id"])),
                "incomplete_windows": frame.loc[~is_complete(frame), "window_id"].nunique(),
                "refused": len(refused),
                "class_counts": dg.MetadataValue.md(f"```\n{counts.to_string()}\n```"),
                "labels_plot": labels_picture(frame),
                "content_sha256": digest,
            },
            [
                verdict("labels_on_bars", refused.empty, len(refused), 0, first_refused),
                verdict("splits_sound", sound, sound, True, why),
                verdict("no_leakage", not leaks, len(leaks), 0, "; ".join(leaks[:3])),
            ],
            data_version=content_digest(frame),
        )
