"""One run at a time in a home, whether a person started it or Dagster did."""

import time
from collections.abc import Callable

import dagster as dg
from dagster._core.storage.dagster_run import IN_PROGRESS_RUN_STATUSES

LOOK_SECONDS = 1.0


def await_runs(instance: dg.DagsterInstance, say: Callable[[str], None]) -> None:
    """Wait, and say so once, while a run that Dagster started is at work in the home.

    The other way round Dagster's queue waits: dagster.yaml lets one run work at a time, and counts
    those of `moola run`. Call it after `release_abandoned`: a dead run would be waited for.

    Args:
        instance: Of the home.
        say: Shows a line.
    """
    at_work = dg.RunsFilter(statuses=list(IN_PROGRESS_RUN_STATUSES))
    said = False
    while runs := instance.get_runs(filters=at_work, limit=1):
        if not said:
            name = runs[0].job_name
            say(f"A run of {name} is at work in this home (see moola ui); waiting for it to end ...")
        said = True
        time.sleep(LOOK_SECONDS)
