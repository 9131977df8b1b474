"""When a step tries again: after a fault that may pass, and never after one that would come again."""

import sys

import dagster as dg

from moola_pipeline.errors import MoolaError

_LASTING = (MoolaError, KeyboardInterrupt, dg.DagsterExecutionInterruptedError)
"""A file that is not what was recorded will not be so in a minute; a person who stops a run means it."""


class PassingFaults(dg.RetryPolicy):
    """Tries again after a full disk or a locked database; ends at once at a fault of ours or Ctrl-C.

    A step whose check did not pass is not made again either: Dagster asks no policy then.
    """

    def calculate_delay(self, attempt_num: int) -> float:
        """Seconds to wait before the next attempt; Dagster asks while it handles the step's error."""
        fault = sys.exc_info()[1]
        if isinstance(fault, _LASTING):
            raise fault
        return super().calculate_delay(attempt_num)


RETRY = PassingFaults(max_retries=2, delay=30, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)
