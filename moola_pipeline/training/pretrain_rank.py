"""python -m moola_pipeline.training.pretrain_rank FOLDER PARENT: one process of a pretraining in several."""

import os
import signal
import sys
import traceback
from contextlib import nullcontext
from pathlib import Path

from moola_pipeline.training.torchrun import exit_with_parent


def main(folder: Path, parent: int) -> None:
    """Pretrain as one of those that torchrun started; the first tells Dagster of each epoch.

    Args:
        folder: From `handover.write_task`; result or fault is left there.
        parent: Number of the process that started this one.
    """
    exit_with_parent(parent, folder)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # waiting for the others, it would not hear it in Python
    from moola_pipeline.training.job_files import WorkerError

    rank = int(os.environ["RANK"])
    try:
        _pretrain(folder, rank)
    except Exception as fault:  # noqa: BLE001 - the parent raises it
        traceback.print_exc()
        WorkerError.of(fault).leave(folder, rank)
        sys.stderr.flush()
        os._exit(1)  # no farewell: the others wait for what will not come


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
