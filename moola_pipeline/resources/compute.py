"""The device that networks run on, and the precision they run in."""

import os

import dagster as dg

from moola_pipeline.errors import BadInput


class Compute(dg.ConfigurableResource):
    """Picks the device; float32 is kept to unless TF32 is asked for."""

    device: str = "auto"
    tf32: bool = False
    threads: int = 1
    workers: int = 0

    def workers_on(self, device: str) -> int:
        """Trainings side by side on a device: those asked for; else one for each core, one on a GPU."""
        from moola_pipeline.training.side_by_side import n_workers

        return n_workers(device, self.workers)

    def prepare(self) -> str:
        """Set precision and threads, and name the device: cuda, mps or cpu.

        Raises:
            BadInput: If a device is asked for that is not there.
        """
        import torch

        torch.set_num_threads(self.threads or os.cpu_count() or 1)
        torch.backends.cuda.matmul.allow_tf32 = self.tf32
        torch.backends.cudnn.allow_tf32 = self.tf32
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
