"""finetuned_classifier: span proposer, network and thresholds, one model per training seed, and ablations."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import dagster as dg
import pandas as pd

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
from moola_pipeline.labels.spans import labeled_windows
from moola_pipeline.resources.compute import Compute
from moola_pipeline.resources.io_managers import PretrainedEncoder, TrainedClassifiers
from moola_pipeline.resources.pipeline import Pipeline
from moola_pipeline.staleness.fingerprints import code_version
from moola_pipeline.tracking.runs import Tracking
from moola_pipeline.tracking.tracked_run import SEED_RUN
from moola_pipeline.training.settings import FinetuneSettings
from moola_pipeline.windows.window_geometry import WINDOW_BARS

if TYPE_CHECKING:
    from moola_pipeline.training.expansion_models import TrainedModel

FinetuneConfig = launchpad_config(FinetuneSettings, "FinetuneConfig")


@dg.asset(
    group_name=TRAINING,
    owners=OWNERS,
    kinds={"pytorch", "mlflow"},
    io_manager_key="classifiers",
    pool="gpu",
    code_version=code_version("finetuned_classifier"),
    check_specs=[
        integrity(
            "finetuned_classifier",
            "no_collapse",
            "On validation, every seed predicts both types, and its probabilities vary.",
        )
    ],
)
def finetuned_classifier(
    context: dg.AssetExecutionContext,
    config: FinetuneConfig,  # pyright: ignore[reportInvalidTypeForm]
    pipeline: Pipeline,
    compute: Compute,
    tracking: Tracking,
    raw_nq_bars: pd.DataFrame,
    labeled_expansions: pd.DataFrame,
    relativity_features: FeatureTable,
    pretrained_encoder: PretrainedEncoder,
) -> Iterator[Any]:
    """One model per seed: it finds expansions, scores them, and predicts the type of each.

    Span proposer, network and thresholds, at most 100,000 numbers a model. It maps a window (125, 24) and the
    spans proposed in it to first and last bar, probability and P(retracement) of each. Its ablations, the
    same network from scratch and heads on an untrained encoder, are trained beside it.
    """
    from moola_pipeline.training.ablations import MODEL, train_with_ablations
    from moola_pipeline.training.checkpoints import Checkpoints
    from moola_pipeline.training.device import precision_on
    from moola_pipeline.training.examples import TrainingData
    from moola_pipeline.windows.market_arrays import MarketArrays

    settings = active_settings(config, pipeline.chosen_profile().finetune)
    with open_stage(context, pipeline, tracking, {"finetune": settings}) as stage:
        device = compute.prepare()
        checkpoints = Checkpoints(pipeline.checkpoints("finetuned_classifier"), stage.made_from.fingerprint)
        train, validation = (labeled_windows(labeled_expansions, split) for split in ("train", "validation"))
        tick_points = stage.market.instrument.tick_points
        market = MarketArrays.from_table(raw_nq_bars, tick_points, relativity_features)

        epochs_done: dict[tuple[str, int], int] = {}
        n_networks = len(settings.seeds) + len(settings.seeds[: settings.scratch_seeds])

        def on_epoch(network: str, seed: int, entry: dict[str, float]) -> None:
            if network == MODEL:
                runs[seed].log_epoch(entry)
            epochs_done[network, seed] = int(entry["epoch"]) + 1
            total, note = settings.all_epochs * n_networks, f"{network} {seed} loss {entry['val_loss']:.4f}"
            show_epoch(sum(epochs_done.values()), total, note)

        with ExitStack() as open_runs, windows_by_time(raw_nq_bars):
            runs = {
                seed: open_runs.enter_context(stage.run.child(f"{SEED_RUN}{seed}", {"seed": seed}))
                for seed in settings.seeds
            }
            data, encoder = TrainingData(market, train, validation), pretrained_encoder.encoder
            workers = compute.workers_on(device)
            networks = train_with_ablations(encoder, data, settings, device, on_epoch, checkpoints, workers)
            trained = networks.models
            for seed, one in trained.items():
                runs[seed].log_metrics({"best_val_loss": one.val_loss})
        served = min(trained, key=lambda seed: trained[seed].val_loss)
        last_row = int(validation.bar0.max()) + WINDOW_BARS - 1
        facts = {
            **_facts_of(trained, served, stage.data_digests),
            "scratch_seeds": list(networks.scratch),
            "settings": settings.model_dump(mode="json"),
            "first_bar_seen": pretrained_encoder.facts["first_bar_seen"],
            "last_bar_seen": str(raw_nq_bars["timestamp"].iloc[last_row]),
            "encoder": pretrained_encoder.facts,
        }
        one = trained[served].model
        stage.run.log_params(one.proposer.model_dump(), "proposer.")
        stage.run.log_params(one.thresholds.model_dump(), "thresholds.")
        stage.run.log_metrics({"n_parameters": one.n_parameters, "val_loss": trained[served].val_loss})
        yield stage.result(
            TrainedClassifiers(
                {seed: one.model for seed, one in trained.items()},
                networks.scratch,
                networks.untrained,
                facts,
            ),
            {
                "n_parameters": one.n_parameters,
                "precision": precision_on(device),
                "served_seed": served,
                "val_loss": trained[served].val_loss,
                "loss_plot": loss_picture(facts["histories"], "fine-tuning"),
                "type_shares": dg.MetadataValue.json({str(k): v for k, v in facts["type_shares"].items()}),
                "proposer": dg.MetadataValue.json(one.proposer.model_dump()),
            },
            [_no_collapse(facts, settings.min_class_share)],
            device=device,
        )
        checkpoints.remove()  # only after the IO manager has stored the result


def _facts_of(
    trained: Mapping[int, "TrainedModel"], served: int, data_digests: Mapping[str, str]
) -> dict[str, Any]:
    """Facts of the trainings, by seed, for the report and the registry."""
    return {
        "seeds": list(trained),
        "served": served,
        "histories": {seed: one.result.history for seed, one in trained.items()},
        "type_shares": {seed: one.type_shares for seed, one in trained.items()},
        "spreads": {seed: one.spread for seed, one in trained.items()},
        "stopped": {seed: one.result.stopped for seed, one in trained.items() if one.result.stopped},
        "n_parameters": trained[served].model.n_parameters,
        "bars_sha256": data_digests["bars.validation"],
        "features": list(FEATURE_NAMES),
        "labels_sha256": {part: data_digests[f"labels.{part}"] for part in ("train", "validation")},
        "code_version": code_version("finetuned_classifier"),
    }


def _no_collapse(facts: Mapping[str, Any], min_class_share: float) -> dg.AssetCheckResult:
    """Whether every seed predicts both types on validation, with probabilities that vary."""
    from moola_pipeline.training.best_epoch import MIN_TYPE_SPREAD

    shares = {seed: min(shares.values()) for seed, shares in facts["type_shares"].items()}
    worst, lowest_spread = min(shares, key=shares.__getitem__), min(facts["spreads"].values())
    return verdict(
        "no_collapse",
        shares[worst] >= min_class_share and lowest_spread > MIN_TYPE_SPREAD,
        shares[worst],
        min_class_share,
        f"lowest share of a type among validation predictions (seed {worst}); "
        f"lowest spread of P(retracement) {lowest_spread:.3f}"
        + "".join(f"; seed {seed} {why}" for seed, why in facts["stopped"].items()),
    )
