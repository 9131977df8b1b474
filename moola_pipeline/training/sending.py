"""Arrays on their way to the device, without a wait."""

import numpy as np
import torch


def sent(array: np.ndarray | torch.Tensor, device: torch.device | str) -> torch.Tensor:
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
