"""The two jobs, their retry policy, and the freshness policy of their results."""

import sys
from datetime import timedelta

import dagster as dg

from moola_pipeline.errors import MoolaError

_PERMANENT = (MoolaError, KeyboardInterrupt, dg.DagsterExecutionInterruptedError)
"""Retrying cannot fix a checksum mismatch, and an interrupt is a request to stop."""


class RetryTransientErrors(dg.RetryPolicy):
    """Retry transient errors (full disk, locked database), never a MoolaError or an interrupt.

    Dagster does not retry a step whose blocking check failed.
    """

    def calculate_delay(self, attempt_num: int) -> float:
        """Seconds before the next attempt; Dagster calls this while it handles the step's error."""
        error = sys.exc_info()[1]
        if isinstance(error, _PERMANENT):
            raise error
        return super().calculate_delay(attempt_num)


RETRY = RetryTransientErrors(
    max_retries=2, delay=30, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS
)


PREDICTING = ("raw_nq_bars", "labeled_expansions", "relativity_features", "latest_expansions")
FRESH_ASSETS = ("raw_nq_bars", "latest_expansions")
AGING_AFTER, LATE_AFTER = timedelta(days=3, hours=4), timedelta(days=4, hours=4)
"""Friday's close to the next is 3 days, 4 over Good Friday; the extra hours are for the export."""
FRESHNESS = dg.FreshnessPolicy.time_window(warn_window=AGING_AFTER, fail_window=LATE_AFTER)

train_job = dg.define_asset_job(
    "train_job",
    selection=dg.AssetSelection.all(),
    description="Builds all nine assets.",
    op_retry_policy=RETRY,
)
predict_job = dg.define_asset_job(
    "predict_job",
    selection=list(PREDICTING),
    description="Reads new bars and marks expansions with the champion.",
    op_retry_policy=RETRY,
)


def with_freshness(assets: list[dg.AssetsDefinition]) -> list[dg.AssetsDefinition]:
    """The assets, with the freshness policy on those in FRESH_ASSETS."""
    return [
        asset.map_asset_specs(lambda spec: dg.apply_freshness_policy(spec, FRESHNESS))
        if asset.key.to_user_string() in FRESH_ASSETS
        else asset
        for asset in assets
    ]
