"""Reads each asset as the next one does, in the home that the environment names."""

import dagster as dg

from moola_pipeline.resources.io_managers import (
    ClassifierIOManager,
    EncoderIOManager,
    FeatureIOManager,
    FrameIOManager,
    JsonIOManager,
    ReportIOManager,
    StoreIOManager,
)
from moola_pipeline.resources.pipeline import Pipeline

PIPELINE = Pipeline(profile="smoke", market="simulated", scenario="none")
MANAGERS: dict[str, type[StoreIOManager]] = {
    "raw_nq_bars": FrameIOManager,
    "labeled_expansions": FrameIOManager,
    "relativity_features": FeatureIOManager,
    "densified_windows": FrameIOManager,
    "pretrained_encoder": EncoderIOManager,
    "finetuned_classifier": ClassifierIOManager,
    "bootstrap_ci_report": ReportIOManager,
    "registered_model": JsonIOManager,
    "latest_expansions": FrameIOManager,
}
"""Which keeps which asset."""


def read_asset(name: str) -> object:
    """An asset of a smoke run on simulated bars, as its manager hands it to the next."""
    with dg.build_input_context(asset_key=name) as context:
        return MANAGERS[name](pipeline=PIPELINE).load_input(context)
