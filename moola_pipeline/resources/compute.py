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
        default=False, description="let a GPU multiply in TF32: faster, to 10 bits; else float32"
    )
    threads: int = Field(default=1, description="of torch; 0: one for each core")
    workers: int = Field(default=0, description="trainings side by side; 0: one for each core, one on a GPU")
    processes: int | None = Field(
        default=None,
        description="that pretrain together, a GPU each, or on the CPU; 0: one for each GPU; "
        f"null: what {PROCESSES_VARIABLE} says, else 1",
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
                f"{PROCESSES_VARIABLE} must be a number of processes, 0 for one on each GPU, got {given!r}. "
                "Correct or unset it."
            )
        gpus = _gpus() if device == "cuda" else 0
        processes = int(given) or max(gpus, 1)
        most = {"cuda": gpus, "mps": 1}.get(device, processes)
        if processes > most:
            raise BadInput(
                f"Processes that pretrain together must be at most {most} on {device}, one a GPU, got "
                f"{processes}. Ask for fewer, or for --device cpu."
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
                f"The device must be auto or one of {here}, got {self.device}. Choose one that is there."
            )
        return self.device


def _gpus() -> int:
    import torch

    return torch.cuda.device_count()
