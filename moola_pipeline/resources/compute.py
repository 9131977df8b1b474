"""Device, precision, threads and processes of the networks."""

import os
import sys
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field

from moola_pipeline.errors import BadInput

if TYPE_CHECKING:
    from moola_pipeline.training.job_files import WorkerSettings

PROCESSES_VARIABLE = "MOOLA_PROCESSES"
SWITCH_SECONDS = 0.0005
"""Longest time a thread runs Python code while others wait; by default, a step of a training waits 5 ms for
the trees that another thread fits."""


class Compute(dg.ConfigurableResource):
    """Chooses the device; computes in float32 unless TF32 is set."""

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
        """Number of parallel trainings: `workers`, else one per core on the CPU, one on a GPU."""
        from moola_pipeline.training.parallel import n_workers

        return n_workers(device, self.workers)

    def processes_on(self, device: str) -> int:
        """Number of processes that share one pretraining.

        Raises:
            BadInput: If it is not a number, or there are more processes than GPUs.
        """
        chosen = os.environ.get(PROCESSES_VARIABLE) or "1" if self.processes is None else str(self.processes)
        if not chosen.isdecimal():
            raise BadInput(
                f"{PROCESSES_VARIABLE} must be a number of processes (0: one per GPU), got {chosen!r}. "
                "Correct or unset it."
            )
        gpus = _gpus() if device == "cuda" else 0
        processes = int(chosen) or max(gpus, 1)
        most = {"cuda": gpus, "mps": 1}.get(device, processes)
        if processes > most:
            raise BadInput(
                f"The number of pretraining processes must be at most {most} on {device}, one per GPU, got "
                f"{processes}. Use fewer, or --device cpu."
            )
        return processes

    def terms(self, device: str, processes: int) -> "WorkerSettings":
        """Settings of each pretraining process."""
        from moola_pipeline.training.job_files import WorkerSettings

        return WorkerSettings(device=device, tf32=self.tf32, threads=self.threads, processes=processes)

    def prepare(self) -> str:
        """Set precision, threads and their switching, and return the device: cuda, mps or cpu.

        Raises:
            BadInput: If the chosen device is not available.
        """
        import torch

        from moola_pipeline.training.device import set_precision
        from moola_pipeline.training.parallel import n_cores

        torch.set_num_threads(self.threads or n_cores())
        sys.setswitchinterval(SWITCH_SECONDS)
        set_precision(self.tf32)
        present = {
            "cuda": torch.cuda.is_available(),
            "mps": torch.backends.mps.is_available(),
            "cpu": True,
        }
        if self.device == "auto":
            return next(name for name, available in present.items() if available)
        if not present.get(self.device, False):
            names = ", ".join(name for name, available in present.items() if available)
            raise BadInput(
                f"The device must be auto or one of {names}, got {self.device}. Choose an available device."
            )
        return self.device


def _gpus() -> int:
    import torch

    return torch.cuda.device_count()
