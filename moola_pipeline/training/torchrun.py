"""python -m moola_pipeline.training.torchrun FOLDER PROCESSES PARENT: torchrun that ends with its parent."""

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from pathlib import Path

from moola_pipeline.storage.atomic_write import TEMPORARY_SUFFIX, atomic_write_bytes, atomic_write_json


def job_file(folder: Path, name: str) -> Path:
    """Path of a job file in its folder.

    The name is hidden and temporary, so no backup of a home holds the file.
    """
    return folder / f".{name}{TEMPORARY_SUFFIX}"


POLL_SECONDS = 0.25


def exit_with_parent(parent: int, folder: Path) -> None:
    """Exit this process immediately when its parent has died or has removed the folder.

    A process whose parent dies gets another parent. A thread polls for that: this works on every
    system, and while other threads compute or wait.

    Args:
        parent: Process id of the parent, given by the parent because it may already be dead.
        folder: Job folder.
    """

    def watch() -> None:
        while os.getppid() == parent and folder.is_dir():
            time.sleep(POLL_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, name="attached", daemon=True).start()


RANK_MODULE = "moola_pipeline.training.pretrain_rank"
ENDED, TRACEBACK = "ended", "traceback"
LOGS = "logs"
"""Folder of torchrun's logs of each process."""
LOOPBACK = "127.0.0.1"


def main(folder: Path, processes: int, parent: int) -> int:
    """Start the processes of a pretraining and wait for them.

    Args:
        folder: From `job_files.write_task`.
        processes: Number of processes.
        parent: Process id of the parent.

    Returns:
        0, or 1 if a process failed: the job file ENDED then holds its rank and exit code.
    """
    if sys.platform != "win32":
        os.setsid()  # Ctrl-C must reach the parent only, which passes it on
    exit_with_parent(parent, folder)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.dup2(null, sys.stderr.fileno())
    try:
        return _run(folder, processes)
    except Exception:  # noqa: BLE001 - the parent logs it in Dagster
        atomic_write_bytes(job_file(folder, TRACEBACK), traceback.format_exc().encode())
        return 1


def _run(folder: Path, processes: int) -> int:
    # Use the loopback interface, whatever the host name resolves to.
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    options = ["--standalone", "--local-addr", LOOPBACK, "--nproc-per-node", str(processes)]
    options += ["--max-restarts", "0", "--redirects", "3", "--log-dir", str(folder / LOGS)]
    try:
        run.main([*options, "-m", RANK_MODULE, str(folder), str(os.getpid())])
    except ChildFailedError as fault:
        codes = {rank: failure.exitcode for rank, failure in fault.failures.items()}
        rank = first_failure(codes, fault.get_first_failure()[0])
        atomic_write_json(job_file(folder, ENDED), {"rank": rank, "code": codes[rank]})
        return 1
    return 0


def first_failure(codes: Mapping[int, int], first: int) -> int:
    """The rank whose end made the others fail.

    torchrun knows the order only to the second, and a killed process fails the others at once:
    they lose their connection to it. Those that still run it ends itself, by SIGTERM.

    Args:
        codes: Exit code of each failed rank; negative if a signal ended it.
        first: The rank that torchrun takes for the first.
    """
    killed = [rank for rank, code in sorted(codes.items()) if code < 0 and code != -signal.SIGTERM]
    return next(iter(killed), first)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
