"""The precision that networks compute in: float32, unless TF32 was asked for."""

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
