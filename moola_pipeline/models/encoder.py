"""The encoder, one bidirectional LSTM layer over standardized features; its initial weights; its decoder."""

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from moola_pipeline.features.schema import N_FEATURES


class Encoder(nn.Module):
    """Turns the features of a window into one state a bar.

    Args:
        hidden_units: LSTM units in each direction, H.
        n_features: Width of the feature table, F.
    """

    center: Tensor
    scale: Tensor

    def __init__(self, hidden_units: int, n_features: int = N_FEATURES):
        super().__init__()
        self.hidden_units = hidden_units
        self.register_buffer("center", torch.zeros(n_features))
        self.register_buffer("scale", torch.ones(n_features))
        self.hidden_bar = nn.Parameter(torch.zeros(n_features))
        self.lstm = nn.LSTM(n_features, hidden_units, batch_first=True, bidirectional=True)

    def set_scale(self, rows: Tensor) -> None:
        """Take center and scale of each feature from training rows, (n, F)."""
        self.center.copy_(rows.mean(dim=0))
        self.scale.copy_(rows.std(dim=0).clamp_min(1e-3))

    def standardized(self, features: Tensor) -> Tensor:
        """Features in units of their training spread; (..., F) to (..., F)."""
        return (features - self.center) / self.scale

    def forward(self, features: Tensor, hidden: Tensor | None = None) -> Tensor:
        """States of every bar.

        Args:
            features: (B, T, F) raw features.
            hidden: (B, T) bool; where True the learned `hidden_bar` stands in for the features.

        Returns:
            (B, T, 2H); the first H look back, the last H look ahead.
        """
        inputs = self.standardized(features)
        if hidden is not None:
            inputs = torch.where(hidden[..., None], self.hidden_bar, inputs)
        states, _ = self.lstm(inputs)  # (B, T, 2H)
        return states


class RidgeDecoder(nn.Module):
    """Predicts hidden bars: what a ridge regression sees at a block's edges, plus the encoder's say.

    The ridge part is fitted beforehand and fixed; the part that reads the encoder begins at
    zero. So the decoder starts as good as the ridge, and all that training gains is due to the
    encoder.
    """

    ridge: Tensor

    def __init__(self, hidden_units: int, n_inputs: int, n_features: int = N_FEATURES):
        super().__init__()
        self.register_buffer("ridge", torch.zeros(n_inputs, n_features))
        self.inner = nn.Linear(2 * hidden_units, 64)
        self.outer = nn.Linear(64, n_features)
        nn.init.zeros_(self.outer.weight)
        nn.init.zeros_(self.outer.bias)

    def forward(self, states: Tensor, edges: Tensor) -> Tensor:
        """Standardized features of hidden bars.

        Args:
            states: (n_hidden, 2H) encoder states at the hidden bars.
            edges: (n_hidden, n_inputs) what the ridge reads.

        Returns:
            (n_hidden, F).
        """
        return edges @ self.ridge + self.outer(torch.tanh(self.inner(states)))


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
