"""What a sensor or a schedule answers: a run asked for, or why there is none."""

import dagster as dg


def skipped(found: dg.RunRequest | dg.SkipReason) -> str:
    """Why no run was asked for."""
    assert isinstance(found, dg.SkipReason)
    return found.skip_message or ""


def asked(found: dg.RunRequest | dg.SkipReason) -> dg.RunRequest:
    """The run asked for."""
    assert isinstance(found, dg.RunRequest), skipped(found)
    return found
