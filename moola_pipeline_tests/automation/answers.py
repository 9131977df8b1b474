"""Results of sensors and schedules: a run request or a skip reason."""

import dagster as dg


def skipped(result: dg.RunRequest | dg.SkipReason) -> str:
    """The reason for no run."""
    assert isinstance(result, dg.SkipReason)
    return result.skip_message or ""


def requested(result: dg.RunRequest | dg.SkipReason) -> dg.RunRequest:
    """The requested run."""
    assert isinstance(result, dg.RunRequest), skipped(result)
    return result
