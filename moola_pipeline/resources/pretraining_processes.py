"""Pretraining in several processes: started by torchrun through Dagster Pipes, watched, cleaned up after."""

import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._core.errors import DagsterPipesExecutionError
from filelock import FileLock, Timeout

from moola_pipeline.errors import MoolaError
from moola_pipeline.storage.atomic_write import locked
from moola_pipeline.storage.home import PROJECT_ROOT, Home
from moola_pipeline.training.torchrun import ENDED, LOGS, TRACEBACK, job_file

if TYPE_CHECKING:
    from moola_pipeline.training.job_files import PretrainTask
    from moola_pipeline.training.pretrain import PretrainResult

LAUNCHER = "moola_pipeline.training.torchrun"
TIMEOUT_SECONDS = 10
"""How long processes that were told to end may take before they are left to notice it themselves."""
LOG_LINES = 40
"""Of what each process wrote, kept in Dagster's log when one fails."""


def pretrain_in_processes(
    context: dg.AssetExecutionContext,
    home: Home,
    task: "PretrainTask",
    on_epoch: Callable[[dict[str, float]], None],
) -> "PretrainResult":
    """Pretrain as `training.pretrain.pretrain` does, in as many processes as the task says.

    However this ends, by a fault, a signal or SIGKILL, none of the processes is left within a second
    or two, and the next call removes what a killed one left behind.

    Args:
        context: Of the asset.
        home: In whose Dagster folder the processes find their task.
        task: What to do.
        on_epoch: Called with each history entry while they work, from another thread.

    Raises:
        BadInput, LossNotFinite: As in one process.
        MoolaError: If a process was killed, or met any other fault; names it.
    """
    from moola_pipeline.training.job_files import read_result, write_task

    with shared_folder(home.dagster / "ranks") as folder:
        write_task(task, folder)
        reader = _EpochReader(on_epoch)
        client = dg.PipesSubprocessClient(
            cwd=str(PROJECT_ROOT), message_reader=reader, termination_timeout_seconds=TIMEOUT_SECONDS
        )
        command = [sys.executable, "-m", LAUNCHER, str(folder), str(task.terms.processes), str(os.getpid())]
        try:
            client.run(context=context, command=command)
        except DagsterPipesExecutionError:
            context.log.error(_last_lines(folder))
            raise _reason(folder, task.terms.processes) from None
        if reader.faults:
            raise reader.faults[0]
        return read_result(folder)


class _EpochReader(dg.PipesTempFileMessageReader):
    """Passes each message of the processes on as it comes; Dagster itself keeps them for the end."""

    def __init__(self, on_epoch: Callable[[dict[str, float]], None]):
        super().__init__()
        self.on_epoch, self.faults = on_epoch, []

    @contextmanager
    def read_messages(self, handler: dg.PipesMessageHandler) -> Iterator[Any]:
        """Read until the processes have ended."""
        handle = handler.handle_message

        def passed_on(message: Any) -> None:
            if message["method"] != "report_custom_message":
                handle(message)
            elif not self.faults:
                try:
                    self.on_epoch(message["params"]["payload"])
                except Exception as fault:  # noqa: BLE001 - raised where the result is waited for
                    self.faults.append(fault)

        handler.handle_message = passed_on
        with super().read_messages(handler) as params:
            yield params


def _reason(folder: Path, processes: int) -> MoolaError:
    """Why the processes ended, as one line."""
    from moola_pipeline.training.job_files import worker_errors

    faults = worker_errors(folder)
    for fault in faults.values():
        if ours := fault.as_ours():
            return ours
    which = f"one of {processes} pretraining processes ended early"
    remedy = "Run again: training resumes from the last saved epoch."
    with suppress(OSError, ValueError):
        ended = json.loads(job_file(folder, ENDED).read_bytes())
        rank, code = int(ended["rank"]), int(ended["code"])
        which = f"pretraining process {rank} of {processes} (counted from 0) ended early"
        if code < 0:
            return MoolaError(f"{which}: by signal {-code}, {signal.Signals(-code).name}. {remedy}")
    for fault in faults.values():
        return MoolaError(f"{which}: {fault.kind}: {fault.text.rstrip('.')}. {remedy}")
    return MoolaError(f"{which}. {remedy}")


def _last_lines(folder: Path) -> str:
    """The end of what each process wrote."""
    places = [job_file(folder, TRACEBACK), *sorted((folder / LOGS).rglob("stderr.log"))]
    texts = [path.read_text(errors="replace") for path in places if path.is_file()]
    ends = ["\n".join(text.splitlines()[-LOG_LINES:]) for text in texts]
    return "\n\n".join(filter(None, ends)) or "the processes wrote nothing"


@contextmanager
def shared_folder(parent: Path) -> Iterator[Path]:
    """A new folder below `parent`, removed behind the block; first, those of killed processes are."""
    with locked(parent):
        parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(parent)
        folder = Path(tempfile.mkdtemp(dir=parent))
        held = _hold(folder)
        held.acquire(timeout=0)
    try:
        yield folder
    finally:
        held.release()
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)  # what was being written in it the first time
        _hold_file(folder).unlink(missing_ok=True)


def _remove_stale(parent: Path) -> None:
    for folder in parent.iterdir():
        if not folder.is_dir():
            continue
        held = _hold(folder)
        with suppress(Timeout), held.acquire(timeout=0):
            shutil.rmtree(folder, ignore_errors=True)
            _hold_file(folder).unlink(missing_ok=True)


def _hold_file(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.lock")


def _hold(folder: Path) -> FileLock:
    """The lock that the process holds which made the folder; the system lets go of it for a dead one."""
    return FileLock(_hold_file(folder))
