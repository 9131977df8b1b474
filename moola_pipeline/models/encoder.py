"""The encoder, one bidirectional LSTM layer over standardized features, and the ridge decoder."""

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from moola_pipeline.features.schema import N_FEATURES
from moola_pipeline.models.lstm_directions import both_directions, can_split


class Encoder(nn.Module):
    """Encodes the features of a window as one state a bar.

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
        """Set center and scale of each feature from training rows, (n, F)."""
        self.center.copy_(rows.mean(dim=0))
        self.scale.copy_(rows.std(dim=0).clamp_min(1e-3))

    def standardized(self, features: Tensor) -> Tensor:
        """Standardized features: (..., F) to (..., F)."""
        return (features - self.center) / self.scale

    def forward(self, features: Tensor, hidden: Tensor | None = None, in_turn: bool = False) -> Tensor:
        """States of every bar.

        Args:
            features: (B, T, F) raw features.
            hidden: (B, T) bool; True: the learned `hidden_bar` replaces the features.
            in_turn: Whether training runs one direction after the other; on a CPU it runs them side by
                side, with the same result.

        Returns:
            (B, T, 2H); the first H look back, the last H look ahead.
        """
        inputs = self.standardized(features)
        if hidden is not None:
            inputs = torch.where(hidden[..., None], self.hidden_bar, inputs)
        trained = inputs.requires_grad or any(weight.requires_grad for weight in self.lstm.parameters())
        keeps_graph = torch.is_grad_enabled() and trained
        if keeps_graph and not in_turn and can_split(self.lstm, inputs):
            return both_directions(self.lstm, inputs)
        with torch.set_grad_enabled(keeps_graph):  # without a graph the LSTM takes half the time
            return self.lstm(inputs)[0]  # (B, T, 2H)


class RidgeDecoder(nn.Module):
    """Predicts hidden bars: ridge regression on the edges of a block, plus a network on the states.

    The ridge part is fitted before and fixed; the network starts at zero. So the decoder starts as
    the ridge regression, and every gain of training is due to the encoder.
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
            edges: (n_hidden, n_inputs) inputs of the ridge.

        Returns:
            (n_hidden, F).
        """
        return edges @ self.ridge + self.outer(torch.tanh(self.inner(states)))


def initialize(module: torch.nn.Module, seed: int) -> None:
    """Draw every weight uniformly within 1/sqrt(fan-in); set biases to zero."""
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
        encoder: Encodes the windows.
        features: Raw features.
        recomputed: Whether to recompute activations in the backward pass instead of storing them;
            the result is the same.
        hidden: (B, T) bool, bars whose features are hidden from the encoder; None: no bar.
    """
    if not recomputed:
        return encoder(features, hidden)
    # An encoder draws no random numbers, so generator states need not be saved. Its directions run in turn:
    # torch recomputes only what the calling thread would have kept.
    states = checkpoint(encoder, features, hidden, True, use_reentrant=False, preserve_rng_state=False)
    if not isinstance(states, Tensor):
        raise TypeError(f"an encoder must return a tensor, got {type(states).__name__}")
    return states
