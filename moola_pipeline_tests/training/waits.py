"""Detects on the CPU operators that would synchronize host and GPU."""

from collections import Counter
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

READ_BACK = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "unique")
"""Operators whose result, or its size, the host reads back from the device."""
INDEXING = ("index", "index_put", "index_put_", "_unsafe_index")


class Waits(TorchDispatchMode):
    """While active, counts the operators on a GPU that the host would wait for."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.__name__.partition(".")[0]
        if name in READ_BACK or any(name.startswith(f"{prefix}_") for prefix in ("unique", "nonzero")):
            self.found[name] += 1
        if name in INDEXING:
            masks = [i for i in args[1] if i is not None and i.dtype in (torch.bool, torch.uint8)]
            self.found["index by a mask"] += bool(masks)
        return func(*args, **(kwargs or {}))

    @property
    def total(self) -> int:
        """Number of waits."""
        return self.found.total()
