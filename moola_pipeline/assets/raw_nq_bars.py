"""raw_nq_bars: one clean table of one-minute bars from files checked by SHA256."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd

from moola_pipeline.assets.metadata import DATA, OWNERS, bars_picture, column_schema
from moola_pipeline.assets.stage import integrity, open_stage, verdict
from moola_pipeline.bars.schema import BAR_TABLE, content_digest, validate_bars
from moola_pipeline.bars.store import read_manifest
from moola_pipeline.errors import IntegrityError
from moola_pipeline.resources.pipeline import Pipeline
from moola_pipeline.staleness.fingerprints import code_version
from moola_pipeline.tracking.runs import Tracking
from moola_pipeline.tracking.tracked_run import DataInput


@dg.asset(
    group_name=DATA,
    owners=OWNERS,
    kinds={"pandas", "parquet"},
    io_manager_key="frames",
    metadata=column_schema(BAR_TABLE),
    code_version=code_version("raw_nq_bars"),
    check_specs=[
        integrity("raw_nq_bars", "bars_match_manifest", "Every file has its registered SHA256."),
        integrity(
            "raw_nq_bars", "bars_valid", "Times increase, candles are valid, prices lie on the tick grid."
        ),
    ],
)
def raw_nq_bars(context: dg.AssetExecutionContext, pipeline: Pipeline, tracking: Tracking) -> Iterator[Any]:
    """One-minute bars with session, contract and segment; simulated if none are registered.

    A table with a row for each minute that traded, about 1,380 a session and 350,000 a year. Times are
    UTC opens, prices index points. Runs on the CPU: hashing and sorting gain nothing from a GPU.
    """
    market = pipeline.chosen_market()
    try:
        bars = market.bars()
    except IntegrityError as fault:
        yield verdict("bars_match_manifest", False, "changed", "as registered", str(fault))
        raise
    digest = content_digest(bars)
    with open_stage(context, pipeline, tracking) as stage:
        files = read_manifest(market.store).files
        facts = {
            "rows": len(bars),
            "sessions": len(np.unique(bars["session"].to_numpy())),
            "segments": int(bars["segment"].iloc[-1]) + 1,
            "first_bar": str(bars["timestamp"].iloc[0]),
            "last_bar": str(bars["timestamp"].iloc[-1]),
            "rolls": _rolls(bars),
        }
        stage.run.log_inputs([DataInput("bars", digest, market.store.shown_manifest, facts)])
        stage.run.set_tags({"bars.sha256": digest})
        stage.run.log_params({file.file: file.sha256 for file in files}, "file.")
        stage.run.log_metrics({"rows": len(bars)})
        try:
            validate_bars(bars, market.instrument)
            valid, why = True, ""
        except IntegrityError as fault:
            valid, why = False, str(fault)
        yield stage.result(
            bars,
            {
                **facts,
                "content_sha256": digest,
                "bars_plot": bars_picture(bars),
                "why_cpu": "hashing and sorting: a GPU would not help",
            },
            [
                verdict("bars_match_manifest", True, len(files), len(files)),
                verdict("bars_valid", valid, len(bars), len(bars), why),
            ],
            data_version=digest,
        )


def _rolls(bars: pd.DataFrame) -> int | str:
    n_contracts = len(bars["contract"].dropna().unique())
    return n_contracts - 1 if n_contracts else "none registered: a roll looks like a price move"
