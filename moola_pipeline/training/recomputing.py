"""Gradient checkpointing: encoder states computed a second time instead of kept, to save memory."""

from torch import Tensor
from torch.utils.checkpoint import checkpoint

from moola_pipeline.models.encoder import Encoder


def states_of(encoder: Encoder, features: Tensor, recomputed: bool, hidden: Tensor | None = None) -> Tensor:
    """States of every bar: (B, T, F) to (B, T, 2H).

    Args:
        encoder: Reads the windows.
        features: Raw features.
        recomputed: Whether what lies between input and states is forgotten and computed again for
            the gradient; the numbers are the same either way.
        hidden: (B, T) bool, bars whose features the encoder does not see; None: it sees all.
    """
    if not recomputed:
        return encoder(features, hidden)
    # nothing in an encoder is drawn at random: the generators' states need not be kept
    states = checkpoint(encoder, features, hidden, use_reentrant=False, preserve_rng_state=False)
    if not isinstance(states, Tensor):
        raise TypeError(f"an encoder must give a tensor, got {type(states).__name__}")
    return states
