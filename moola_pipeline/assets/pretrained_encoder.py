"""pretrained_encoder: trained to reconstruct hidden bars of the training period."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd

from moola_pipeline.assets.densified_windows import PRETRAINING
from moola_pipeline.assets.metadata import OWNERS, TRAINING, loss_picture
from moola_pipeline.assets.stage import (
    active_settings,
    integrity,
    launchpad_config,
    open_stage,
    show_epoch,
    verdict,
    windows_by_time,
)
from moola_pipeline.features.relativity import FeatureTable
from moola_pipeline.features.schema import FEATURE_NAMES
from moola_pipeline.labels.splits import resolve_dates, training_rows_end
from moola_pipeline.resources.compute import Compute
from moola_pipeline.resources.io_managers import PretrainedEncoder
from moola_pipeline.resources.pipeline import Pipeline
from moola_pipeline.resources.pretraining_processes import pretrain_in_processes
from moola_pipeline.staleness.fingerprints import code_version
from moola_pipeline.tracking.runs import Tracking
from moola_pipeline.training.settings import PretrainSettings

PretrainConfig = launchpad_config(PretrainSettings, "PretrainConfig", fixed=("stride",))


@dg.asset(
    group_name=TRAINING,
    owners=OWNERS,
    kinds={"pytorch", "mlflow"},
    io_manager_key="encoders",
    pool="gpu",
    code_version=code_version("pretrained_encoder"),
    check_specs=[
        integrity(
            "pretrained_encoder",
            "beats_imputation",
            "Hidden bars are reconstructed better than by mean, last value, interpolation or ridge.",
        ),
        integrity("pretrained_encoder", "training_period_only", "No bar after the training period was read."),
    ],
)
def pretrained_encoder(
    context: dg.AssetExecutionContext,
    config: PretrainConfig,  # pyright: ignore[reportInvalidTypeForm]
    pipeline: Pipeline,
    compute: Compute,
    tracking: Tracking,
    raw_nq_bars: pd.DataFrame,
    labeled_expansions: pd.DataFrame,
    relativity_features: FeatureTable,
    densified_windows: pd.DataFrame,
) -> Iterator[Any]:
    """Bidirectional LSTM, pretrained to reconstruct hidden bars from the bars around them.

    Weights in float32. It maps windows (B, 125, 24) to states (B, 125, 2H) of both directions; errors are in
    variances of the training bars.
    """
    from moola_pipeline.training.checkpoints import Checkpoints
    from moola_pipeline.training.device import precision_on
    from moola_pipeline.training.job_files import PretrainTask
    from moola_pipeline.training.pretrain import pretrain
    from moola_pipeline.windows.market_arrays import MarketArrays

    settings = active_settings(config, pipeline.chosen_profile().pretrain)
    with open_stage(context, pipeline, tracking, {"pretrain": settings}) as stage:
        device = compute.prepare()
        checkpoints = Checkpoints(pipeline.checkpoints("pretrained_encoder"), stage.made_from.fingerprint)
        chosen = densified_windows.loc[densified_windows["purpose"] == PRETRAINING, "bar0"]

        def on_epoch(entry: dict[str, float]) -> None:
            stage.run.log_epoch(entry)
            show_epoch(int(entry["epoch"]) + 1, settings.epochs, f"loss {entry['val_loss']:.4f}")

        processes = compute.processes_on(device)
        tick_points = stage.market.instrument.tick_points
        market = MarketArrays.from_table(raw_nq_bars, tick_points, relativity_features)
        windows = chosen.to_numpy(np.int64)
        with windows_by_time(raw_nq_bars):
            if processes == 1:
                result = pretrain(market, windows, settings, device, on_epoch, checkpoints)
            else:
                terms = compute.terms(device, processes)
                task = PretrainTask(market, windows, settings, terms, checkpoints)
                result = pretrain_in_processes(context, pipeline.home, task, on_epoch)
        end = training_rows_end(raw_nq_bars, resolve_dates(stage.market.splits, labeled_expansions))
        errors = result.errors
        facts = {
            "settings": settings.model_dump(mode="json"),
            "errors": errors,
            "history": result.history,
            "n_windows": result.n_windows,
            "first_bar_seen": str(raw_nq_bars["timestamp"].iloc[0]),
            "last_bar_seen": str(raw_nq_bars["timestamp"].iloc[result.last_row]),
            "bars_sha256": stage.data_digests["bars.train"],
            "features": list(FEATURE_NAMES),
            "code_version": code_version("pretrained_encoder"),
        }
        stage.run.log_metrics({f"error.{name}": error for name, error in errors.items()})
        yield stage.result(
            PretrainedEncoder(result.encoder, facts),
            {
                "n_windows": result.n_windows,
                "epochs": len(result.history),
                "processes": processes,
                "precision": precision_on(device),
                "loss_plot": loss_picture({settings.seed: result.history}, "pretraining"),
                "errors": dg.MetadataValue.json(errors),
                "last_bar_seen": facts["last_bar_seen"],
                "val_loss": errors["encoder"],
            },
            [
                _beats_imputation(errors),
                verdict("training_period_only", result.last_row < end, result.last_row, end - 1),
            ],
            device=device,
        )
        checkpoints.remove()  # only after the IO manager has stored the result


def _beats_imputation(errors: dict[str, float]) -> dg.AssetCheckResult:
    """Whether the encoder reconstructs hidden bars better than every imputation without a network."""
    best = min((name for name in errors if name != "encoder"), key=errors.__getitem__)
    return verdict(
        "beats_imputation",
        errors["encoder"] < errors[best],
        errors["encoder"],
        errors[best],
        f"mean squared error at hidden bars, in training variances; best imputation: {best}",
    )
