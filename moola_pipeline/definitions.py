"""Start here: every asset, check, resource, job, sensor and schedule in one Definitions."""

import dagster as dg

from moola_pipeline.assets.bars import raw_nq_bars
from moola_pipeline.assets.classifier import finetuned_classifier
from moola_pipeline.assets.encoder import pretrained_encoder
from moola_pipeline.assets.features import relativity_features
from moola_pipeline.assets.labels import labeled_expansions
from moola_pipeline.assets.predictions import latest_expansions
from moola_pipeline.assets.registry import registered_model
from moola_pipeline.assets.report import bootstrap_ci_report
from moola_pipeline.assets.windows import densified_windows
from moola_pipeline.automation.jobs import kept_fresh, predict_job, train_job
from moola_pipeline.automation.schedules import daily_predictions, weekly_retrain
from moola_pipeline.automation.sensors import failure_log, new_bars_sensor
from moola_pipeline.resources.compute import Compute
from moola_pipeline.resources.executor import chosen_executor
from moola_pipeline.resources.pipeline import Pipeline
from moola_pipeline.resources.store import (
    ClassifierIOManager,
    EncoderIOManager,
    FeatureIOManager,
    FrameIOManager,
    JsonIOManager,
    ReportIOManager,
)
from moola_pipeline.tracking.runs import Tracking

pipeline = Pipeline.configure_at_launch()

defs = dg.Definitions(
    assets=kept_fresh(
        [
            raw_nq_bars,
            labeled_expansions,
            relativity_features,
            densified_windows,
            pretrained_encoder,
            finetuned_classifier,
            bootstrap_ci_report,
            registered_model,
            latest_expansions,
        ]
    ),
    jobs=[train_job, predict_job],
    sensors=[new_bars_sensor, failure_log],
    schedules=[daily_predictions, weekly_retrain],
    resources={
        "pipeline": pipeline,
        "compute": Compute.configure_at_launch(),
        "tracking": Tracking(),
        "frames": FrameIOManager(pipeline=pipeline),
        "features": FeatureIOManager(pipeline=pipeline),
        "encoders": EncoderIOManager(pipeline=pipeline),
        "classifiers": ClassifierIOManager(pipeline=pipeline),
        "reports": ReportIOManager(pipeline=pipeline),
        "facts": JsonIOManager(pipeline=pipeline),
    },
    executor=chosen_executor(),
)
