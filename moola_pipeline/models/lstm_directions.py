"""Training of a bidirectional LSTM on CPU cores: its two directions, independent, side by side."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

_LSTM_MODE = 2
"""Number of the LSTM among the kinds of cells of `mkldnn_rnn_layer`."""
T = TypeVar("T")


def can_split(lstm: nn.LSTM, inputs: Tensor) -> bool:
    """Whether `both_directions` can train this LSTM: one layer, batch first, float32 on a CPU with oneDNN."""
    fits = lstm.num_layers == 1 and lstm.bidirectional and lstm.batch_first and lstm.bias
    plain = inputs.device.type == "cpu" and inputs.dtype == torch.float32
    onednn = torch.backends.mkldnn
    return fits and plain and onednn.is_available() and bool(onednn.enabled)


def both_directions(lstm: nn.LSTM, inputs: Tensor) -> Tensor:
    """States and gradients of `lstm(inputs)`, equal to the bit; each direction takes a thread.

    Args:
        lstm: As in `can_split`.
        inputs: (B, T, F).

    Returns:
        (B, T, 2H); the first H look back, the last H look ahead.
    """
    weights = [getattr(lstm, name) for names in lstm._all_weights for name in names]
    states = _Directions.apply(inputs.transpose(0, 1).contiguous(), *weights)
    return states.transpose(0, 1)


class _Direction(NamedTuple):
    """One direction with the graph of its gradients.

    Attributes:
        leaves: Inputs (T, B, F) and the four weights.
        states: (T, B, H).
    """

    leaves: list[Tensor]
    states: Tensor

    @classmethod
    def of(cls, leaves: list[Tensor], reverse: bool) -> "_Direction":
        """Run one direction of the layer, by the call that torch's own LSTM makes for it."""
        inputs, into, recurrent, bias, recurrent_bias = leaves
        n_units = recurrent.shape[1]
        zeros = inputs.new_zeros(inputs.shape[1], n_units)
        weights = into, recurrent, bias, recurrent_bias
        with torch.enable_grad():
            states = torch.mkldnn_rnn_layer(
                inputs, *weights, zeros, zeros, reverse, [], _LSTM_MODE, n_units, 1, True, True, False, True
            )[0]
        return cls(leaves, states)

    def gradients(self, of_states: Tensor) -> list[Tensor | None]:
        """The gradient of each leaf, None where it needs none."""
        wanted = [leaf for leaf in self.leaves if leaf.requires_grad]
        if not wanted:
            return [None for _ in self.leaves]
        # The same gradients as with `of_states` as an argument, for which torch first imports sympy.
        with torch.enable_grad():
            product = (self.states * of_states).sum()
        found = iter(torch.autograd.grad(product, wanted))
        return [next(found) if leaf.requires_grad else None for leaf in self.leaves]


class _Directions(torch.autograd.Function):
    """Both directions of a layer, forward and backward."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, *weights: Tensor) -> Tensor:
        """(T, B, F) and twice four weights to (T, B, 2H)."""
        needs_input, *needs_weight = ctx.needs_input_grad

        def leaves(first: int) -> list[Tensor]:
            own = [inputs.detach().requires_grad_(needs_input)]
            places = range(first, first + 4)
            return own + [weights[i].detach().requires_grad_(needs_weight[i]) for i in places]

        ctx.directions = _side_by_side(
            lambda: _Direction.of(leaves(0), False), lambda: _Direction.of(leaves(4), True)
        )
        return torch.cat([direction.states.detach() for direction in ctx.directions], dim=2)

    @staticmethod
    def backward(ctx: Any, *of_states: Tensor) -> tuple[Tensor | None, ...]:
        """(T, B, 2H) to the gradients of inputs and weights."""
        back, ahead = ctx.directions
        del ctx.directions  # frees the graphs: the node lives until the next step
        of_back, of_ahead = of_states[0].chunk(2, dim=2)
        by_back, by_ahead = _side_by_side(lambda: back.gradients(of_back), lambda: ahead.gradients(of_ahead))
        inputs = None if by_back[0] is None or by_ahead[0] is None else by_back[0] + by_ahead[0]
        return inputs, *by_back[1:], *by_ahead[1:]


class _Helper(threading.local):
    """A second thread for each thread that trains; torch uses as many threads there."""

    def __init__(self) -> None:
        threads = torch.get_num_threads()
        self.pool = ThreadPoolExecutor(1, "lstm-direction", torch.set_num_threads, (threads,))


_helper = _Helper()


def _side_by_side(one: Callable[[], T], other: Callable[[], T]) -> tuple[T, T]:
    """The results of two functions; the second runs in the helper of the calling thread."""
    waiting = _helper.pool.submit(other)
    return one(), waiting.result()
