"""python -m moola_pipeline.resources.torchrun FOLDER PROCESSES PARENT: torchrun, ending with its parent."""

import os
import sys
from pathlib import Path

from moola_pipeline.publish import publish_json
from moola_pipeline.resources.attached import stay_with
from moola_pipeline.training.places import place_of

RANK_MODULE = "moola_pipeline.resources.pretrain_rank"
ENDED, LOG = "ended", "log"
LOOPBACK = "127.0.0.1"


def main(folder: Path, processes: int, parent: int) -> int:
    """Start the processes of a pretraining and wait for them.

    Args:
        folder: From `handover.hand_over`.
        processes: How many.
        parent: Number of the process that started this one.

    Returns:
        0, or 1 where one of them ended otherwise: ENDED in the folder then says which, and how.
    """
    os.setsid()  # a Ctrl-C is for the parent alone, which passes it on
    stay_with(parent, folder)
    log = os.open(place_of(folder, LOG), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, sys.stdout.fileno())
    os.dup2(log, sys.stderr.fileno())
    # they talk within the machine, whatever its name resolves to
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    options = ["--standalone", "--local-addr", LOOPBACK, "--nproc-per-node", str(processes)]
    options += ["--max-restarts", "0", "--log-dir", str(folder / "torchrun")]
    try:
        run.main([*options, "-m", RANK_MODULE, str(folder), str(os.getpid())])
    except ChildFailedError as fault:
        rank, failure = fault.get_first_failure()
        publish_json(place_of(folder, ENDED), {"rank": rank, "code": failure.exitcode})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
