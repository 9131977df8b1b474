"""Start here: every asset, check, resource, job, sensor and schedule in one Definitions."""

import dagster as dg

from moola_pipeline.assets.bootstrap_ci_report import bootstrap_ci_report
from moola_pipeline.assets.densified_windows import densified_windows
from moola_pipeline.assets.finetuned_classifier import finetuned_classifier
from moola_pipeline.assets.labeled_expansions import labeled_expansions
from moola_pipeline.assets.latest_expansions import latest_expansions
from moola_pipeline.assets.pretrained_encoder import pretrained_encoder
from moola_pipeline.assets.raw_nq_bars import raw_nq_bars
from moola_pipeline.assets.registered_model import registered_model
from moola_pipeline.assets.relativity_features import relativity_features
from moola_pipeline.automation.jobs import predict_job, train_job, with_freshness
from moola_pipeline.automation.schedules import daily_predictions, weekly_retrain
from moola_pipeline.automation.sensors import failure_log, new_bars_sensor
from moola_pipeline.resources.compute import Compute
from moola_pipeline.resources.executors import chosen_executor
from moola_pipeline.resources.io_managers import (
    ClassifierIOManager,
    EncoderIOManager,
    FeatureIOManager,
    FrameIOManager,
    JsonIOManager,
    ReportIOManager,
)
from moola_pipeline.resources.pipeline import Pipeline
from moola_pipeline.tracking.runs import Tracking

pipeline = Pipeline.configure_at_launch()

defs = dg.Definitions(
    assets=with_freshness(
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
