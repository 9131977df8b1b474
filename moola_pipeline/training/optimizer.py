"""AdamW without the import of torch's compiler.

torch imports its compiler with the first optimizer, only to except the optimizer from compiling. This takes
seconds in every process that trains.
"""

import torch
from torch.optim import Optimizer

_EXCEPTED = "__dynamo_disable"
"""Attribute of a function under which torch looks for its form that is excepted from compiling."""
_METHODS = (Optimizer.add_param_group, Optimizer.zero_grad, Optimizer.state_dict, Optimizer.load_state_dict)

for _method in _METHODS:
    _own = getattr(_method, "__wrapped__", None)  # without it, torch imports the compiler as before
    if _own is not None:
        setattr(_own, _EXCEPTED, _own)


class AdamW(torch.optim.AdamW):
    """`torch.optim.AdamW`, equal step for step; nothing here is compiled."""

    step = torch.no_grad()(getattr(torch.optim.AdamW.step, "__wrapped__", torch.optim.AdamW.step))
