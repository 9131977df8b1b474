"""Gradient checkpointing: encoder states computed a second time instead of kept, to save memory."""

from torch import Tensor
from torch.utils.checkpoint import checkpoint

from moola_pipeline.models.encoder import Encoder


def states_of(encoder: Encoder, features: Tensor, recomputed: bool) -> Tensor:
    """States of every bar: (B, T, F) to (B, T, 2H).

    Args:
        encoder: Reads the windows.
        features: Raw features.
        recomputed: Whether what lies between input and states is forgotten and computed again for
            the gradient; the numbers are the same either way.
    """
    if not recomputed:
        return encoder(features)
    states = checkpoint(encoder, features, use_reentrant=False)
    if not isinstance(states, Tensor):
        raise TypeError(f"an encoder must give a tensor, got {type(states).__name__}")
    return states
