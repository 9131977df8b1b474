"""Initial weights, drawn by a seed and by nothing else."""

import torch


def initialize(module: torch.nn.Module, seed: int) -> None:
    """Draw every weight uniformly within its fan-in; biases start at zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.dim() > 1:
                bound = parameter.shape[-1] ** -0.5
                parameter.uniform_(-bound, bound, generator=generator)
            else:
                parameter.zero_()
