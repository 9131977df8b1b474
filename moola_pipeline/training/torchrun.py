"""python -m moola_pipeline.training.torchrun FOLDER PROCESSES PARENT: torchrun, ending with its parent."""

import os
import sys
import threading
import time
import traceback
from pathlib import Path

from moola_pipeline.storage.atomic_write import TEMPORARY_SUFFIX, atomic_write_bytes, atomic_write_json


def job_file(folder: Path, name: str) -> Path:
    """The file of that name in a folder that is handed over.

    Hidden and temporary by its name: no backup of a home holds it.
    """
    return folder / f".{name}{TEMPORARY_SUFFIX}"


LOOK_SECONDS = 0.25


def exit_with_parent(parent: int, folder: Path) -> None:
    """End this process, at once and without a word, when its parent is gone or has removed the folder.

    A process whose parent dies is given another one; a thread looks for that, so that it works on
    every system, and while the others compute or wait.

    Args:
        parent: Number of the process that started this one; told by it, since it may be gone already.
        folder: What both work in.
    """

    def watch() -> None:
        while os.getppid() == parent and folder.is_dir():
            time.sleep(LOOK_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, name="attached", daemon=True).start()


RANK_MODULE = "moola_pipeline.training.pretrain_rank"
ENDED, TRACEBACK = "ended", "traceback"
LOGS = "logs"
"""Folder with what each process wrote, by torchrun."""
LOOPBACK = "127.0.0.1"


def main(folder: Path, processes: int, parent: int) -> int:
    """Start the processes of a pretraining and wait for them.

    Args:
        folder: From `handover.write_task`.
        processes: How many.
        parent: Number of the process that started this one.

    Returns:
        0, or 1 where one of them ended otherwise: ENDED in the folder then says which, and how.
    """
    os.setsid()  # a Ctrl-C is for the parent alone, which passes it on
    exit_with_parent(parent, folder)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.dup2(nowhere, sys.stderr.fileno())
    try:
        return _started(folder, processes)
    except Exception:  # noqa: BLE001 - the parent puts it in Dagster's log
        atomic_write_bytes(job_file(folder, TRACEBACK), traceback.format_exc().encode())
        return 1


def _started(folder: Path, processes: int) -> int:
    # they talk within the machine, whatever its name resolves to
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    options = ["--standalone", "--local-addr", LOOPBACK, "--nproc-per-node", str(processes)]
    options += ["--max-restarts", "0", "--redirects", "3", "--log-dir", str(folder / LOGS)]
    try:
        run.main([*options, "-m", RANK_MODULE, str(folder), str(os.getpid())])
    except ChildFailedError as fault:
        rank, failure = fault.get_first_failure()
        atomic_write_json(job_file(folder, ENDED), {"rank": rank, "code": failure.exitcode})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
