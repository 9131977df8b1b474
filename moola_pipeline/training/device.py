"""The device: the precision of its arithmetic, and arrays sent to it without a wait."""

import numpy as np
import torch

FLOAT32, TF32 = "float32", "TF32"


def set_precision(tf32: bool) -> None:
    """Have matrices multiplied in float32 in training and scoring, or on a GPU in TF32 if asked for.

    TF32 keeps 10 of the 23 bits behind the point of what is multiplied. Left to itself, cuDNN
    computes an LSTM in it.
    """
    torch.set_float32_matmul_precision("highest")  # of the CPU, too
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32


def precision_on(device: torch.device | str) -> str:
    """FLOAT32 or TF32: what is in force on a device."""
    allowed = torch.backends.cuda.matmul.allow_tf32 or torch.backends.cudnn.allow_tf32
    return TF32 if allowed and torch.device(device).type == "cuda" else FLOAT32


def to_device(array: np.ndarray | torch.Tensor, device: torch.device | str) -> torch.Tensor:
    """An array or tensor in memory as a tensor on the device; on the CPU it shares the memory.

    A GPU fetches it from pinned memory on the stream that networks compute on: so it is there
    before it is read, no event has to be waited for, and neither has the caller.
    """
    tensor = torch.from_numpy(np.ascontiguousarray(array)) if isinstance(array, np.ndarray) else array
    place = torch.device(device)
    if place.type != "cuda":
        return tensor.to(place)
    with torch.cuda.device(place):  # a new thread begins with the first GPU
        return tensor.pin_memory().to(place, non_blocking=True)
