"""python -m moola_pipeline.training.pretrain_rank FOLDER PARENT: one process of a distributed pretraining."""

import os
import signal
import sys
import traceback
from contextlib import nullcontext
from pathlib import Path

from moola_pipeline.training.torchrun import exit_with_parent


def main(folder: Path, parent: int) -> None:
    """Pretrain as one of the processes of torchrun; rank 0 reports each epoch to Dagster.

    Args:
        folder: From `job_files.write_task`; result or error is written there.
        parent: Process id of torchrun.
    """
    exit_with_parent(parent, folder)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Python's handler would not run while a collective blocks
    from moola_pipeline.training.job_files import WorkerError

    rank = int(os.environ["RANK"])
    try:
        _pretrain(folder, rank)
    except Exception as fault:  # noqa: BLE001 - the parent raises it
        traceback.print_exc()
        WorkerError.of(fault).write(folder, rank)
        sys.stderr.flush()
        os._exit(1)  # skip destroy_process_group(): the other ranks may be blocked in a collective


def _pretrain(folder: Path, rank: int) -> None:
    import torch
    from dagster_pipes import open_dagster_pipes

    from moola_pipeline.training.device import set_precision
    from moola_pipeline.training.job_files import read_task, write_result
    from moola_pipeline.training.parallel import n_cores
    from moola_pipeline.training.pretrain import pretrain
    from moola_pipeline.training.process_group import join_process_group

    task = read_task(folder)
    torch.set_num_threads(task.terms.threads or n_cores())
    set_precision(task.terms.tf32)
    device = torch.device(task.terms.device)
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    with open_dagster_pipes() if rank == 0 else nullcontext() as pipes, join_process_group(device) as group:
        result = pretrain(
            task.market,
            task.windows,
            task.settings,
            device,
            pipes.report_custom_message if pipes else lambda entry: None,
            task.checkpoints,
            group,
        )
        if group.is_main:
            write_result(result, folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
