"""Dagster's instance of a home: preparation, waiting for other runs, cleanup of dead runs."""

import json
import os
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
from dagster._core.storage.dagster_run import IN_PROGRESS_RUN_STATUSES
from dagster._core.storage.tags import GRPC_INFO_TAG, MAX_RETRIES_TAG
from yaml import YAMLError

from moola_pipeline.errors import BadInput
from moola_pipeline.storage.atomic_write import atomic_write, files_below, locked, sweep
from moola_pipeline.storage.home import HOME_VARIABLE, INSTANCE_FILE, PROJECT_ROOT, Home, ensure_format
from moola_pipeline.tracking.database_migration import migrate_instance, require_database

RUN_BY_TAG = "moola/run_by"
"""Tag with the machine of a `moola run`; only one runs in a home at a time."""
WAIT_SECONDS = 1.0
"""Interval of polling."""


def await_runs(instance: dg.DagsterInstance, say: Callable[[str], None]) -> None:
    """Wait while a run started by Dagster uses the home; report it once.

    Dagster's queue, in turn, waits for `moola run`: dagster.yaml allows one run at a time and counts
    both kinds. Call `release_stale_runs` first, or a dead run is waited for.

    Args:
        instance: Dagster's instance of the home.
        say: Shows a line.
    """
    in_progress = dg.RunsFilter(statuses=list(IN_PROGRESS_RUN_STATUSES))
    reported = False
    while runs := instance.get_runs(filters=in_progress, limit=1):
        if not reported:
            name = runs[0].job_name
            say(f"A run of {name} is using this home (see moola ui). Waiting for it to finish ...")
        reported = True
        time.sleep(WAIT_SECONDS)


def run_tags() -> dict[str, str]:
    """Tags of the Dagster run of `moola run`, which Dagster does not repeat: its user is waiting."""
    return {RUN_BY_TAG: socket.gethostname(), MAX_RETRIES_TAG: "0"}


def release_stale_runs(instance: dg.DagsterInstance) -> list[str]:
    """Record dead runs as failed and free their pool slots; only one `moola run` may call it at a time.

    When a process is killed, its run stays "started" in Dagster and keeps its slot, so every later
    run would wait forever.

    Returns:
        Ids of the dead runs.
    """
    dead = [run for run in _in_progress(instance) if not _is_alive(run)]
    for run in dead:
        instance.report_run_failed(run, "Its process was killed, or the machine stopped.")
    working = {run.run_id for run in _in_progress(instance)}
    for holder in set(_holders(instance)) - working:
        instance.event_log_storage.free_concurrency_slots_for_run(holder)
    return [run.run_id for run in dead]


def await_slots(instance: dg.DagsterInstance, say: Callable[[str], None]) -> None:
    """Wait while another run holds a pool slot, and report it once; Dagster's own wait cannot be interrupted.

    Args:
        instance: Dagster's instance of the home.
        say: Shows a line.
    """
    reported = False
    while any(_holders(instance)):
        if not reported:
            say("Another run holds this home's GPU slot (see moola ui). Waiting for it to finish ...")
        reported = True
        time.sleep(WAIT_SECONDS)


def _in_progress(instance: dg.DagsterInstance) -> list[dg.DagsterRun]:
    return list(instance.get_runs(filters=dg.RunsFilter(statuses=list(IN_PROGRESS_RUN_STATUSES))))


def _holders(instance: dg.DagsterInstance) -> Iterator[str]:
    """Ids of the runs that hold a slot or wait for one."""
    storage = instance.event_log_storage
    if not storage.supports_global_concurrency_limits:
        return
    for key in storage.get_concurrency_keys():
        info = storage.get_concurrency_info(key)
        yield from (slot.run_id for slot in info.claimed_slots)
        yield from (step.run_id for step in info.pending_steps)


def _is_alive(run: dg.DagsterRun) -> bool:
    if server := run.tags.get(GRPC_INFO_TAG):
        return _answers(json.loads(server))
    return run.tags.get(RUN_BY_TAG) != socket.gethostname()


def _answers(server: dict) -> bool:
    """Whether the code server of a run still responds."""
    path = server.get("socket")
    if path and not Path(path).exists():
        return False
    kind = socket.AF_UNIX if path and sys.platform != "win32" else socket.AF_INET
    with socket.socket(kind, socket.SOCK_STREAM) as probe:
        probe.settimeout(WAIT_SECONDS)
        try:
            probe.connect(path or (server.get("host", "localhost"), int(server["port"])))
        except ConnectionRefusedError:
            return False
        except OSError:
            return True  # unknown: treat the run as alive
    return True


def prepare_instance(home: Home) -> None:
    """Make this process and its children store all Dagster state in `home`.

    Changes the working directory: dagster.yaml has relative paths, so that a home can be moved and
    `dagster dev` in the project root shares it.

    Raises:
        BadInput: If the home cannot be created.
        IntegrityError: If one of Dagster's databases cannot be opened.
    """
    try:
        home.root.mkdir(parents=True, exist_ok=True)
        home.dagster.mkdir(exist_ok=True)
    except OSError as fault:
        raise BadInput(
            f"--home must be a folder that can be written, got {home.root} ({fault.strerror}). "
            "Name another folder."
        ) from fault
    instance_file = home.root / INSTANCE_FILE
    if not instance_file.exists():
        with atomic_write(instance_file) as temporary:
            shutil.copyfile(PROJECT_ROOT / INSTANCE_FILE, temporary)
    for folder in (home.store, home.reports):
        sweep(folder)
    for database in files_below(home.dagster, "*.db"):
        require_database(
            database, f"Restore it, or move the folder {home.dagster} away: the next run rebuilds everything."
        )
    ensure_format(home)
    os.environ[HOME_VARIABLE] = str(home.root)
    os.environ["DAGSTER_HOME"] = str(home.root)
    os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "yes")
    os.chdir(home.root)


def open_instance(home: Home) -> dg.DagsterInstance:
    """Dagster's instance of a prepared home, with migrated tables; see `prepare_instance`.

    Raises:
        IntegrityError: If a later Dagster made the tables.
        BadInput: If its dagster.yaml cannot be read.
    """
    try:
        instance = dg.DagsterInstance.get()
    except (YAMLError, dg.DagsterInvalidConfigError) as fault:
        came = " ".join(str(fault).split()).partition(" Expected:")[0]
        raise BadInput(
            f"{home.root / INSTANCE_FILE} must hold Dagster's settings, got: {came}. "
            "Correct it, or delete it; moola then writes a new one."
        ) from fault
    with locked(home.dagster / "schema"):
        migrate_instance(sorted(files_below(home.dagster, "*.db")), instance)
    return instance
