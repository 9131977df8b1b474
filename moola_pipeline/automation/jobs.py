"""The two jobs, their retry policy, and how old their results may grow."""

import sys
from datetime import timedelta

import dagster as dg

from moola_pipeline.errors import MoolaError

_LASTING = (MoolaError, KeyboardInterrupt, dg.DagsterExecutionInterruptedError)
"""A file that is not what was recorded will not be so in a minute; a person who stops a run means it."""


class RetryTransientErrors(dg.RetryPolicy):
    """Tries again after a full disk or a locked database; ends at once at a fault of ours or Ctrl-C.

    A step whose check did not pass is not made again either: Dagster asks no policy then.
    """

    def calculate_delay(self, attempt_num: int) -> float:
        """Seconds to wait before the next attempt; Dagster asks while it handles the step's error."""
        fault = sys.exc_info()[1]
        if isinstance(fault, _LASTING):
            raise fault
        return super().calculate_delay(attempt_num)


RETRY = RetryTransientErrors(
    max_retries=2, delay=30, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS
)


PREDICTING = ("raw_nq_bars", "labeled_expansions", "relativity_features", "latest_expansions")
FRESH_ASSETS = ("raw_nq_bars", "latest_expansions")
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


def freshness_job(assets: list[dg.AssetsDefinition]) -> list[dg.AssetsDefinition]:
    """The assets, those of FRESH_ASSETS with the age at which Dagster calls them late."""
    return [
        asset.map_asset_specs(lambda spec: dg.apply_freshness_policy(spec, FRESHNESS))
        if asset.key.to_user_string() in FRESH_ASSETS
        else asset
        for asset in assets
    ]
