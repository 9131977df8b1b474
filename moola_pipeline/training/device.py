"""The device: precision of its arithmetic, and asynchronous transfer to it."""

import numpy as np
import torch

FLOAT32, TF32 = "float32", "TF32"


def set_precision(tf32: bool) -> None:
    """Set the precision of matrix multiplication: float32, or TF32 on GPUs if `tf32`.

    TF32 keeps 10 of the 23 mantissa bits. By default cuDNN computes an LSTM in TF32.
    """
    torch.set_float32_matmul_precision("highest")  # on the CPU, too
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32


def precision_on(device: torch.device | str) -> str:
    """FLOAT32 or TF32: the precision in force on a device."""
    allowed = torch.backends.cuda.matmul.allow_tf32 or torch.backends.cudnn.allow_tf32
    return TF32 if allowed and torch.device(device).type == "cuda" else FLOAT32


def to_device(array: np.ndarray | torch.Tensor, device: torch.device | str) -> torch.Tensor:
    """Send an array or tensor to the device; on the CPU it shares the memory.

    A GPU copies it from pinned memory, in the stream of the computation. So the copy is done before
    its use, and the caller does not wait.
    """
    tensor = torch.from_numpy(np.ascontiguousarray(array)) if isinstance(array, np.ndarray) else array
    device = torch.device(device)
    if device.type != "cuda":
        return tensor.to(device)
    with torch.cuda.device(device):  # a new thread starts with the first GPU
        return tensor.pin_memory().to(device, non_blocking=True)
