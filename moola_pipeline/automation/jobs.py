"""The two jobs, and how old their results may grow."""

from datetime import timedelta

import dagster as dg

from moola_pipeline.automation.retrying import RETRY

PREDICTING = ("raw_nq_bars", "labeled_expansions", "relativity_features", "latest_expansions")
KEPT_FRESH = ("raw_nq_bars", "latest_expansions")
AGING_AFTER, LATE_AFTER = timedelta(days=3, hours=4), timedelta(days=4, hours=4)
"""From Friday's close to Monday's are 3 days, over Good Friday 4; the hours are for the export."""
FRESHNESS = dg.FreshnessPolicy.time_window(warn_window=AGING_AFTER, fail_window=LATE_AFTER)

train_job = dg.define_asset_job(
    "train_job", selection="*", description="All nine assets.", op_retry_policy=RETRY
)
predict_job = dg.define_asset_job(
    "predict_job",
    selection=list(PREDICTING),
    description="New bars and the champion's marks.",
    op_retry_policy=RETRY,
)


def kept_fresh(assets: list[dg.AssetsDefinition]) -> list[dg.AssetsDefinition]:
    """The assets, those of KEPT_FRESH with the age at which Dagster calls them late."""
    return [
        asset.map_asset_specs(lambda spec: dg.apply_freshness_policy(spec, FRESHNESS))
        if asset.key.to_user_string() in KEPT_FRESH
        else asset
        for asset in assets
    ]
