"""Runs whose process ended without a word: told from those at work, their pool slots given back."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
from dagster._core.storage.dagster_run import IN_PROGRESS_RUN_STATUSES
from dagster._core.storage.tags import GRPC_INFO_TAG

RUN_BY_TAG = "moola/run_by"
"""Names the machine whose `moola run` a run belongs to; only one works in a home at a time."""
WAIT_SECONDS = 1.0


def run_tags() -> dict[str, str]:
    """What `moola run` marks its Dagster run with."""
    return {RUN_BY_TAG: socket.gethostname()}


def release_abandoned(instance: dg.DagsterInstance) -> list[str]:
    """Record dead runs as failed and free the pool slots they hold; call it as the only `moola run`.

    A process that is killed says nothing to Dagster: its run stays "started" and keeps its slot,
    for which every later run would wait without end.

    Returns:
        Ids of the runs that were at work when their process died.
    """
    dead = [run for run in _in_progress(instance) if not _is_at_work(run)]
    for run in dead:
        instance.report_run_failed(run, "Its process was killed, or the machine stopped.")
    working = {run.run_id for run in _in_progress(instance)}
    for holder in set(_holders(instance)) - working:
        instance.event_log_storage.free_concurrency_slots_for_run(holder)
    return [run.run_id for run in dead]


def await_slots(instance: dg.DagsterInstance, say: Callable[[str], None]) -> None:
    """Wait, and say so once, while another run holds a pool slot; Dagster's own wait cannot be interrupted.

    Args:
        instance: Whose pools.
        say: Shows a line.
    """
    said = False
    while any(_holders(instance)):
        if not said:
            say("Another run holds the GPU's slot in this home (see moola ui); waiting for it to end ...")
        said = True
        time.sleep(WAIT_SECONDS)


def _in_progress(instance: dg.DagsterInstance) -> list[dg.DagsterRun]:
    return list(instance.get_runs(filters=dg.RunsFilter(statuses=list(IN_PROGRESS_RUN_STATUSES))))


def _holders(instance: dg.DagsterInstance) -> Iterator[str]:
    """Ids of the runs that hold a slot or stand in line for one."""
    storage = instance.event_log_storage
    if not storage.supports_global_concurrency_limits:
        return
    for key in storage.get_concurrency_keys():
        info = storage.get_concurrency_info(key)
        yield from (slot.run_id for slot in info.claimed_slots)
        yield from (step.run_id for step in info.pending_steps)


def _is_at_work(run: dg.DagsterRun) -> bool:
    if server := run.tags.get(GRPC_INFO_TAG):
        return _answers(json.loads(server))
    return run.tags.get(RUN_BY_TAG) != socket.gethostname()


def _answers(server: dict) -> bool:
    """Whether the code server that a run was launched in is still there."""
    place = server.get("socket")
    if place and not Path(place).exists():
        return False
    kind = socket.AF_UNIX if place else socket.AF_INET
    with socket.socket(kind, socket.SOCK_STREAM) as probe:
        probe.settimeout(WAIT_SECONDS)
        try:
            probe.connect(place or (server.get("host", "localhost"), int(server["port"])))
        except ConnectionRefusedError:
            return False
        except OSError:
            return True  # it does not say; a run is not called dead on a guess
    return True
