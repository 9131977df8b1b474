"""Pretraining in several processes, started by torchrun through Dagster Pipes."""

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
"""Seconds for terminated processes to end; after that they end on their own."""
LOG_LINES = 40
"""Number of output lines of each process in Dagster's log after a failure."""


def pretrain_in_processes(
    context: dg.AssetExecutionContext,
    home: Home,
    task: "PretrainTask",
    on_epoch: Callable[[dict[str, float]], None],
) -> "PretrainResult":
    """Pretrain as `training.pretrain.pretrain` does, in the task's number of processes.

    After an error, a signal or SIGKILL, all processes end within a second or two, and the next call
    removes the files of a killed one.

    Args:
        context: The asset's context.
        home: Its Dagster folder holds the task's files.
        task: The pretraining task.
        on_epoch: Called with each history entry during training, from another thread.

    Raises:
        BadInput, LossNotFinite: As in one process.
        MoolaError: If a process was killed, or failed in another way; names it.
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
    """Calls `on_epoch` for each message at once; Dagster would deliver them at the end."""

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
    """A one-line error with the reason why the processes ended."""
    from moola_pipeline.training.job_files import worker_errors

    faults = worker_errors(folder)
    for fault in faults.values():
        if ours := fault.to_exception():
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
    """The last output lines of each process."""
    paths = [job_file(folder, TRACEBACK), *sorted((folder / LOGS).rglob("stderr.log"))]
    texts = [path.read_text(errors="replace") for path in paths if path.is_file()]
    ends = ["\n".join(text.splitlines()[-LOG_LINES:]) for text in texts]
    return "\n\n".join(filter(None, ends)) or "the processes wrote nothing"


@contextmanager
def shared_folder(parent: Path) -> Iterator[Path]:
    """A new folder below `parent`, removed after the block; folders of killed processes are removed first."""
    with locked(parent):
        parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(parent)
        folder = Path(tempfile.mkdtemp(dir=parent))
        lock = _folder_lock(folder)
        lock.acquire(timeout=0)
    try:
        yield folder
    finally:
        lock.release()
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)  # a process may have written during the first call
        _lock_file(folder).unlink(missing_ok=True)


def _remove_stale(parent: Path) -> None:
    for folder in parent.iterdir():
        if not folder.is_dir():
            continue
        lock = _folder_lock(folder)
        with suppress(Timeout), lock.acquire(timeout=0):
            shutil.rmtree(folder, ignore_errors=True)
            _lock_file(folder).unlink(missing_ok=True)


def _lock_file(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.lock")


def _folder_lock(folder: Path) -> FileLock:
    """The lock of the process that made the folder; the system releases it when the process dies."""
    return FileLock(_lock_file(folder))
