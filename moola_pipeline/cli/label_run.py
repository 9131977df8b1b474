"""The run that learns from new labels: what it would do, and its progress once the page has started it."""

import json
import os
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from moola_pipeline.cli.services import running
from moola_pipeline.errors import BadInput, MoolaError
from moola_pipeline.storage.home import PROJECT_ROOT, Home

if TYPE_CHECKING:
    import dagster as dg

DEFINITIONS, JOB = "moola_pipeline.definitions", "train_job"
POLL_SECONDS = 1.0
IDLE, PLANNING, RUNNING, DONE, FAILED = "idle", "planning", "running", "done", "failed"


class LabelRun:
    """`moola run` for the labeler's end page: planned, queued in Dagster and watched in a thread.

    Args:
        home: The home.
        profile: Profile of the run.
    """

    def __init__(self, home: Home, profile: str = "auto") -> None:
        self.home, self.profile = home, profile
        self._facts = {"state": PLANNING, "text": "Looking at what has changed ..."}
        self._thread: threading.Thread | None = None
        self._daemon = ExitStack()

    def facts(self) -> dict[str, Any]:
        """State and text for the page; the first call begins to plan."""
        if self._thread is None:
            self._begin(self._plan)
        return dict(self._facts)

    def start(self) -> None:
        """Queue the run.

        Raises:
            BadInput: If it is not planned yet, or was started before.
        """
        if self._facts["state"] not in (IDLE, FAILED):
            raise BadInput(
                f"A run can be started once it is planned, but this one is {self._facts['state']}."
            )
        self._facts = {"state": RUNNING, "text": "Queued in Dagster ..."}
        self._begin(self._watch)

    def close(self) -> None:
        """Stop the daemon that was started for the run; the run ends with it."""
        self._daemon.close()

    def _begin(self, work: Any) -> None:
        def guarded() -> None:
            try:
                work()
            except (MoolaError, OSError, subprocess.SubprocessError) as fault:
                self._facts = {"state": FAILED, "text": str(fault)}

        self._thread = threading.Thread(target=guarded, daemon=True)
        self._thread.start()

    def _pipeline(self) -> Any:
        from moola_pipeline.cli.run import quiet_libraries
        from moola_pipeline.resources.pipeline import Pipeline

        quiet_libraries()
        return Pipeline.model_validate({"profile": self.profile, "market": "registered", "scenario": "none"})

    def _plan(self) -> None:
        from moola_pipeline.cli.status import planned_steps

        steps = planned_steps(self.home, self._pipeline())
        stale = [step for step in steps if step.stale]
        if not stale:
            self._facts = {"state": DONE, "text": "Nothing has changed since the last run."}
            return
        lines = [f"moola run rebuilds {len(stale)} of {len(steps)} assets:"]
        lines += [f"  {step.asset}: {step.reason}" for step in stale]
        self._facts = {"state": IDLE, "text": "\n".join([*lines, "", self._last_duration()])}

    def _last_duration(self) -> str:
        import dagster as dg

        from moola_pipeline.resources.instance import open_instance, prepare_instance
        from moola_pipeline.storage.atomic_write import files_below

        first = "No run has finished in this home yet: the first takes from minutes to an hour."
        if not any(files_below(self.home.dagster, "*.db")):
            return first
        prepare_instance(self.home)
        with open_instance(self.home) as instance:
            done = dg.RunsFilter(statuses=[dg.DagsterRunStatus.SUCCESS])
            for record in instance.get_run_records(done, limit=1):
                if record.start_time and record.end_time:
                    return f"The last run took {_minutes(record.end_time - record.start_time)}."
        return first

    def _watch(self) -> None:

        from moola_pipeline.automation.requests import run_config
        from moola_pipeline.resources.instance import open_instance, prepare_instance

        prepare_instance(self.home)
        pipeline = self._pipeline()
        named = pipeline.model_copy(update={"profile": pipeline.chosen_profile().name})
        run_id = str(uuid4())
        words = ["job", "launch", "-m", DEFINITIONS, "-d", str(PROJECT_ROOT), "-j", JOB, "--run-id", run_id]
        command = [sys.executable, "-m", "dagster", *words, "--config-json", json.dumps(run_config(named))]
        with open_instance(self.home) as instance:
            self._start_daemon(instance)
            launched = subprocess.run(command, capture_output=True, text=True, check=False)
            if launched.returncode:
                last = (launched.stderr.strip() or "no reason given").splitlines()[-1]
                raise MoolaError(f"Dagster must queue the run, but it did not: {last}. Run: moola run")
            begun = time.monotonic()
            while True:
                run = instance.get_run_by_id(run_id)
                self._facts = _progress(instance, run, time.monotonic() - begun)
                if run is None or run.is_finished:
                    return
                time.sleep(POLL_SECONDS)

    def _start_daemon(self, instance: "dg.DagsterInstance") -> None:
        """Start Dagster's daemon, which takes runs from the queue, unless `moola ui` has one at work."""
        from dagster._daemon.controller import all_daemons_live

        from moola_pipeline.cli.services import Service

        if all_daemons_live(instance):
            return
        command = [sys.executable, "-m", "dagster._daemon", "run", "-m", DEFINITIONS, "-d", str(PROJECT_ROOT)]
        service = Service("Dagster's daemon", command, 0, "")
        environment = {**os.environ, "DAGSTER_DISABLE_TELEMETRY": "yes"}
        self._daemon.enter_context(running([service], environment, self.home.root))


def _progress(instance: "dg.DagsterInstance", run: "dg.DagsterRun | None", seconds: float) -> dict[str, Any]:
    """State and text of a run."""
    import dagster as dg

    if run is None:
        return {"state": FAILED, "text": "Dagster no longer knows the run. Run: moola run"}
    made = instance.get_records_for_run(run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION).records
    names = [record.asset_key.to_user_string() for record in made if record.asset_key]
    lines = [f"{len(names)} assets built after {_minutes(seconds)}", *(f"  {name}" for name in names)]
    if run.status is dg.DagsterRunStatus.SUCCESS:
        return {"state": DONE, "text": "\n".join(["The run is done. See: moola report --open", *lines])}
    if run.is_finished:
        return {
            "state": FAILED,
            "text": "\n".join([f"The run ended: {run.status.value}. See: moola ui", *lines]),
        }
    return {"state": RUNNING, "text": "\n".join([f"{run.status.value.capitalize()} ...", *lines])}


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} seconds" if seconds < 90 else f"{seconds / 60:.0f} minutes"
