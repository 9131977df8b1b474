"""python -m moola_pipeline_tests.resources.pretraining_parent HOME EPOCHS: pretrains in two processes."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg

from moola_pipeline.resources.pretraining_processes import pretrain_in_processes
from moola_pipeline.storage.home import Home
from moola_pipeline.training.checkpoints import Checkpoints
from moola_pipeline.training.job_files import PretrainTask, WorkerSettings
from moola_pipeline.training.pretrain import PretrainResult
from moola_pipeline.training.settings import PretrainSettings
from moola_pipeline.windows.dense import pretraining_windows
from moola_pipeline_tests.made_bars import made_bars

BARS = made_bars(16)
WINDOWS = pretraining_windows(BARS.segment, len(BARS.prices))
SETTINGS = PretrainSettings(hidden_units=8, epochs=2, batch_windows=17)


def in_two(
    home: Home,
    settings: PretrainSettings,
    on_epoch: Callable[[dict[str, float]], None],
    checkpoints: Checkpoints | None = None,
) -> PretrainResult:
    """Pretrain on the made bars in two processes on the CPU, inside an asset of its own."""
    got: list[PretrainResult] = []
    task = PretrainTask(
        BARS, WINDOWS, settings, WorkerSettings(device="cpu", tf32=False, threads=1, processes=2), checkpoints
    )

    @dg.asset
    def encoder(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        got.append(pretrain_in_processes(context, home, task, on_epoch))
        return dg.MaterializeResult()

    dg.materialize([encoder])
    return got[0]


if __name__ == "__main__":
    many = SETTINGS.model_copy(update={"epochs": int(sys.argv[2])})
    in_two(Home(Path(sys.argv[1])), many, lambda entry: print("epoch", int(entry["epoch"]), flush=True))  # noqa: T201
