"""Read assets through their IO managers, in the home of the environment."""

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
"""IO manager of each asset."""


def read_asset(name: str) -> object:
    """Load an asset of a smoke run on simulated bars."""
    with dg.build_input_context(asset_key=name) as context:
        return MANAGERS[name](pipeline=PIPELINE).load_input(context)
