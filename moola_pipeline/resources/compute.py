"""The device that networks run on, in how many processes, and the precision they keep to."""

import os
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field

from moola_pipeline.errors import BadInput

if TYPE_CHECKING:
    from moola_pipeline.training.job_files import WorkerSettings

PROCESSES_VARIABLE = "MOOLA_PROCESSES"


class Compute(dg.ConfigurableResource):
    """Picks the device; float32 is kept to unless TF32 is asked for."""

    device: str = Field(default="auto", description="auto, cuda, mps or cpu")
    tf32: bool = Field(
        default=False,
        description="multiply in TF32 on a GPU: faster, but with a 10-bit mantissa; otherwise float32",
    )
    threads: int = Field(default=1, description="torch threads; 0: one per core")
    workers: int = Field(
        default=0, description="trainings that run in parallel; 0: one per core on the CPU, one on a GPU"
    )
    processes: int | None = Field(
        default=None,
        description="processes that share one pretraining, on one GPU each or on the CPU; 0: one per GPU; "
        f"null: the value of {PROCESSES_VARIABLE}, else 1",
    )

    def workers_on(self, device: str) -> int:
        """Trainings side by side on a device: those asked for; else one for each core, one on a GPU."""
        from moola_pipeline.training.parallel import n_workers

        return n_workers(device, self.workers)

    def processes_on(self, device: str) -> int:
        """Processes that pretrain together on a device.

        Raises:
            BadInput: If it is no such number, or the device is not one that so many can share out.
        """
        given = os.environ.get(PROCESSES_VARIABLE) or "1" if self.processes is None else str(self.processes)
        if not given.isdecimal():
            raise BadInput(
                f"{PROCESSES_VARIABLE} must be a number of processes (0: one per GPU), got {given!r}. "
                "Correct or unset it."
            )
        gpus = _gpus() if device == "cuda" else 0
        processes = int(given) or max(gpus, 1)
        most = {"cuda": gpus, "mps": 1}.get(device, processes)
        if processes > most:
            raise BadInput(
                f"The number of pretraining processes must be at most {most} on {device}, one per GPU, got "
                f"{processes}. Use fewer, or --device cpu."
            )
        return processes

    def terms(self, device: str, processes: int) -> "WorkerSettings":
        """How each of so many processes works on a device."""
        from moola_pipeline.training.job_files import WorkerSettings

        return WorkerSettings(device=device, tf32=self.tf32, threads=self.threads, processes=processes)

    def prepare(self) -> str:
        """Set precision and threads, and name the device: cuda, mps or cpu.

        Raises:
            BadInput: If a device is asked for that is not there.
        """
        import torch

        from moola_pipeline.training.device import set_precision
        from moola_pipeline.training.parallel import n_cores

        torch.set_num_threads(self.threads or n_cores())
        set_precision(self.tf32)
        present = {
            "cuda": torch.cuda.is_available(),
            "mps": torch.backends.mps.is_available(),
            "cpu": True,
        }
        if self.device == "auto":
            return next(name for name, here in present.items() if here)
        if not present.get(self.device, False):
            here = ", ".join(name for name, there in present.items() if there)
            raise BadInput(
                f"The device must be auto or one of {here}, got {self.device}. Choose an available device."
            )
        return self.device


def _gpus() -> int:
    import torch

    return torch.cuda.device_count()
